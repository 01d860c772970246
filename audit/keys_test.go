package audit_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// secretKeys are stand-alone keys of a fresh secret.
func secretKeys(t *testing.T) audit.Keys {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.secret")
	require.NoError(t, audit.NewKeysFile(path))
	keys, err := audit.KeysFile(path)
	require.NoError(t, err)
	return keys
}

func (b *bench) openWith(keys audit.Keys) {
	b.config.Keys = keys
	b.open()
}

// TestATrailNeedsNoVault does everything with one secret.
func TestATrailNeedsNoVault(t *testing.T) {
	b := newBench(t)
	keys := secretKeys(t)
	b.openWith(keys)
	e := update("p1", 1)
	e.ID = b.record(e)
	b.record(e) // a retry
	b.fill(20)
	require.Equal(t, 21, b.run().Sequenced)
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	require.Equal(t, audit.OpeningOK, b.history(audit.About("p1"))[0].Changes[0].Verdict)

	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.run()
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Positive(t, report.Openings[audit.OpeningErased])
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person = 'p1'`))

	// A row that somebody writes without the secret does not enter the log.
	planted := b.record(update("p2", 3))
	b.rewrite(planted, "contact.update", "contact.remove")
	result := b.run()
	require.Zero(t, result.Sequenced)
	require.Len(t, result.Refused, 1)
}

// Another secret opens nothing and takes nothing for its own, and loses
// nothing either: with the right one all is as it was.
func TestTheWrongSecretIsSeen(t *testing.T) {
	b := newBench(t)
	right := secretKeys(t)
	b.openWith(right)
	b.fill(6)
	b.run()
	b.record(update("p1", 9))
	b.openWith(secretKeys(t))
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered, "nothing is put behind a state that it cannot tell from a forgery")
	report := b.verifyStore(nil)
	require.EqualValues(t, 1, report.Refused)
	require.Equal(t, auditlog.Tampered, report.Verdict)
	require.Positive(t, report.Openings[audit.OpeningAltered])
	require.Zero(t, report.Openings[audit.OpeningOK])
	b.openWith(right)
	require.Equal(t, 1, b.run().Sequenced)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// TestATrailMovesOnToOtherKeys does what KeysFrom tells about a vault, here
// from one secret to another.
func TestATrailMovesOnToOtherKeys(t *testing.T) {
	b := newBench(t)
	before, after := secretKeys(t), secretKeys(t)
	b.openWith(before)
	e := update("p1", 1)
	e.ID = b.record(e)
	b.fill(9)
	b.run()
	heads := b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates`)
	resealed, err := b.trail.Reseal(t.Context(), func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		plain, err := before.Open(ctx, tenant, person, sealed, ad)
		if err != nil {
			return nil, err
		}
		return after.Seal(ctx, tenant, person, plain, ad)
	})
	require.NoError(t, err)
	require.Equal(t, heads, resealed.Resealed)
	b.openWith(after)
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorContains(t, err, "CatchUp tags it anew")
	require.NoError(t, b.trail.CatchUp(t.Context()))
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	b.advance(time.Second)
	err = b.sale(e)
	require.ErrorIs(t, err, audit.ErrConflict, "a retry of what was recorded before")
	b.record(update("p1", 2))
	require.Equal(t, 1, b.run().Sequenced)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

func TestKeysSayWhatIsWrongWithASecret(t *testing.T) {
	for _, secret := range [][]byte{nil, make([]byte, 31), make([]byte, 32), make([]byte, 64)} {
		_, err := audit.KeysFrom(secret)
		require.ErrorIs(t, err, audit.ErrInvalid)
		require.ErrorContains(t, err, "32 random bytes")
	}
	path := filepath.Join(t.TempDir(), "crm.secret")
	_, err := audit.KeysFile(path)
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, audit.NewKeysFile(path))
	require.ErrorIs(t, audit.NewKeysFile(path), fs.ErrExist)
}
