package admin

import (
	"slices"
	"sync"
	"time"
)

// Shelf is what administrators have sent and not yet confirmed: files to be imported, proposals of configurations. It is kept in
// the memory of the node that was asked: looking at it is a minute's matter. The zero value is empty.
type Shelf struct {
	mu      sync.Mutex
	uploads []upload
	drafts  []draft
}

// draft is a proposal that somebody looks at.
type draft struct {
	id       string
	owner    string // itusers.User.Key
	proposal Proposal
	until    time.Time
}

// keptDrafts is how many there may be; the oldest goes first.
const keptDrafts = 64

func (s *Shelf) addDraft(d draft, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drafts = slices.DeleteFunc(s.drafts, func(o draft) bool { return !now.Before(o.until) })
	if len(s.drafts) >= keptDrafts {
		s.drafts = slices.Delete(s.drafts, 0, 1)
	}
	s.drafts = append(s.drafts, d)
}

func (s *Shelf) draft(id, owner string, now time.Time) (d draft, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.drafts, func(o draft) bool { return o.id == id && o.owner == owner && now.Before(o.until) })
	if i < 0 {
		return draft{}, false
	}
	return s.drafts[i], true
}

func (s *Shelf) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drafts = slices.DeleteFunc(s.drafts, func(o draft) bool { return o.id == id })
}

func (s *Shelf) addUpload(one upload, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads = slices.DeleteFunc(s.uploads, func(o upload) bool { return !now.Before(o.until) })
	if len(s.uploads) >= keptUploads {
		s.uploads = slices.Delete(s.uploads, 0, 1)
	}
	s.uploads = append(s.uploads, one)
}

// takeUpload hands an upload out, once.
func (s *Shelf) takeUpload(id, owner string, now time.Time) (one upload, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.uploads, func(o upload) bool { return o.id == id && o.owner == owner && now.Before(o.until) })
	if i < 0 {
		return upload{}, false
	}
	one = s.uploads[i]
	s.uploads = slices.Delete(s.uploads, i, i+1)
	return one, true
}
