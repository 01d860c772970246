package alone

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"sync"
)

// Ledger is LedgerDigests for whoever asks for many digests, a replay for each
// person of a database: it derives a key once a label and keeps it, so that
// labels are constants of the code.
func (s Secret) Ledger() func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	var keys sync.Map // by label
	return func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		known, ok := keys.Load(label)
		if !ok {
			key, err := s.ledgerKey(ctx, label)
			if err != nil {
				return nil, nil, err
			}
			known, _ = keys.LoadOrStore(label, key)
		}
		roots, digests := known.(derived).digest(data) //nolint:forcetypeassert // nothing else is stored
		return roots, digests, nil
	}
}

// digest is the HMAC of data under a key, in the form of the ledger's keys.
func (k derived) digest(data []byte) (roots []uint32, digests [][]byte) {
	mac := hmac.New(sha256.New, k.key)
	mac.Write(data)
	return []uint32{k.id}, [][]byte{mac.Sum(nil)}
}
