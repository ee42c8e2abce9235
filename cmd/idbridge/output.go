package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
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

// line reads one line of input, at most 4 KiB.
func line(r io.Reader) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(r, 4<<10)).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || text == "") {
		return "", err
	}
	return strings.TrimRight(text, "\r\n"), nil
}
