package portal

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

// typedCode is a code without the spaces that authenticator apps show in it.
func typedCode(r *http.Request) string { return strings.ReplaceAll(r.PostForm.Get("code"), " ", "") }

// typedProof is the code, or else the recovery code, that a form brings, and the text for when it is wrong.
func typedProof(r *http.Request) (code, problem string) {
	if recovery := strings.TrimSpace(r.PostForm.Get("recovery")); recovery != "" {
		return recovery, "problem.recovery"
	}
	return typedCode(r), "problem.code"
}

// showSecret makes a new device and shows its secret.
func (v *visit) showSecret(user authn.ITUser, action string) error {
	e, err := v.Factors.Enrol(v.r.Context(), user)
	if err != nil {
		return err
	}
	picture, err := mfa.QRPicture(e.URI, v.text("enrol.qr"))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "enrol", enrolView{frame: v.frame, ID: e.ID, Account: user.Username, Secret: e.Secret.Reveal(),
		QR: template.HTML(picture), Action: action, NoFocus: true})
}

// secretAgain answers a wrong first code: the device has the secret, which is not shown a second time.
func (v *visit) secretAgain(status int, text string, refused error, user authn.ITUser, action string) error {
	v.Problem = text
	if authn.KindOf(refused) == authn.BadCredentials {
		v.Problem = v.text("problem.code")
	}
	return v.show(status, "enrol", enrolView{frame: v.frame, ID: v.r.PostForm.Get("enrolment"), Account: user.Username,
		Action: action, Device: v.r.PostForm.Get("device")})
}

// gone tells that an enrolment cannot be confirmed any more: it must begin anew.
func gone(err error) bool {
	reason := authn.ReasonOf(err)
	return reason == "no_enrolment" || reason == "enrolment_expired"
}

// showRecovery shows recovery codes, which are never shown again.
func (v *visit) showRecovery(codes []authn.Secret, account, onward string, post bool) error {
	view := recoveryView{frame: v.frame, Account: account, Onward: onward, Post: post}
	var file strings.Builder
	fmt.Fprintf(&file, "%s\n%s\n\n", v.text("product"), v.text("recovery.paper", account))
	for _, c := range codes {
		view.Codes = append(view.Codes, c.Reveal())
		fmt.Fprintf(&file, "%s\n", c.Reveal())
	}
	view.Download = template.URL("data:text/plain;charset=utf-8," + url.PathEscape(file.String()))
	return v.show(http.StatusOK, "recovery", view)
}

// freshFor is how long after proving a factor people may set up or take away another one.
const freshFor = 10 * time.Minute

func (v *visit) itUser() authn.ITUser {
	return authn.ITUser{Key: v.session.User, Username: v.session.Username, Active: true}
}

// guarded shows the question before a change of factors: with a code, or, for who has no device yet, after a sign-in that
// is fresh.
func (v *visit) guarded(view confirmView) error {
	devices, err := v.Factors.Devices(v.r.Context(), v.itUser())
	if err != nil {
		return err
	}
	view.NeedsCode = len(devices) > 0
	if !view.NeedsCode && v.Now().Sub(v.session.Proven) > freshFor {
		return v.stale()
	}
	return v.ask(view)
}

// stale asks somebody who signed in too long ago to do it again.
func (v *visit) stale() error { return v.signInAgain("again", v.here()) }

// signInAgain ends the session and leads to the sign-in, from there to one of the door's pages. The notice says why.
func (v *visit) signInAgain(notice, to string) error {
	if err := v.leave(); err != nil {
		return err
	}
	return v.goTo("/login", "notice", notice, "return", to)
}

// prove checks the code of a change of factors, or that the sign-in is fresh where there is no device. Where it is not
// enough, answered is true and the visitor has been told; view is the question to show again.
func (v *visit) prove(view confirmView) (answered bool, err error) {
	ctx := v.r.Context()
	devices, err := v.Factors.Devices(ctx, v.itUser())
	if err != nil {
		return true, err
	}
	if len(devices) == 0 {
		if v.Now().Sub(v.session.Proven) > freshFor {
			return true, v.stale()
		}
		return false, nil
	}
	code, problem := typedProof(v.r)
	if _, err = v.mayTry(); err == nil {
		var proof authn.FactorProof
		if proof, err = v.Factors.Check(ctx, v.itUser(), code); err == nil {
			err = v.Factors.Accept(ctx, proof)
		}
		v.tried(err)
	}
	if err == nil {
		return false, nil
	}
	_, text, ok := v.problem(err)
	if !ok {
		return true, err
	}
	if told := v.tellRefused(err); told != nil {
		return true, told
	}
	v.Problem, view.NeedsCode, view.Recovery = text, true, v.r.PostForm.Has("recovery")
	if authn.KindOf(err) == authn.BadCredentials {
		v.Problem = v.text(problem)
	}
	return true, v.ask(view)
}

func (v *visit) addQuestion() confirmView {
	return confirmView{Title: v.text("factors.add.title"), Question: v.text("factors.add.question"),
		Button: v.text("factors.add.button"), Action: "/account/factors/add"}
}

func (v *visit) askAddFactor() error { return v.guarded(v.addQuestion()) }

// addFactor shows a new secret to somebody who has proven the old factor. The session gets a new id.
func (v *visit) addFactor() error {
	if answered, err := v.prove(v.addQuestion()); answered || err != nil {
		return err
	}
	if err := v.renew(); err != nil {
		return err
	}
	err := v.showSecret(v.itUser(), "/account/factors/confirm")
	if authn.ReasonOf(err) == "too_many_devices" {
		return v.done("factors-toomany")
	}
	return err
}

// confirmFactor makes the new device a factor by its first code.
func (v *visit) confirmFactor() error {
	ctx, device := v.r.Context(), v.r.PostForm.Get("enrolment")
	recovery, err := v.Factors.Confirm(ctx, v.itUser(), device, typedCode(v.r))
	if gone(err) {
		return v.goTo("/account/factors/add")
	}
	if status, text, ok := v.problem(err); err != nil && ok {
		return v.secretAgain(status, text, err, v.itUser(), "/account/factors/confirm")
	}
	if err != nil {
		return err
	}
	if err := v.Factors.Name(ctx, v.itUser(), device, v.r.PostForm.Get("device")); err != nil {
		return err
	}
	if err := v.tell(FactorAdded, ""); err != nil {
		return err
	}
	if err := v.renew(); err != nil {
		return err
	}
	if len(recovery) == 0 {
		return v.done("factor-added")
	}
	return v.showRecovery(recovery, v.session.Username, "/account", false)
}

func (v *visit) removeQuestion(id string) (confirmView, error) {
	devices, err := v.Factors.Devices(v.r.Context(), v.itUser())
	for _, d := range devices {
		if d.ID == id {
			name := d.Name
			if name == "" {
				name = v.text("factors.unnamed")
			}
			return confirmView{Title: v.text("factors.remove.title"), Question: v.text("factors.remove.question", name),
				Button: v.text("factors.remove.button"), Action: "/account/factors/remove", Danger: true,
				Fields: []field{{"id", id}}}, nil
		}
	}
	if err == nil {
		err = errNotFound
	}
	return confirmView{}, err
}

func (v *visit) askRemoveFactor() error {
	view, err := v.removeQuestion(v.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	return v.guarded(view)
}

// removeFactor removes a device, by a code of any of the person's. Who must have a factor keeps the last one.
func (v *visit) removeFactor() error {
	view, err := v.removeQuestion(v.r.PostForm.Get("id"))
	if err != nil {
		return err
	}
	if answered, err := v.prove(view); answered || err != nil {
		return err
	}
	mayBeLast := v.Policy(v.session.Identity) != authn.FactorRequired
	err = v.Factors.Remove(v.r.Context(), v.itUser(), v.r.PostForm.Get("id"), mayBeLast)
	if authn.ReasonOf(err) == "no_device" && !mayBeLast {
		v.Problem = v.text("factors.last")
		return v.showAccount(http.StatusForbidden)
	}
	if err != nil {
		return err
	}
	if err := v.tell(FactorRemoved, ""); err != nil {
		return err
	}
	if err := v.renew(); err != nil {
		return err
	}
	return v.done("factor-removed")
}

func (v *visit) recoveryQuestion() confirmView {
	return confirmView{Title: v.text("factors.recovery.title"), Question: v.text("factors.recovery.question"),
		Button: v.text("factors.recovery.button"), Action: "/account/recovery"}
}

func (v *visit) askRecovery() error { return v.guarded(v.recoveryQuestion()) }

// newRecovery makes new recovery codes for somebody who has a device and a code of it.
func (v *visit) newRecovery() error {
	devices, err := v.Factors.Devices(v.r.Context(), v.itUser())
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return errNotFound
	}
	if answered, err := v.prove(v.recoveryQuestion()); answered || err != nil {
		return err
	}
	codes, err := v.Factors.RenewRecovery(v.r.Context(), v.itUser())
	if err != nil {
		return err
	}
	if err := v.tell(RecoveryRenewed, ""); err != nil {
		return err
	}
	return v.showRecovery(codes, v.session.Username, "/account", false)
}
