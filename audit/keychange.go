package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

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

// A logKey is a verifier key and its text without the name of the log.
type logKey struct {
	note.Verifier
	short string
}

// logKeys are the verifier keys of a log, the newest first.
type logKeys []logKey

// newKeys reads the texts of verifier keys, all of one log.
func newKeys(verb, key string, former []string) (logKeys, error) {
	newest, err := newKey(key)
	if err != nil {
		return nil, invalid("%s: Key: %w", verb, err)
	}
	out := logKeys{newest}
	for _, text := range former {
		k, err := newKey(text)
		switch {
		case err != nil:
			return nil, invalid("%s: Former: %w", verb, err)
		case k.Name() != newest.Name():
			return nil, fmt.Errorf("%w: a key of Former belongs to %q, Key to %q", ErrOrigin, k.Name(), newest.Name())
		case out.has(k.KeyHash()):
			return nil, invalid("%s: Former: a key stands there twice, or is Key", verb)
		}
		out = append(out, k)
	}
	return out, nil
}

func newKey(text string) (logKey, error) {
	v, err := note.NewVerifier(text)
	if err != nil {
		return logKey{}, verifierFault(text, err)
	}
	return logKey{v, strings.TrimPrefix(text, v.Name()+"+")}, nil
}

// Name is the origin of the log.
func (k logKeys) Name() string { return k[0].Name() }

func (k logKeys) has(hash uint32) bool {
	return slices.ContainsFunc(k, func(one logKey) bool { return one.KeyHash() == hash })
}

func (k logKeys) verifiers() (out []note.Verifier) {
	for _, one := range k {
		out = append(out, one.Verifier)
	}
	return out
}

// signedBy are those of the keys that signed a checkpoint.
func (k logKeys) signedBy(signed []byte) (out logKeys) {
	for _, one := range k {
		if c2sp.SignedBy(signed, one.Verifier) {
			out = append(out, one)
		}
	}
	return out
}

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
		case !t.key[1:].has(s.KeyHash()):
			return fmt.Errorf("%w: the verifier key of a signer of SignAlso does not stand in Former", ErrOrigin)
		}
	}
	return nil
}

// The reasons of an event of kind key.
const (
	keyRotated = "rotated"
	keyRevoked = "revoked"
)

// announceKey records that the log has a new signing key, in the first pass that
// finds the published checkpoint without its signature. All processes make the
// same event.
func (t *Trail) announceKey(ctx context.Context) error {
	if len(t.key) == 1 {
		return nil
	}
	signed, _, found, err := t.checkpoint(ctx)
	if err != nil || !found || len(t.key[:1].signedBy(signed)) > 0 {
		return err
	}
	return t.recordKey(ctx, t.key[0], keyRotated)
}

// RevokeKey records that a key which signed this log before counts no more: it
// was stolen, or may have been. Call it when the checkpoint that is published
// bears the signature of the new key, and then take the old key out of
// Config.Former, and out of Trust.Former of whoever reads the log. A checkpoint
// that only revoked keys signed is Tampered to [VerifyLog].
//
// What was kept under the old key's signature alone proves nothing against its
// thief, who can sign another history: compare the log once more with what was
// kept before the theft, and keep a checkpoint of the new key.
func (t *Trail) RevokeKey(ctx context.Context, verifier string) error {
	if err := t.ready(); err != nil {
		return err
	}
	key, err := newKey(verifier)
	switch {
	case err != nil:
		return invalid("revoke: %w", err)
	case key.Name() != t.origin:
		return fmt.Errorf("%w: the key belongs to %q, this log is %q", ErrOrigin, key.Name(), t.origin)
	case key.KeyHash() == t.key[0].KeyHash():
		return invalid("revoke: it is the key that signs now: put a new one into Sign and Key, and this one into Former")
	}
	signed, _, found, err := t.checkpoint(ctx)
	if err != nil {
		return err
	}
	if !found || len(t.key[:1].signedBy(signed)) == 0 {
		return fmt.Errorf("%w: no checkpoint of the new key is published: call RunOnce first", ErrNotPublished)
	}
	return t.recordKey(ctx, key, keyRevoked)
}

// recordKey queues the event about a key, once.
func (t *Trail) recordKey(ctx context.Context, key logKey, why string) error {
	row, err := t.own(ctx, &auditlog.Leaf{
		ID: keyEvent(t.origin, key.short, why), Kind: KindKey, At: t.now(), Tenant: t.config.Tenant, Actor: itself, Action: "audit.key",
		Outcome: OutcomeOK, Object: auditlog.Object{Kind: "key", ID: key.short}, Reason: why,
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

// KeyChange is what the log says about its own signing keys.
type KeyChange struct {
	Index   int64  // entry
	Key     string // verifier key without the name of the log
	Revoked bool   // it counts no more; otherwise it signs from here on
}

// keyEntry takes up an entry about a key.
func (w *walker) keyEntry(index int64, leaf *Leaf) {
	if leaf.Kind == KindKey && len(w.report.Keys) < maxFaults {
		w.report.Keys = append(w.report.Keys, KeyChange{index, leaf.Object.ID, leaf.Reason == keyRevoked})
	}
}

// revoked finds a checkpoint that no key signed but those which the log itself
// revokes.
func (w *walker) revoked(keys logKeys, signed []byte) {
	by := keys.signedBy(signed)
	by = slices.DeleteFunc(by, func(k logKey) bool {
		return slices.ContainsFunc(w.report.Keys, func(c KeyChange) bool { return c.Revoked && c.Key == k.short })
	})
	if len(by) == 0 {
		w.fault(Tampered, -1, checkpointFile, "the checkpoint is signed by a key that the log itself revokes")
	}
}
