package auditlog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Verify checks offline, without any store, that leaf is in the log that trust
// names, and returns what it says. A wrong leaf, proof or signature is
// ErrTampered, a signature of another key besides ErrNotSigned, bytes of
// another format ErrMalformed. A proof whose checkpoint
// has the size of the kept one and another root is ErrForked; other sizes
// cannot be compared by one proof, use [VerifyLog].
func Verify(trust Trust, leaf, proof []byte) (Leaf, error) {
	keys, kept, err := trust.resolve()
	if err != nil {
		return Leaf{}, err
	}
	tree, err := c2sp.VerifyProof(keys.Verifiers(), tlog.RecordHash(leaf), proof)
	if err != nil {
		var unverified *note.UnverifiedNoteError
		var signature *note.InvalidSignatureError
		if errors.As(err, &unverified) {
			return Leaf{}, unsignedError{}
		}
		if errors.Is(err, c2sp.ErrRecord) || errors.As(err, &signature) {
			return Leaf{}, fmt.Errorf("%w: proof: %w", ErrTampered, err)
		}
		return Leaf{}, fmt.Errorf("%w: proof: %w", ErrMalformed, err)
	}
	if kept != nil && tree.N == kept.N && tree.Hash != kept.Hash {
		return Leaf{}, fmt.Errorf("%w: two checkpoints of %d entries", ErrForked, tree.N)
	}
	return ParseLeaf(leaf)
}
