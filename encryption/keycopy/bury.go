package keycopy

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// bury takes out of the newest copy that this process knows of what is gone for
// ever, tombstones and destroyed key versions, before an older copy that was handed
// in brings anything back: that one has them alive. It answers the newest copy's
// path, or "" where the one that was handed in is no older.
func (v *Copies) bury(ctx context.Context, older *repair) (path string, err error) {
	path, err = v.newestKnown(ctx)
	if errors.Is(err, keyring.ErrKEK) || errors.Is(err, keyring.ErrKeyset) {
		return "", ctx.Err() // the keyset that tells a genuine copy is damaged still: it is named at the end
	}
	if err != nil || path == "" || sequenceOf(path) <= older.from.Sequence {
		return "", err
	}
	verified, err := v.verifyOwn(ctx, path, nil)
	if err != nil {
		return "", fmt.Errorf("encryption: repair: what the newest key copy says is gone for ever: %w", err)
	}
	newest := &repair{copies: v, from: verified, report: older.report, dead: true}
	switch err := newest.begin(ctx); {
	case errors.Is(err, keyring.ErrRewound):
		return "", nil // of a history that the store does not have
	case err != nil:
		return "", err
	}
	return path, newest.rows(ctx)
}
