package portal

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/idbridge/idbridge/altcha"
	"github.com/idbridge/idbridge/authn"
)

const (
	proofAfter = 5                // failed attempts from an address, a proof of work is asked for
	proofWait  = 20 * time.Second // is what it costs where there is no JavaScript
)

// errProof refuses an attempt without a proof of work. It is no attempt, and nobody is asked.
var errProof = errors.New("a proof of work is missing, wrong or used")

// mayGuess checks the proof of work of an attempt from where several have failed.
func (v *visit) mayGuess(failures int) error {
	if failures < proofAfter {
		return nil
	}
	form, err := v.r.PostForm, error(nil)
	if proof := form.Get("proof"); proof != "" {
		err = v.Proofs.Verify(v.r.Context(), proof)
	} else {
		err = v.Proofs.Waited(v.r.Context(), form.Get("challenge"), proofWait)
	}
	for _, known := range []error{altcha.ErrMalformed, altcha.ErrForged, altcha.ErrExpired, altcha.ErrUnsolved, altcha.ErrUsed} {
		if errors.Is(err, known) {
			v.Log.Info("portal: proof of work", "id", v.ID, "source", v.Source.String(), "error", err)
			return errProof
		}
	}
	return unavailable(err)
}

// challenge is a proof of work to be asked for, nil while too few attempts from here have failed. The page may then load
// the widget's files, which are ours too.
func (v *visit) challenge() (*challengeView, error) {
	seen, err := v.Addresses.Look(v.r.Context(), authn.AddressKey(v.Source))
	if authn.KindOf(err) == authn.Locked || err == nil && seen.Failures < proofAfter {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(v.Proofs.New())
	if err != nil {
		return nil, err
	}
	strings, err := json.Marshal(map[string]string{
		"label": v.text("challenge.label"), "verified": v.text("challenge.done"), "verifying": v.text("challenge.working"),
		"error": v.text("challenge.failed"), "expired": v.text("challenge.failed"), "waitAlert": v.text("challenge.working"),
	})
	if err != nil {
		return nil, err
	}
	v.w.Header().Set("Content-Security-Policy", v.contentPolicy("'self'", "'self'", "'self'"))
	return &challengeView{JSON: string(text), Strings: string(strings), Script: v.Portal.base + "/assets/challenge.js",
		Style: v.Portal.base + "/assets/altcha.css", Wait: int(proofWait / time.Second)}, nil
}
