package keycopy

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// bury takes out of the newest copy that this process knows of what is gone for
// ever, tombstones and destroyed key versions, before an older copy that was handed
// in brings anything back: that one has them alive. It answers the newest
// copy, or none where the one that was handed in is no older.
func (v *Copies) bury(ctx context.Context, older *repair) (newest source, err error) {
	known, err := v.newestKnown(ctx)
	if errors.Is(err, keyring.ErrKEK) || errors.Is(err, keyring.ErrKeyset) {
		return newest, ctx.Err() // the keyset that tells a genuine copy is damaged still: it is named at the end
	}
	if err != nil || known.path == "" || sequenceOf(known.path) <= older.from.Sequence {
		return newest, err
	}
	verified, err := v.verifyOwn(ctx, known.path, nil)
	if err != nil {
		return newest, fmt.Errorf("encryption: repair: what the newest key copy says is gone for ever: %w", err)
	}
	gone := &repair{copies: v, from: verified, report: older.report, fence: older.fence, dead: true}
	switch err := gone.begin(ctx); {
	case errors.Is(err, keyring.ErrRewound):
		return newest, nil // of a history that the store does not have
	case err != nil:
		return newest, err
	}
	return verified.file, gone.rows(ctx)
}
