package erasurelog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

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
	// Head answers a head as [Log.Head] gave it, or nil when none was kept yet. It
	// is called by several goroutines at once.
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

// anchorWait is how long an anchor is waited for, unless half of the caller's time
// is less: one that hangs must not keep anybody from the ledger.
const anchorWait = 10 * time.Second

// Anchors asks the anchors of the Config, all at once. The heads that were
// answered come with the [*AnchorError] about one that was not, or not within ten
// seconds or half of the time that ctx has left. One that heeds no context is
// left waiting.
func (l *Log) Anchors(ctx context.Context) (kept []Kept, failed error) {
	wait := anchorWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/2)
	}
	asking, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers := make([]Kept, len(l.cfg.Anchors))
	errs := make([]error, len(l.cfg.Anchors))
	var all sync.WaitGroup
	for i, a := range l.cfg.Anchors {
		all.Go(func() { answers[i], errs[i] = a.ask(asking) })
	}
	all.Wait()
	for i, a := range l.cfg.Anchors {
		switch {
		case errs[i] != nil:
			failed = &AnchorError{a.Name, errs[i]}
		case answers[i].Head.Hash != "":
			kept = append(kept, answers[i])
		}
	}
	return kept, failed
}

// ask returns what the anchor keeps; no hash where that is nothing.
func (a Anchor) ask(ctx context.Context) (Kept, error) {
	var data []byte
	err := await(ctx, func() (err error) {
		data, err = a.Head(ctx)
		return err
	})
	if err != nil || len(data) == 0 {
		return Kept{}, err
	}
	h, err := ParseHead(data)
	return Kept{a.Name, h}, err
}
