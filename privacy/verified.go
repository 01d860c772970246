package privacy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/crmguard/crmguard/internal/frame"
)

// verified remembers the whole lines that were verified last, by
// the hash of all its bytes and by the roots that verified it. Neither size
// nor time of the file count: the bytes are read and hashed for every call,
// only what they mean is not worked out anew.
type verified struct {
	mu    sync.Mutex
	sum   [sha256.Size]byte
	roots []byte
	chain chain // entries, hashes and size
}

// recall returns the chain of the beginning of lines that is known, which may
// be empty. The caller may append to it.
func (v *verified) recall(lines, roots []byte) *chain {
	v.mu.Lock()
	known, sum, same := v.chain, v.sum, bytes.Equal(v.roots, roots)
	v.mu.Unlock()
	if !same || known.size > int64(len(lines)) || sha256.Sum256(lines[:known.size]) != sum {
		return &chain{}
	}
	return &known
}

// keep remembers lines and the chain that they hold.
func (v *verified) keep(lines, roots []byte, c *chain) {
	sum := sha256.Sum256(lines)
	v.mu.Lock()
	defer v.mu.Unlock()
	// Clipped, so that nobody who appends writes where others read.
	v.sum, v.roots = sum, roots
	v.chain = chain{entries: slices.Clip(c.entries), hashes: slices.Clip(c.hashes), size: c.size}
}

// rootsNow tells apart the roots that authenticate the ledger at this moment:
// a chain that was verified with others is verified again, or refused.
func (l *Ledger) rootsNow(ctx context.Context) ([]byte, error) {
	ids, digests, err := l.digests.all(ctx, labelMAC, frame.Join("crmguard/ledger/roots/v1"))
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for i, id := range ids {
		list = append(list, []byte(entryKeyID(id)), digests[i])
	}
	return frame.Join(list...), nil
}
