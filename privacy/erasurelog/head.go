package erasurelog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"

	"github.com/crmguard/crmguard/internal/canon"
)

// Head is a position of a ledger: the number and the SHA-256 of an entry, which
// stand for all entries up to it. The zero Head is not one: see [ParseHead].
type Head struct {
	Hash string `json:"hash"`
	N    int64  `json:"n"`
}

// emptyHead is where every ledger begins.
func emptyHead() Head { return Head{Hash: canon.FormatBytes(make([]byte, sha256.Size))} }

// Bytes returns the canonical JSON {"hash","n"}, which others keep.
func (h Head) Bytes() ([]byte, error) { return canon.Marshal(h) }

// ParseHead reads what [Head.Bytes] wrote.
func ParseHead(data []byte) (Head, error) {
	var h Head
	if err := canon.Unmarshal(data, &h); err != nil {
		return Head{}, fmt.Errorf("erasurelog: head: %w", err)
	}
	if !canon.IsBytes(h.Hash, sha256.Size) || h.N < 0 {
		return Head{}, errors.New("erasurelog: head: no number and SHA-256")
	}
	return h, nil
}

// Kept is a head that somebody else keeps, and who: a database's high-water
// mark, a backup manifest, an audit trail.
type Kept struct {
	Name string // as operators know the place
	Head Head
}

// Anchor is a place outside the ledger that keeps a head of it: the audit
// trail, the newest backup manifest, the key store, another administrative
// domain.
type Anchor struct {
	Name string
	// Head answers a head as [Log.Head] gave it, or nil when none was kept yet.
	Head func(ctx context.Context) ([]byte, error)
}

// AnchorError says that an anchor gave no head, and which.
type AnchorError struct {
	Name string
	Err  error
}

// Error names the anchor, and repeats nothing that it said.
func (e *AnchorError) Error() string {
	return "erasurelog: anchor " + strconv.Quote(e.Name) + " gave no head"
}

// Unwrap returns what the anchor answered.
func (e *AnchorError) Unwrap() error { return e.Err }

// Anchors asks the anchors of the Config. The heads that were answered come
// with the [*AnchorError] about one that was not.
func (l *Log) Anchors(ctx context.Context) (kept []Kept, failed error) {
	for _, a := range l.cfg.Anchors {
		data, err := a.Head(ctx)
		if err == nil && len(data) == 0 {
			continue
		}
		var h Head
		if err == nil {
			h, err = ParseHead(data)
		}
		if err != nil {
			failed = &AnchorError{a.Name, err}
			continue
		}
		kept = append(kept, Kept{a.Name, h})
	}
	return kept, failed
}
