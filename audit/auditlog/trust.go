package auditlog

import (
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// CheckpointFile is the name of the signed tree head in a published log.
const CheckpointFile = "checkpoint"

// Trust is what a verifier needs, and all that it trusts.
type Trust struct {
	Key    string   // verifier key of the log; its name is the origin
	Kept   []byte   // a checkpoint kept in another administrative domain, nil if there is none
	Former []string // verifier keys that signed before Key, or sign beside it; one signature of any is enough
}

// resolve reads the keys and the kept checkpoint.
func (t Trust) resolve() (keys c2sp.Keys, kept *tlog.Tree, err error) {
	if keys, err = c2sp.ParseKeys(t.Key, t.Former); err != nil {
		return nil, nil, invalid("trust: %w", err)
	}
	if t.Kept == nil {
		return keys, nil, nil
	}
	tree, err := openCheckpoint(keys, t.Kept)
	if err != nil {
		return nil, nil, invalid("trust: Kept: %w", err)
	}
	return keys, &tree, nil
}

// Checkpoint opens a signed checkpoint of the log. One that ends too early is
// ErrMalformed, one that was changed ErrTampered, one that none of the keys
// signed ErrNotSigned besides.
func (t Trust) Checkpoint(signed []byte) (tlog.Tree, error) {
	keys, err := c2sp.ParseKeys(t.Key, t.Former)
	if err != nil {
		return tlog.Tree{}, invalid("trust: %w", err)
	}
	return openCheckpoint(keys, signed)
}

func openCheckpoint(keys c2sp.Keys, signed []byte) (tlog.Tree, error) {
	tree, err := c2sp.OpenCheckpoint(signed, keys.Verifiers()...)
	if err != nil {
		return tlog.Tree{}, signature(err)
	}
	return tree, nil
}

// The reasons of an event of kind key.
const (
	ReasonRotated = "rotated" // the key signs from here on
	ReasonRevoked = "revoked" // it counts no more
)

// KeyChange is what the log says about its own signing keys.
type KeyChange struct {
	Index   int64  // entry
	Key     string // verifier key without the name of the log
	Revoked bool   // it counts no more; otherwise it signs from here on
}

// revoked finds a checkpoint that no key signed but those which the log itself
// revokes.
func (w *walker) revoked(keys c2sp.Keys, signed []byte) {
	by := keys.SignedBy(signed)
	by = slices.DeleteFunc(by, func(k c2sp.Key) bool {
		return slices.ContainsFunc(w.report.Keys, func(c KeyChange) bool { return c.Revoked && c.Key == k.Short })
	})
	if len(by) == 0 {
		w.fault(Tampered, -1, CheckpointFile, "the checkpoint is signed by a key that the log itself revokes")
	}
}
