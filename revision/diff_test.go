package revision_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/revision"
)

func shown(diff []revision.Line) string {
	text := ""
	for _, l := range diff {
		text += l.Op + l.Text + "\n"
	}
	return text
}

func TestDiff(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"", "", ""},
		{"a\nb\n", "a\nb\n", " a\n b\n"},
		{"", "a\n", "+a\n"},
		{"a\n", "", "-a\n"},
		{"a\nb\nc\n", "a\nx\nc\n", " a\n-b\n+x\n c\n"},
		{"a\nb\nc\nd\n", "b\nc\nd\ne\n", "-a\n b\n c\n d\n+e\n"},
		{"x\na\nx\n", "x\nx\n", " x\n-a\n x\n"},
	} {
		if got := shown(revision.Diff(test.from, test.to)); got != test.want {
			t.Errorf("%q to %q:\n%swant\n%s", test.from, test.to, got, test.want)
		}
	}
}

// TestALargeDiffIsTrue: too large for the best one, it still leads from one text to the other.
func TestALargeDiffIsTrue(t *testing.T) {
	var a, b strings.Builder
	for i := range 3000 {
		fmt.Fprintln(&a, "a", i)
		fmt.Fprintln(&b, "b", i)
	}
	from, to := "", ""
	for _, l := range revision.Diff("same\n"+a.String(), "same\n"+b.String()) {
		if l.Op != revision.Added {
			from += l.Text + "\n"
		}
		if l.Op != revision.Removed {
			to += l.Text + "\n"
		}
	}
	if from != "same\n"+a.String() || to != "same\n"+b.String() {
		t.Error("the diff leads elsewhere")
	}
}

func TestContext(t *testing.T) {
	from := "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	got := shown(revision.Context(revision.Diff(from, strings.Replace(from, "5", "five", 1)), 1))
	if want := "\n 4\n-5\n+five\n 6\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if list := revision.Context(revision.Diff(from, from), 1); list != nil {
		t.Errorf("nothing changed: %v", list)
	}
}
