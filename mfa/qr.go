package mfa

import (
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
	code, err := qr.Encode(text.Reveal(), qr.L, qr.Auto)
	if err != nil {
		return "", authn.Errorf(authn.Internal, "qr", "the text does not fit into a QR code")
	}
	size := code.Bounds().Dx()
	dark := func(x, y int) bool {
		x, y = x-quietZone, y-quietZone
		if x < 0 || y < 0 || x >= size || y >= size {
			return false
		}
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}
	begin, end := "", "\n"
	if style == QRColour {
		begin, end = "\x1b[38;5;231;48;5;16m", "\x1b[0m\n" // white on black, whatever the terminal's own colours are
	}
	var b strings.Builder
	for y := 0; y < size+2*quietZone; y += 2 {
		b.WriteString(begin)
		for x := range size + 2*quietZone {
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
