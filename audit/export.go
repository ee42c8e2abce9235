package audit

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Format is the format of an export.
type Format string

// Formats. Both carry the MAC in hexadecimal; times are RFC 3339 in UTC.
const (
	JSONLines Format = "jsonl"
	CSV       Format = "csv"
)

const readPage = 1000

// Export writes all records from a time on, oldest first, and returns how many.
func Export(ctx context.Context, store Reader, w io.Writer, format Format, from time.Time) (int, error) {
	write, flush, err := encoder(w, format)
	if err != nil {
		return 0, err
	}
	n := 0
	for after := int64(0); ; {
		rows, err := store.AuditRows(ctx, after, readPage)
		if err != nil || len(rows) == 0 {
			return n, firstOf(err, flush())
		}
		for _, row := range rows {
			after = row.Seq
			if row.Time.Before(from) {
				continue
			}
			if err := write(row); err != nil {
				return n, err
			}
			n++
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func encoder(w io.Writer, format Format) (write func(Row) error, flush func() error, err error) {
	switch format {
	case JSONLines:
		enc := json.NewEncoder(w)
		return func(r Row) error {
			return enc.Encode(struct {
				Record
				MAC string `json:"mac"`
			}{r.Record, fmt.Sprintf("%x", r.MAC)})
		}, func() error { return nil }, nil
	case CSV:
		enc := csv.NewWriter(w)
		err := enc.Write(strings.Split("seq,time,id,action,actor,environment,username,provider,subject,it_user,kind,reason,"+
			"factors,source,detail,duration_ns,mac", ","))
		return func(r Row) error { return enc.Write(csvLine(r)) }, func() error { enc.Flush(); return enc.Error() }, err
	}
	return nil, nil, fmt.Errorf("audit: format %q is none of jsonl, csv", format)
}

// formula are the runes that may begin a formula in a spreadsheet, some in disguise.
const formula = "=+-@＝＋－＠ \t\r\n"

// csvLine keeps a spreadsheet from running a typed user name as a formula.
func csvLine(r Row) []string {
	line := []string{strconv.FormatInt(r.Seq, 10), r.Time.Format(time.RFC3339Nano)}
	for _, s := range r.texts() {
		text := *s
		if first, _ := utf8.DecodeRuneInString(text); text != "" && strings.ContainsRune(formula, first) {
			text = "'" + text
		}
		line = append(line, text)
	}
	return append(line, strconv.FormatInt(int64(r.Duration), 10), fmt.Sprintf("%x", r.MAC))
}

// Tail hands the last n records to show, oldest first; with a positive poll interval it then goes on with new ones
// until ctx ends, which is no error. n may be 0.
func Tail(ctx context.Context, store Reader, n int, poll time.Duration, show func(Row) error) error {
	head, err := store.AuditHead(ctx)
	if err != nil {
		return err
	}
	after := max(head.Seq-int64(n), head.PurgedSeq)
	for {
		rows, err := store.AuditRows(ctx, after, readPage)
		if err != nil {
			return unlessEnded(ctx, poll, err)
		}
		for _, row := range rows {
			after = row.Seq
			if err := show(row); err != nil {
				return err
			}
		}
		if len(rows) == readPage {
			continue
		}
		if poll <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poll):
		}
	}
}

// unlessEnded drops the error of a read that was interrupted because following was.
func unlessEnded(ctx context.Context, poll time.Duration, err error) error {
	if poll <= 0 || ctx.Err() == nil {
		return err
	}
	return nil
}
