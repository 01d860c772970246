package auditlog

import (
	"slices"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// The reasons of an event of kind key.
const (
	ReasonRotated = "rotated" // the key signs from here on
	ReasonRevoked = "revoked" // it counts no more
)

// KeyChange is what the log says about its own signing keys.
type KeyChange struct {
	Index   int64  // entry
	Key     string // verifier key without the name of the log, as GenerateKey spells it
	Revoked bool   // it counts no more; otherwise it signs from here on
}

// revocations are those of the trusted keys which the log itself revokes. They are
// apart from the report, which is bounded: the log may have any number of keys,
// and an entry may spell a key otherwise than Trust does.
type revocations map[string]struct{}

// keyChange takes up an entry about a key.
func (w *walker) keyChange(c KeyChange) {
	if short, ok := c2sp.Spelling(w.keys.Name(), c.Key); ok {
		c.Key = short
	}
	if c.Revoked && slices.ContainsFunc(w.keys, func(k c2sp.Key) bool { return k.Short == c.Key }) {
		if w.revoked == nil {
			w.revoked = make(revocations)
		}
		w.revoked[c.Key] = struct{}{}
	}
	if len(w.report.Keys) < MaxFaults {
		w.report.Keys = append(w.report.Keys, c)
	}
}

// signedByRevoked finds a checkpoint that no key signed but those which the log
// itself revokes.
func (w *walker) signedByRevoked(signed []byte) {
	by := slices.DeleteFunc(w.keys.SignedBy(signed), func(k c2sp.Key) bool {
		_, revoked := w.revoked[k.Short]
		return revoked
	})
	if len(by) == 0 {
		w.fault(Tampered, -1, CheckpointFile, "the checkpoint is signed by a key that the log itself revokes")
	}
}
