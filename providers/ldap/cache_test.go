package ldap

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// TestCacheGivesBack what it was told, whatever is in it, and as the caller's own.
func TestCacheGivesBack(t *testing.T) {
	long := strings.Repeat("long", 100)
	for name, a := range map[string]authn.Account{
		"nothing but names": {Ref: "uid=a,dc=test", Identity: authn.Identity{Provider: "corp", Subject: "1"}},
		"everything": {Ref: "uid=é\x00,dc=test", Identity: authn.Identity{Provider: "corp", Subject: "\x00\x01", Username: "a",
			Name: long, Email: "a@test", Groups: []string{"cn=one", "", long}}},
	} {
		c := newCache("corp", time.Minute)
		c.add(name, a)
		got, ok := c.find(name)
		if !ok || !reflect.DeepEqual(got, a) {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
		for i := range got.Groups {
			got.Groups[i] = "changed"
		}
		if again, _ := c.find(name); !reflect.DeepEqual(again, a) {
			t.Errorf("%s: a caller changed what the cache holds: %+v", name, again)
		}
	}
}

// TestCacheKeepsEveryField that a directory fills in: whoever adds one to Identity has to look at pack.
func TestCacheKeepsEveryField(t *testing.T) {
	const packed, ofOtherSources = 6, 3 // Factors, Until and Session are not for a cached account
	if n := reflect.TypeFor[authn.Identity]().NumField(); n != packed+ofOtherSources {
		t.Errorf("authn.Identity has %d fields: does the cache keep the new one?", n)
	}
}

func TestCacheForgets(t *testing.T) {
	c := newCache("corp", time.Minute)
	later := time.Duration(0)
	c.now = func() time.Time { return c.began.Add(later) }
	a := authn.Account{Ref: "uid=a", Identity: authn.Identity{Provider: "corp", Subject: "1"}}
	c.add("a", a)
	later = time.Minute - 1
	if age, ok := c.age(a); !ok || age != later {
		t.Errorf("age %v, %t", age, ok)
	}
	if _, ok := c.find("a"); !ok {
		t.Error("forgotten too early")
	}
	c.confirm(a)
	if age, ok := c.age(a); !ok || age != 0 {
		t.Errorf("age %v, %t after it was confirmed", age, ok)
	}
	if _, ok := c.age(authn.Account{Ref: "uid=b", Identity: a.Identity}); ok {
		t.Error("the age of another DN of the subject is known")
	}
	later = time.Minute
	if _, ok := c.find("a"); ok {
		t.Error("remembered for longer than its time")
	}
	for n := range maxCached + 1 {
		a.Subject = fmt.Sprint(n)
		c.add(a.Subject, a)
	}
	if len(c.accounts) > maxCached || len(c.names) > maxCached {
		t.Errorf("%d accounts and %d names are remembered", len(c.accounts), len(c.names))
	}
	c.drop(a)
	if _, ok := c.find(a.Subject); ok {
		t.Error("remembered though it was dropped")
	}
}
