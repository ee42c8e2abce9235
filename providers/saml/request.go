package saml

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/idbridge/idbridge/authn"
)

// asked is what we remember of a request.
type asked struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	ACS  string    `json:"acs"`  // where alone the answer may come
	Anew bool      `json:"anew"` // the person was to prove who they are after that
}

// Begin implements authn.RedirectProvider: an AuthnRequest, by redirect or POST (saml-bindings 3.4, 3.5).
func (p *provider) Begin(ctx context.Context, ask authn.Ask) (authn.Redirect, error) {
	acs := p.acsOf(ask.Door)
	if acs == "" {
		return authn.Redirect{}, errNoPublicURL()
	}
	known, err := p.source.get(ctx)
	if err != nil {
		return authn.Redirect{}, err
	}
	binding, to, err := p.way(known)
	if err != nil {
		return authn.Redirect{}, err
	}
	a := asked{newID(), p.Now().UTC(), acs, ask.Anew || p.config.ForceAuthn}
	pending, err := json.Marshal(a)
	if err != nil {
		return authn.Redirect{}, err
	}
	out := outgoing{field: "SAMLRequest", element: p.authnRequest(a, to), binding: binding, to: to, relayState: ask.State}
	if !p.config.UnsignedRequests {
		if out.key, err = p.keys.signing(ctx); err != nil {
			return authn.Redirect{}, err
		}
	}
	redirect, err := out.redirect()
	redirect.Pending = pending
	p.noteOut(ctx, out)
	return redirect, err
}

// way chooses the binding: the configured one, or redirect where there is a choice.
func (p *provider) way(known peer) (binding, to string, err error) {
	for _, b := range []string{byRedirect, byPost} {
		if at := known.sso[b]; at != "" && (p.config.Binding == "" || p.config.Binding == b) {
			return b, at, nil
		}
	}
	return "", "", authn.Errorf(authn.Unavailable, "no_endpoint",
		"the identity provider has no address for binding %q", p.config.Binding)
}

// authnRequest is the request itself (saml-core 3.4.1).
func (p *provider) authnRequest(a asked, to string) *etree.Element {
	yes := true
	r := saml.AuthnRequest{
		ID: a.ID, Version: "2.0", IssueInstant: a.At, Destination: to, Issuer: &saml.Issuer{Value: p.entityID()},
		AssertionConsumerServiceURL: a.ACS, ProtocolBinding: saml.HTTPPostBinding,
		NameIDPolicy: &saml.NameIDPolicy{AllowCreate: &yes},
	}
	if format, ok := nameIDFormats[p.config.NameIDFormat]; ok {
		r.NameIDPolicy.Format = &format
	}
	if a.Anew {
		r.ForceAuthn = &yes
	}
	e := r.Element()
	if len(p.config.AuthnContexts) > 0 {
		e.AddChild(requestedContext(p.config.AuthnContexts))
	}
	return e
}

// requestedContext asks for one of several authentication contexts (saml-core 3.3.2.2.1); the library's type holds one.
func requestedContext(classes []string) *etree.Element {
	e := etree.NewElement("samlp:RequestedAuthnContext")
	e.CreateAttr("Comparison", "exact")
	for _, class := range classes {
		e.CreateElement("saml:AuthnContextClassRef").SetText(class)
	}
	return e
}

// newID is an id that nobody guesses; an XML id begins with no digit.
func newID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return "_" + hex.EncodeToString(b[:])
}

// outgoing is a message on its way to an identity provider through a browser.
type outgoing struct {
	field      string // SAMLRequest or SAMLResponse
	element    *etree.Element
	binding    string
	to         string
	relayState string
	key        ownKey // signs; the zero value does not
}

func (o outgoing) redirect() (authn.Redirect, error) {
	if o.binding == byPost {
		return o.posted()
	}
	return o.redirected()
}

func (o outgoing) posted() (authn.Redirect, error) {
	if o.key.private != nil {
		if err := sign(o.element, o.key); err != nil {
			return authn.Redirect{}, err
		}
	}
	text, err := written(o.element)
	fields := url.Values{o.field: {base64.StdEncoding.EncodeToString(text)}}
	if o.relayState != "" {
		fields.Set("RelayState", o.relayState)
	}
	return authn.Redirect{URL: o.to, Fields: fields}, err
}

// redirected deflates the message into the query, and signs the query itself (saml-bindings 3.4.4.1).
func (o outgoing) redirected() (authn.Redirect, error) {
	text, err := written(o.element)
	if err != nil {
		return authn.Redirect{}, err
	}
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		return authn.Redirect{}, err
	}
	_, _ = w.Write(text) // a Buffer takes all
	_ = w.Close()
	query := o.field + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated.Bytes()))
	if o.relayState != "" {
		query += "&RelayState=" + url.QueryEscape(o.relayState)
	}
	if o.key.private != nil {
		query += "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
		sum := sha256.Sum256([]byte(query))
		signature, err := rsa.SignPKCS1v15(rand.Reader, o.key.private, crypto.SHA256, sum[:])
		if err != nil {
			return authn.Redirect{}, authn.Errorf(authn.Internal, "signing_failed", "%w", err)
		}
		query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
	}
	separator := "?"
	if strings.Contains(o.to, "?") {
		separator = "&"
	}
	return authn.Redirect{URL: o.to + separator + query}, nil
}

// sign puts an enveloped RSA-SHA256 signature where the schemas want it: behind the Issuer, or first in metadata.
func sign(e *etree.Element, key ownKey) error {
	ctx, err := dsig.NewSigningContext(key.private, [][]byte{key.certificate.Raw})
	if err != nil {
		return authn.Errorf(authn.Internal, "signing_failed", "%w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := ctx.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		return authn.Errorf(authn.Internal, "signing_failed", "%w", err)
	}
	signature, err := ctx.ConstructSignature(e, true)
	if err != nil {
		return authn.Errorf(authn.Internal, "signing_failed", "%w", err)
	}
	at := 0
	if issuer := child(e, nsAssertion, "Issuer"); issuer != nil {
		at = issuer.Index() + 1
	}
	e.InsertChildAt(at, signature)
	return nil
}

func written(e *etree.Element) ([]byte, error) {
	doc := etree.NewDocument()
	doc.SetRoot(e)
	text, err := doc.WriteToBytes()
	if err != nil {
		return nil, fmt.Errorf("writing XML: %w", err)
	}
	return text, nil
}
