package integrity

import "github.com/crmguard/crmguard/internal/alone"

// KeysFrom returns the tagger of a [Sealer] that works without package
// encryption: HMAC-SHA256 tags in the form that Tink gives them, under one key
// a tenant that derives from a secret of 32 random bytes. Packages audit and
// privacy may derive theirs from the same secret.
//
// Whoever holds the secret can seal anything, and a key cannot be changed
// alone: who leaked it takes another secret and seals anew. A seal hides
// nothing: an erased row is deleted with its seal, and a backup from before
// keeps both readable.
//
// To move on to the tagger of a vault: verify each row with the sealer over
// these keys and store the seal that another sealer, over the vault's tagger,
// makes of it. Until all rows are resealed, hand in a tagger that tags with
// the new keys and, where their Verify answers fs.ErrNotExist, asks these.
func KeysFrom(secret []byte) (Tagger, error) {
	root, err := alone.From(secret)
	if err != nil {
		return nil, configErr("keys: %w", err)
	}
	return root.Tagger(alone.PurposeSeal), nil
}

// KeysFile is [KeysFrom] the secret in a file that [NewKeysFile] has made, or
// another program in the same form: one line of 64 lower-case hex digits,
// which on unix neither group nor others may read.
func KeysFile(path string) (Tagger, error) {
	root, err := alone.Read(path)
	if err != nil {
		return nil, configErr("keys: %w", err)
	}
	return root.Tagger(alone.PurposeSeal), nil
}

// NewKeysFile draws a secret and stores it in a file, once: where the file
// exists the error is fs.ErrExist, and it stays as it is. Keep a copy where
// neither the database nor its backups are: seals under a lost secret verify
// never again.
func NewKeysFile(path string) error {
	if err := alone.Create(path); err != nil {
		return configErr("keys: %w", err)
	}
	return nil
}
