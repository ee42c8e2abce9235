package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// outputFlag lets a command print for people or for programs.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "text or json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *output != "text" && *output != "json" {
			return usageError{fmt.Errorf("--output %q: want text or json", *output)}
		}
		return nil
	}
}

// show prints rows as a table, or value as JSON.
func show(w io.Writer, output string, head []string, rows [][]string, value any) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false) // for people too, and never put into a page
		return e.Encode(value)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if head != nil {
		rows = append([][]string{head}, rows...)
	}
	for _, row := range rows {
		fmt.Fprintln(t, strings.TrimRight(printable(strings.Join(row, "\t")), "\t"))
	}
	return t.Flush()
}

// printable takes out what could move a terminal's cursor: some of what is printed was typed by strangers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// line reads one line of input, at most 4 KiB, and nothing of the next one: there may be another question.
func line(r io.Reader) (string, error) {
	var text []byte
	for one := make([]byte, 1); len(text) < 4<<10; {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		text = append(text, one[:n]...)
		if errors.Is(err, io.EOF) && len(text) > 0 {
			break
		}
		if err != nil {
			return "", err
		}
	}
	return strings.TrimRight(string(text), "\r"), nil
}

// ask asks a question and reads the line that is the answer; it gives up when ctx ends.
func ask(cmd *cobra.Command, question string) (string, error) {
	fmt.Fprint(cmd.OutOrStdout(), question)
	return typed(cmd.Context(), func() (string, error) { return line(cmd.InOrStdin()) })
}

// askSecret asks for a line that a terminal does not show. Without a terminal it is read from standard input.
func askSecret(cmd *cobra.Command, question string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), question)
	file, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return typed(cmd.Context(), func() (string, error) { return line(cmd.InOrStdin()) })
	}
	shown, err := term.GetState(int(file.Fd()))
	if err != nil {
		return "", err
	}
	defer fmt.Fprintln(cmd.ErrOrStderr())
	defer term.Restore(int(file.Fd()), shown) //nolint:errcheck // what could be done about it?
	return typed(cmd.Context(), func() (string, error) {
		text, err := term.ReadPassword(int(file.Fd()))
		return string(text), err
	})
}

// typed reads until ctx ends. A reader that is then still waiting for a line stays behind: the program is about to end.
func typed(ctx context.Context, read func() (string, error)) (text string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, err = read()
	}()
	select {
	case <-done:
		return text, err
	case <-ctx.Done():
		return "", errors.New("interrupted")
	}
}
