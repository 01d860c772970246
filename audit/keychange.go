package audit

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
)

// A signing key changes without a pause. The new one signs (Config.Key), the
// old one beside it (Config.SignAlso) for as long as there are readers who know
// only that one, and its verifier key stays known (Config.Former, Trust.Former)
// for as long as checkpoints are kept that it alone signed. The log says itself
// from which entry on it has which key.

// signers are all that sign a checkpoint.
func (t *Trail) signers() []note.Signer {
	return append([]note.Signer{t.config.Signer}, t.config.SignAlso...)
}

// checkSigners refuses a signer that the keys of the log do not verify.
func (t *Trail) checkSigners() error {
	for _, s := range t.config.SignAlso {
		switch {
		case s == nil:
			return invalid("open: a signer of SignAlso is nil")
		case s.Name() != t.origin:
			return fmt.Errorf("%w: a signer of SignAlso signs for %q, this log is %q", ErrOrigin, s.Name(), t.origin)
		case !t.key[1:].Has(s.KeyHash()):
			return fmt.Errorf("%w: the verifier key of a signer of SignAlso does not stand in Former", ErrOrigin)
		}
	}
	return nil
}

// announceKey records that the log has a new signing key, in the first pass that
// finds the published checkpoint without its signature. All processes make the
// same event.
func (t *Trail) announceKey(ctx context.Context) error {
	if len(t.key) == 1 {
		return nil
	}
	signed, _, found, err := t.checkpoint(ctx)
	if err != nil || !found || len(t.key[:1].SignedBy(signed)) > 0 {
		return err
	}
	return t.recordKey(ctx, t.key[0], auditlog.ReasonRotated)
}

// RevokeKey records that a key which signed this log before counts no more: it
// was stolen, or may have been. Call it when the checkpoint that is published
// bears the signature of the new key, and then take the old key out of
// Config.Former, and out of Trust.Former of whoever reads the log. A checkpoint
// that only revoked keys signed is Tampered to [auditlog.VerifyLog].
//
// What was kept under the old key's signature alone proves nothing against its
// thief, who can sign another history: compare the log once more with what was
// kept before the theft, and keep a checkpoint of the new key.
func (t *Trail) RevokeKey(ctx context.Context, verifier string) error {
	if err := t.ready(); err != nil {
		return err
	}
	key, err := c2sp.ParseKey(verifier)
	switch {
	case err != nil:
		return invalid("revoke: %w", err)
	case key.Name() != t.origin:
		return fmt.Errorf("%w: the key belongs to %q, this log is %q", ErrOrigin, key.Name(), t.origin)
	case key.KeyHash() == t.key[0].KeyHash():
		return invalid("revoke: it is the key that signs now: put a new one into Sign and Key, and this one into Former")
	}
	signed, _, _, err := t.checkpoint(ctx)
	if err != nil {
		return err
	}
	if len(t.key[:1].SignedBy(signed)) == 0 { // or there is none
		return fmt.Errorf("%w: no checkpoint of the new key is published: call RunOnce first", ErrNotPublished)
	}
	return t.recordKey(ctx, key, auditlog.ReasonRevoked)
}

// recordKey queues the event about a key, once.
func (t *Trail) recordKey(ctx context.Context, key c2sp.Key, why string) error {
	row, err := t.own(ctx, &auditlog.Leaf{
		ID: keyEvent(t.origin, key.Short, why), Kind: auditlog.KindKey, At: t.now(), Tenant: t.config.Tenant, Actor: itself, Action: "audit.key",
		Outcome: OutcomeOK, Object: auditlog.Object{Kind: "key", ID: key.Short}, Reason: why,
	})
	if err != nil {
		return fmt.Errorf("audit: key: %w", err)
	}
	return t.within(ctx, func(tx HandoverTx) error { return t.putRow(ctx, tx, row) })
}

// keyEvent is the id of the event about a key: it comes from the key, so that
// any number of processes record it once.
func keyEvent(origin, key, why string) string {
	sum := sha256.Sum256(frame.Join("crmguard/audit/key/v1", origin, key, why))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8, of the usual variant
	return id.String()
}
