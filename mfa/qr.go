package mfa

import (
	"fmt"
	"html"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/idbridge/idbridge/authn"
)

// QRStyle says how a QR code is drawn with characters.
type QRStyle int

const (
	// QRColour sets black and white itself, so that it reads on any terminal, dark or light.
	QRColour QRStyle = iota
	// QRPlain uses no escape sequences; it reads where text is light on dark.
	QRPlain
)

const quietZone = 4 // modules of white around the code, as the standard asks for; scanners fail with less

// QR draws text as a QR code with half-block characters, two modules on each line.
func QR(text authn.Secret, style QRStyle) (string, error) {
	dark, size, err := modules(text)
	if err != nil {
		return "", err
	}
	begin, end := "", "\n"
	if style == QRColour {
		begin, end = "\x1b[38;5;231;48;5;16m", "\x1b[0m\n" // white on black, whatever the terminal's own colours are
	}
	var b strings.Builder
	for y := 0; y < size; y += 2 {
		b.WriteString(begin)
		for x := range size {
			b.WriteString(halfBlock(dark(x, y), dark(x, y+1)))
		}
		b.WriteString(end)
	}
	return b.String(), nil
}

// halfBlock draws white with ink, because most terminals are dark.
func halfBlock(upperDark, lowerDark bool) string {
	switch {
	case upperDark && lowerDark:
		return " "
	case upperDark:
		return "▄"
	case lowerDark:
		return "▀"
	}
	return "█"
}

// modules draws the code with its quiet zone: a square of size modules, each dark or not; also around it nothing is dark.
func modules(text authn.Secret) (dark func(x, y int) bool, size int, err error) {
	code, err := qr.Encode(text.Reveal(), qr.L, qr.Auto)
	if err != nil {
		return nil, 0, authn.Errorf(authn.Internal, "qr", "the text does not fit into a QR code")
	}
	inner := code.Bounds().Dx()
	return func(x, y int) bool {
		x, y = x-quietZone, y-quietZone
		if x < 0 || y < 0 || x >= inner || y >= inner {
			return false
		}
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}, inner + 2*quietZone, nil
}

// QRPicture draws text as a QR code in an svg element for a page, black on white whatever the page's colours are. label is
// what people hear who do not see it.
func QRPicture(text authn.Secret, label string) (string, error) {
	dark, size, err := modules(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s" shape-rendering="crispEdges">`+
		`<path fill="#fff" d="M0 0h%dv%dH0z"/><path d="`, size, size, html.EscapeString(label), size, size)
	for y := range size {
		for x := 0; x < size; x++ {
			from := x
			for dark(x, y) {
				x++
			}
			if x > from { // a run of dark modules is one rectangle
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from, y, x-from, x-from)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String(), nil
}
