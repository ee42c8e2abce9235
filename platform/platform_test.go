package platform_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/platform"
	"github.com/idbridge/idbridge/plugin"
)

const secret = "0123456789abcdef0123456789abcdef"

type core struct{}

func (core) SignIn(_ context.Context, c authn.Call) (authn.Result, error) {
	if c.Password.Reveal() != "right & <good>" {
		return authn.Result{}, authn.BadCredentials
	}
	return authn.Result{User: authn.ITUser{Username: "ana", UserID: 42}}, nil
}
func (c core) SignInIntegrated(ctx context.Context, call authn.Call) (authn.Result, error) {
	return c.SignIn(ctx, call)
}
func (core) Diagnose(context.Context, authn.Environment) []authn.Finding { return nil }

// door is the real door, whose answers a test may spoil.
func door(t *testing.T, ids authn.IDSource, spoil func(r *http.Request, answer string) string) platform.Options {
	t.Helper()
	h, err := plugin.New(plugin.Config{
		Name: "idbridge", PublicURL: "https://bridge.example.com",
		Environments: []plugin.Environment{
			{Environment: authn.Environment{Name: "dev", IDs: ids}, Username: "dev", Secret: secret}},
		SignIns: core{}, Doctor: core{}, Journal: func(context.Context, plugin.Event) error { return nil },
		NewID: func() string { return "ID" }, PasswordSupported: true,
		Settings: func() []plugin.Setting { return []plugin.Setting{{Name: "providers", Value: "corp <ldap>"}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.WriteHeader(rec.Code)
		_, _ = w.Write([]byte(spoil(r, rec.Body.String())))
	}))
	t.Cleanup(srv.Close)
	return platform.Options{URL: srv.URL + "/idbridge/OSPlatformAuthentication.asmx?wsdl", Client: srv.Client(),
		Caller: "dev", Secret: secret, Username: "ana", Password: "right & <good>", Timeout: 5 * time.Second}
}

func untouched(_ *http.Request, answer string) string { return answer }

func run(t *testing.T, o platform.Options) (string, error) {
	t.Helper()
	var out strings.Builder
	o.Out = &out
	err := platform.Run(t.Context(), o)
	base, _, _ := strings.Cut(o.URL, "/idbridge/")
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), "right &") {
		t.Errorf("the transcript shows a secret:\n%s", &out)
	}
	return strings.ReplaceAll(out.String(), base, "http://BRIDGE"), err
}

func TestTranscript(t *testing.T) {
	want, err := os.ReadFile("testdata/transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := run(t, door(t, authn.IDsMapped, untouched))
	if err != nil || got != string(want) {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

func TestModule(t *testing.T) {
	o := door(t, authn.IDsModule, untouched)
	if got, err := run(t, o); !errors.Is(err, platform.ErrRefused) || !strings.Contains(got, "UserId 0 is not an id") {
		t.Errorf("a platform took a success without an id: %v\n%s", err, got)
	}
	o.Module = true
	if got, err := run(t, o); err != nil || !strings.Contains(got, "signed in as ana; the module looks the id up") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*platform.Options){
		"the user was not signed in":             func(o *platform.Options) { o.Password = "wrong" },
		"HTTP 401":                               func(o *platform.Options) { o.Secret = "x" },
		"connection refused":                     func(o *platform.Options) { o.URL = "http://127.0.0.1:1/x" },
		"the plugin does not know this caller; ": func(o *platform.Options) { o.Caller = "" },
	} {
		o := door(t, authn.IDsMapped, untouched)
		change(&o)
		if got, err := run(t, o); !errors.Is(err, platform.ErrRefused) || !strings.Contains(got, want) {
			t.Errorf("want %q, got %v\n%s", want, err, got)
		}
	}
}

func TestSilentPlugin(t *testing.T) {
	stop := make(chan struct{})
	o := door(t, authn.IDsMapped, func(r *http.Request, answer string) string {
		if r.Method == http.MethodPost {
			<-stop
		}
		return answer
	})
	defer close(stop)
	o.Timeout = 50 * time.Millisecond
	if got, err := run(t, o); err == nil || !strings.Contains(got, "no answer within 50ms") {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestDeviations spoils one thing at a time, in the WSDL and in answers, and wants it named.
func TestDeviations(t *testing.T) {
	tests := []struct{ old, new, want string }{
		{`name="UserId" type="s:int"`, `name="UserId" type="s:string"`, "member UserId: type is"},
		{`name="Username" type="s:string"`, `name="UserName" type="s:string"`, `member Username: name is "UserName"`},
		{`minOccurs="1" maxOccurs="1" name="Success"`, `minOccurs="0" maxOccurs="1" name="Success"`, "minOccurs"},
		{`maxOccurs="unbounded"`, `maxOccurs="9"`, "maxOccurs"},
		{`nillable="true"`, ``, "nillable is false"},
		{`elementFormDefault="qualified"`, ``, "elementFormDefault"},
		{`targetNamespace="http://www.outsystems.com"`, `targetNamespace="urn:x"`, "schema namespace"},
		{`targetNamespace="http://idbridge/`, `targetNamespace="urn:idbridge/`, "target namespace"},
		{`<s:element name="Plugin_TestResponse">`, `<s:element name="X">`, "element Plugin_TestResponse is missing"},
		{`<s:complexType name="Capability">`, `<s:complexType name="Capability" mixed="true">`, "mixed content"},
		{`</s:schema>`, `<s:simpleType name="T"/></s:schema>`, "simple type T"},
		{`</s:schema>`, `<s:element name="More"/></s:schema>`, "element More is not in the contract"},
		{`<wsdl:part name="parameters" element="os:Plugin_Test"/>`, ``, "message Plugin_TestSoapIn"},
		{`element="os:Plugin_Test"`, `element="os:Plugin_OnActivation"`, "operation Plugin_Test: input"},
		{`soapAction="http://idbridge/OSPlatformAuthentication/Plugin_Test"`, `soapAction="x"`, "Plugin_Test: soapAction"},
		{`use="literal"`, `use="encoded"`, "body use"},
		{`use="literal"`, `use="literal" parts="parameters"`, "parts on soap:body"},
		{`style="document"`, `style="rpc"`, "style"},
		{`<wsdl:service name="OSPlatformAuthentication">`, `<wsdl:service name="S">`, "service is"},
		{`<wsdl:port name="OSPlatformAuthenticationSoap12"`, `<wsdl:port name="P"`, "port OSPlatformAuthenticationSoap12 is missing"},
		{`xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"`, `xmlns:wsdl="urn:x"`, "the WSDL cannot be read"},
		{`<UserId>42</UserId>`, `<UserId>0</UserId>`, "UserId 0 is not an id"},
		{`<UserId>42</UserId>`, `<UserId>2147483648</UserId>`, "UserId 2147483648 is not an id"},
		{`<UserId>42</UserId>`, `<UserId>x</UserId>`, "is not a number"},
		{`<UserId>42</UserId>`, ``, "lacks UserId"},
		{`<UserId>42</UserId><Status><Success>true`, `<UserId>42</UserId><Status><Success>false`, "a refusal must carry 0"},
		{`<Success>true</Success>`, `<Success>yes</Success>`, "is not a Boolean"},
		{`<Success>true</Success>`, ``, "lacks Success"},
		{`<ResponseId>0<`, `<ResponseId>x<`, "ResponseId"},
		{`<Value>True</Value>`, `<Value>yes</Value>`, "neither True nor False"},
		{`Plugin_TestResponse xmlns="http://www.outsystems.com"`, `Plugin_TestResponse xmlns="urn:x"`, "the answer is {urn:x}"},
		{`</soap:Body>`, `<x/></soap:Body>`, "not one"},
		{`http://schemas.xmlsoap.org/soap/envelope/`, `urn:x`, "where the Envelope of SOAP 1.1 belongs"},
		{`</soap:Envelope>`, ``, "the answer cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			spoiled := false
			got, err := run(t, door(t, authn.IDsMapped, func(_ *http.Request, answer string) string {
				spoiled = spoiled || strings.Contains(answer, tt.old)
				return strings.Replace(answer, tt.old, tt.new, 1)
			}))
			if !spoiled {
				t.Fatalf("no answer holds %q", tt.old)
			}
			if !errors.Is(err, platform.ErrRefused) || !strings.Contains(got, "FAIL") || !strings.Contains(got, tt.want) {
				t.Errorf("%v\n%s", err, got)
			}
		})
	}
}

func TestFault(t *testing.T) {
	got, err := run(t, door(t, authn.IDsMapped, func(_ *http.Request, answer string) string {
		return strings.ReplaceAll(answer, "Plugin_TestResponse", "soap:Fault")
	}))
	if err == nil || !strings.Contains(got, "fault: true 0 All checks passed.") {
		t.Errorf("%v\n%s", err, got)
	}
}
