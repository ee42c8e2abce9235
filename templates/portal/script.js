// What the pages can do more where there is JavaScript. They work without it.
"use strict";
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const lines = () => Array.from(source.children, (c) => c.textContent.trim()).join("\n");
  const text = () => source.tagName === "OL" ? lines() : source.textContent.trim();
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    const said = document.getElementById("said");
    if (button.dataset.done) { button.textContent = button.dataset.done; }
    if (said && button.dataset.done) { said.textContent = button.dataset.done; }
  });
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
for (const form of document.querySelectorAll("form")) { // a second click would lose the answer to the first
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    setTimeout(() => { delete form.dataset.sent; }, 5000);
  });
}
for (const form of document.querySelectorAll("form[data-submit]")) form.submit();
const day = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
for (const t of document.querySelectorAll("time")) {
  const at = new Date(t.dateTime);
  const year = at.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  t.title = t.textContent;
  t.textContent = new Intl.DateTimeFormat(document.documentElement.lang, { ...day, ...year }).format(at);
}
