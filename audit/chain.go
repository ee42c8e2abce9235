package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// encodingVersion is the first byte of an encoded record. A new field means a new version, never another meaning.
const encodingVersion = 1

// macer computes the chain's MACs. It is not safe for concurrent use.
type macer struct {
	hash hash.Hash
	buf  []byte
	rows []Row
	id   []byte
}

func newMacer(key []byte) *macer {
	m := &macer{hash: hmac.New(sha256.New, key)}
	m.id = m.sum("key", nil, nil)[:8]
	return m
}

// sum separates the uses of the key by a first byte-counted word.
func (m *macer) sum(use string, previous, text []byte) []byte {
	m.hash.Reset()
	var head [2]byte
	head[0], head[1] = byte(len(use)), byte(len(previous))
	m.hash.Write(head[:])
	m.hash.Write([]byte(use))
	m.hash.Write(previous)
	m.hash.Write(text)
	return m.hash.Sum(nil)
}

func (m *macer) record(previous []byte, r *Record) []byte {
	m.buf = r.encode(m.buf[:0])
	return m.sum("record", previous, m.buf)
}

func (m *macer) seal(h Head) []byte {
	b := binary.BigEndian.AppendUint64(m.buf[:0], uint64(h.Seq))
	b = appendText(b, h.MAC)
	b = binary.BigEndian.AppendUint64(b, uint64(h.PurgedSeq))
	b = appendText(b, h.PurgedMAC)
	m.buf = b
	return m.sum("head", nil, b)
}

const wayOut = "find out why, then: idbridge audit restart"

// checkHead refuses a head that this key did not seal: going on from it would make a forgery look genuine.
func (m *macer) checkHead(h Head) error {
	switch {
	case h.Seq == 0 && len(h.Seal) == 0:
		return nil
	case len(h.Seal) > 0 && !hmac.Equal(h.KeyID, m.id):
		return authn.Errorf(authn.Internal, WrongKey, "the audit chain was written under another key; "+wayOut)
	case !hmac.Equal(h.Seal, m.seal(h)):
		return authn.Errorf(authn.Internal, HeadChanged, "the head of the audit chain was changed or removed; "+wayOut)
	}
	return nil
}

// link puts records at the end of the chain. The rows are good until the next call.
func (m *macer) link(h Head, records []Record) ([]Row, Head, error) {
	if err := m.checkHead(h); err != nil {
		return nil, Head{}, err
	}
	m.rows = m.rows[:0]
	for i := range records {
		m.rows = append(m.rows, Row{Record: records[i]})
		row := &m.rows[i]
		h.Seq++
		row.Seq = h.Seq
		h.MAC = m.record(h.MAC, &row.Record)
		row.MAC = h.MAC
	}
	h.KeyID = m.id
	h.Seal = m.seal(h)
	return m.rows, h, nil
}

// purge moves the front of the chain behind a row.
func (m *macer) purge(h Head, last Row) (Head, error) {
	if err := m.checkHead(h); err != nil {
		return Head{}, err
	}
	h.PurgedSeq, h.PurgedMAC = last.Seq, last.MAC
	h.Seal = m.seal(h)
	return h, nil
}

// encode appends the one encoding of a record: texts carry their length, so that no two records share an encoding.
func (r *Record) encode(b []byte) []byte {
	b = append(b, encodingVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Duration))
	for _, s := range r.texts() {
		b = appendText(b, *s)
	}
	return b
}

func (r *Record) texts() [13]*string {
	return [...]*string{&r.ID, &r.Action, &r.Actor, &r.Environment, &r.Username, &r.Provider, &r.Subject, &r.ITUser,
		&r.Kind, &r.Reason, &r.Factors, &r.Source, &r.Detail}
}

func appendText[T string | []byte](b []byte, s T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// maxText is the longest text of a record, in bytes.
const maxText = 4096

// normalise makes a record one that reads back as it was written: what is typed can be no UTF-8, and PostgreSQL keeps
// no NUL.
func (r *Record) normalise() {
	r.Time = time.UnixMicro(r.Time.UnixMicro()).UTC()
	for _, s := range r.texts() {
		if len(*s) > maxText {
			*s = (*s)[:maxText]
		}
		*s = strings.ReplaceAll(strings.ToValidUTF8(*s, "\uFFFD"), "\x00", "\uFFFD")
	}
}

func sameMAC(a, b []byte) bool { return bytes.Equal(a, b) }
