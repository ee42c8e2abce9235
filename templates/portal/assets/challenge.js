// Lets the widget of ALTCHA (altcha.js, from npm) do the proof of work that a page asks for.
import "./altcha.js";

const place = document.querySelector("[data-challenge]");
if (place) {
  const { algorithms, i18n } = globalThis.$altcha;
  const language = document.documentElement.lang;
  algorithms.set("PBKDF2/SHA-256", () => new Worker(new URL("altcha-pbkdf2.js", import.meta.url)));
  i18n.set(language, { ...i18n.get("en"), ...JSON.parse(place.dataset.strings) });
  const widget = document.createElement("altcha-widget");
  for (const [name, value] of Object.entries({ name: "proof", language, auto: "onload", challenge: document.getElementById(place.dataset.challenge).value,
    configuration: JSON.stringify({ hideLogo: true, hideFooter: true }) })) {
    widget.setAttribute(name, value);
  }
  place.append(widget);
}
