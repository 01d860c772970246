package audit

import (
	"context"

	"github.com/crmguard/crmguard/internal/alone"
)

// Keys are all keys of a trail in one value, such as [KeysFrom] and a vault's
// AuditKeys make it.
type Keys interface {
	Sealer
	Tagger
	// MACKeys derives keys of 32 bytes for HMAC-SHA256 from the keys of the tags of
	// a tenant, the one that makes what is new first, each with the id of the key
	// that it comes from. The bytes are copies, which the trail wipes.
	MACKeys(ctx context.Context, tenant string, info []byte) (ids []uint32, keys [][]byte, err error)
	// Prepare makes or fetches the keys of persons, before a transaction begins.
	Prepare(ctx context.Context, tenant string, persons ...string) error
}

// KeysFrom returns the keys of a trail that works without package encryption,
// all derived from one secret of 32 random bytes that the application keeps:
// openings are sealed with AES-256-GCM and queued events tagged with
// HMAC-SHA256, under one key a tenant and purpose, in the form that Tink gives
// both. Packages integrity and privacy may derive theirs from the same secret.
//
// No person has a key of their own here. [Trail.Erase] deletes the openings of
// a person, and whoever holds the secret and a backup from before still reads
// them in it: an erasure is final when the last such backup is gone, and until
// then a certificate must not claim more (privacy/datastore.Func.Sealed stays false).
// Nor can a key be changed alone: who leaked the secret takes another one.
//
// To move on to the keys of a vault: stop writing, call [Trail.RunOnce] until
// nothing is queued, hand [Trail.ResealOpenings] a func that opens with these
// keys and seals with the new ones, open the trail with those and call
// [Trail.CatchUp] once. Proofs and published files do not change. A retry of an event that was recorded before
// is then a [ConflictError]. Older backups stay readable with the secret.
func KeysFrom(secret []byte) (Keys, error) {
	root, err := alone.From(secret)
	if err != nil {
		return nil, invalid("keys: %w", err)
	}
	return root.AuditKeys(), nil
}

// KeysFile is [KeysFrom] the secret in a file that [NewKeysFile] has made, or
// another program in the same form: one line of 64 lower-case hex digits,
// which on unix neither group nor others may read.
func KeysFile(path string) (Keys, error) {
	root, err := alone.Read(path)
	if err != nil {
		return nil, invalid("keys: %w", err)
	}
	return root.AuditKeys(), nil
}

// NewKeysFile draws a secret and stores it in a file, once: where the file
// exists the error is fs.ErrExist, and it stays as it is. Keep a copy where
// neither the database nor its backups are: what was sealed and tagged under a
// lost secret opens and verifies never again.
func NewKeysFile(path string) error {
	if err := alone.Create(path); err != nil {
		return invalid("keys: %w", err)
	}
	return nil
}
