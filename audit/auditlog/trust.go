package auditlog

import (
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
