package strictyaml

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Size is a number of bytes, written 512, 64KiB, 4MiB or 1GiB.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := strings.TrimRight(string(text), "KMGiB"), int64(1)
	switch string(text)[len(digits):] {
	case "", "B":
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	default:
		digits = ""
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return errors.New("must be a size such as 64KiB or 4MiB")
	}
	*s = Size(n * unit)
	return nil
}

var durationType = reflect.TypeFor[time.Duration]()

func unmarshalsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isScalar tells whether a value of the type is written as one text, number or truth value.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64, reflect.Int, reflect.Int8, reflect.Int16,
		reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return unmarshalsText(t)
}

func (d *decoder) scalar(n ast.Node, path string, v reflect.Value, f field) {
	if _, ok := n.(ast.ScalarNode); !ok {
		d.refuse(at(n), path, "must be a single value, not a list or mapping")
		return
	}
	if err := setScalar(n, v, f); err != nil {
		d.refuse(at(n), path, "%s", err)
		return
	}
	if v.Kind() == reflect.String && strings.HasSuffix(f.key, twinSuffix) {
		v.SetString(d.fileName(v.String()))
	}
}

// fileName resolves the name of a file against the folder where names begin.
func (d *decoder) fileName(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.options.Dir, name)
}

func setScalar(n ast.Node, v reflect.Value, f field) error {
	switch t := v.Type(); {
	case t == durationType:
		return setDuration(n, v)
	case isSecret(t):
		return setSecret(n, v)
	case unmarshalsText(t):
		return setText(n, v)
	case t.Kind() == reflect.String:
		return setString(n, v, f.enum)
	case t.Kind() == reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return fmt.Errorf("%s is neither true nor false", quoted(n))
		}
		v.SetBool(b.Value)
	case v.CanFloat():
		return setFloat(n, v)
	default:
		return setInteger(n, v)
	}
	return nil
}

func textOf(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	return "", false
}

// plain is a scalar as it was written.
func plain(n ast.Node) string {
	if text, ok := textOf(n); ok {
		return text
	}
	return n.GetToken().Value
}

// quoted shows a value in a problem, cut to a sane length.
func quoted(n ast.Node) string {
	text := []rune(plain(n))
	if len(text) > 60 {
		text = append(text[:60], '…')
	}
	return strconv.Quote(string(text))
}

func setString(n ast.Node, v reflect.Value, enum []string) error {
	text, ok := textOf(n)
	if !ok {
		return fmt.Errorf("%s is not a text (put it in quotes)", plain(n))
	}
	if len(enum) > 0 && !slices.Contains(enum, text) {
		return fmt.Errorf("%s is not one of %s%s", quoted(n), strings.Join(enum, ", "), nearest(text, enum))
	}
	v.SetString(text)
	return nil
}

func setSecret(n ast.Node, v reflect.Value) error {
	text, ok := textOf(n)
	if !ok {
		return errors.New("is not a text (put it in quotes)") // without the value: it is a secret
	}
	if text == "" {
		return errors.New("is empty")
	}
	v.SetString(text)
	return nil
}

func setDuration(n ast.Node, v reflect.Value) error {
	parsed, err := time.ParseDuration(plain(n))
	if err != nil && strings.HasSuffix(plain(n), "d") {
		var days float64
		days, err = strconv.ParseFloat(strings.TrimSuffix(plain(n), "d"), 64)
		parsed = time.Duration(days * float64(24*time.Hour))
	}
	if err != nil {
		return fmt.Errorf("%s is not a duration (write 300ms, 30s, 5m, 12h or 400d)", quoted(n))
	}
	v.SetInt(int64(parsed))
	return nil
}

func setText(n ast.Node, v reflect.Value) error {
	into, _ := v.Addr().Interface().(encoding.TextUnmarshaler)
	if err := into.UnmarshalText([]byte(plain(n))); err != nil {
		return fmt.Errorf("%s is not %s: %w", quoted(n), named(v.Type()), err)
	}
	return nil
}

// named says in words what a type that reads itself wants.
func named(t reflect.Type) string {
	switch t.String() {
	case "netip.Prefix":
		return "a network (such as 10.20.0.0/24)"
	case "netip.AddrPort":
		return "an address and port (such as 127.0.0.1:8443)"
	case "netip.Addr":
		return "an IP address"
	case "regexp.Regexp":
		return "a regular expression"
	}
	return "valid"
}

func setFloat(n ast.Node, v reflect.Value) error {
	x, err := strconv.ParseFloat(plain(n), 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return fmt.Errorf("%s is not a number", quoted(n))
	}
	v.SetFloat(x)
	return nil
}

func setInteger(n ast.Node, v reflect.Value) error {
	if _, ok := n.(*ast.IntegerNode); !ok {
		return fmt.Errorf("%s is not a whole number", quoted(n))
	}
	if v.CanUint() {
		x, err := strconv.ParseUint(plain(n), 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%s is not a whole number from 0 to %d", plain(n), uint64(math.MaxUint64)>>(64-v.Type().Bits()))
		}
		v.SetUint(x)
		return nil
	}
	x, err := strconv.ParseInt(plain(n), 10, v.Type().Bits())
	if err != nil {
		return fmt.Errorf("%s does not fit (at most %d)", plain(n), int64(math.MaxInt64)>>(64-v.Type().Bits()))
	}
	v.SetInt(x)
	return nil
}

// maxSecretFile bounds what is read of a secret's file.
const maxSecretFile = 64 << 10

// secretFile reads a secret from the file that its _file twin names, without one line break at its end.
func (d *decoder) secretFile(n ast.Node, path string, v reflect.Value) {
	if d.options.NoSecretFiles {
		d.refuse(at(n), path, "names of files are not accepted here (give %s itself)", strings.TrimSuffix(path, twinSuffix))
		return
	}
	name, ok := textOf(n)
	if !ok || name == "" {
		d.refuse(at(n), path, "must be the name of a file")
		return
	}
	secret, err := readSecret(d.fileName(name))
	if err != nil {
		d.refuse(at(n), path, "%s", err)
		return
	}
	v.SetString(secret)
}

func readSecret(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("%s is larger than %d KiB", name, maxSecretFile>>10)
	case secret == "":
		return "", fmt.Errorf("%s is empty", name)
	}
	return secret, nil
}
