package alone

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// Ledger is LedgerDigests for whoever asks for many digests, a replay for each
// person of a database: it derives a key once a label and keeps it, with what
// computes under it, so that labels are constants of the code.
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
			known, _ = keys.LoadOrStore(label, &macs{derived: key})
		}
		roots, digests := known.(*macs).digest(data) //nolint:forcetypeassert // nothing else is stored
		return roots, digests, nil
	}
}

// digest is the HMAC of data under a key, in the form of the ledger's keys.
func (k derived) digest(data []byte) (roots []uint32, digests [][]byte) {
	return k.sum(hmac.New(sha256.New, k.key), data)
}

func (k derived) sum(mac hash.Hash, data []byte) (roots []uint32, digests [][]byte) {
	mac.Write(data)
	return []uint32{k.id}, [][]byte{mac.Sum(nil)}
}

// macs keeps HMACs that have taken in their key already: half of what a short
// message costs.
type macs struct {
	derived
	idle sync.Pool
}

func (m *macs) digest(data []byte) (roots []uint32, digests [][]byte) {
	mac, ok := m.idle.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, m.key)
	}
	defer m.idle.Put(mac)
	mac.Reset() // from the second time on it goes back to where the key was taken in
	return m.sum(mac, data)
}
