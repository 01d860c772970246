package keystore

import (
	"crypto/rand"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// MarkRow is an Update in the history of the store. Primary key: sequence. The
// store writes it at the beginning of each Update; Vault.Position puts it again
// with Position set.
type MarkRow struct {
	Sequence int64     // of the Update
	Mark     string    // 16 random bytes in base64url
	Created  time.Time // microseconds, by the clock of whoever wrote it: for people to read
	Position bool      // a data snapshot or a key copy may name it, so that it is kept for long
	// Narrows is Change.Narrowed of the Update, or NarrowsNothing: whose cached
	// keys it made stale. Key copies do not carry it.
	Narrows string
}

// Scope returns whose keys the Update made stale, as Narrows says. What it does
// not understand is everyone's.
func (m MarkRow) Scope() (of Scope, narrows bool) {
	if m.Narrows == NarrowsNothing {
		return Scope{}, false
	}
	if canon.Unmarshal([]byte(m.Narrows), &of) != nil {
		return Scope{}, true
	}
	return of, true
}

const markSize = 16

// NewMark draws the mark of an Update.
func NewMark() string {
	mark := make([]byte, markSize)
	_, _ = rand.Read(mark) // never fails: it ends the process where there is no randomness
	return canon.FormatBytes(mark)
}

// IsMark tells the form of a mark: 16 bytes in base64url.
func IsMark(s string) bool {
	mark, err := canon.ParseBytes(s)
	return err == nil && len(mark) == markSize
}
