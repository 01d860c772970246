package encryption_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

var errStoodStill = errors.New("stands still")

// A process that stood still in the middle of an epoch, and wakes when that one
// is closed and the next one, too, puts nothing back under a KEK that is to be
// destroyed.
func TestACloserThatWakesInTheNextEpochChangesNothing(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	late, other := e.another(t), e.another(t)
	wake, hangs, done := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		copies := 0
		_, err := late.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(ctx context.Context) error {
			if copies++; copies == 1 {
				hangs <- true
				<-wake
			}
			_, err := late.WriteCopy(ctx, dir)
			return err
		}})
		done <- err
	}()
	<-hangs
	for _, kek := range []string{"kek-2", "kek-3"} {
		_, err := other.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: kek, Copy: other.Copier(dir)})
		require.NoError(t, err)
	}
	wake <- true
	require.Error(t, <-done)
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	for _, row := range rows.Keysets {
		want := ""
		if row.Purpose == "branch" {
			want = "kek-3"
		}
		require.Equal(t, want, row.KEK, row.Purpose)
	}
	require.NoError(t, e.kms.destroy(t.Context(), "kek-1"))
	require.NoError(t, e.kms.destroy(t.Context(), "kek-2"))
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}

// Nor does one that stood still while it destroyed the old KEK end an epoch that
// another process is in the middle of.
func TestALateEndOfAnEpochEndsNoOther(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	other := e.another(t)
	_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: func(ctx context.Context, _ string) error {
		_, err := other.RewrapKeys(ctx, keycopy.Rewrap{KEK: "kek-2", Copy: other.Copier(dir)})
		require.NoError(t, err)
		_, err = other.RewrapKeys(ctx, keycopy.Rewrap{KEK: "kek-3", Copy: func(context.Context) error { return errStoodStill }})
		require.ErrorIs(t, err, errStoodStill)
		return nil
	}})
	require.NoError(t, err)
	state, err := e.store.State(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, state.Retiring, "the epoch of kek-3 is still half closed")
	for _, kek := range []string{"kek-3", "kek-4"} {
		_, err := other.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: kek, Copy: other.Copier(dir)})
		require.NoError(t, err)
	}
	e.clock.Move(time.Minute)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}

// A process whose memory is of before an epoch repairs with the keyset of now:
// healthy keys stay.
func TestARepairUsesNoWrapKeyOfBefore(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	dir := t.TempDir()
	written, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	data, err := os.ReadFile(written.Path)
	require.NoError(t, err)
	old := filepath.Join(t.TempDir(), filepath.Base(written.Path))
	require.NoError(t, os.WriteFile(old, data, 0o600))
	behind := e.another(t)
	require.NoError(t, behind.Ensure(t.Context(), tenant, "p1"))
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
	require.NoError(t, err)
	report, err := behind.RepairFromCopy(t.Context(), old)
	require.NoError(t, err)
	require.Zero(t, report.Keys)
	_, err = e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err, "nothing is damaged")
	e.clock.Move(time.Minute)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}

// A job that remembers a merge moves no row of a person who is one again: the
// row would outlive that person's erasure.
func TestAMergeThatWasTakenBackMovesNothing(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c0", "p1")
	e.insert(t, "c2", "p2")
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p1", "p2"))
	job := e.table(t, e.another(t), contactsTable)
	report, err := job.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, report.Moved)
	require.NoError(t, e.vault.Unmerge(t.Context(), tenant, "p1", "p2"))
	e.insert(t, "c1", "p1")
	report, err = job.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Moved)
	var owner string
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT person FROM contacts WHERE id = 'c1'`).Scan(&owner))
	require.Equal(t, "p1", owner)
}

// Whoever destroys waits the lease that the store has now, not the shorter one
// that it remembers.
func TestADestructionWaitsTheLeaseOfNow(t *testing.T) {
	e := newEnv(t, 1)
	all, err := e.vault.KeyVersions(t.Context(), tenant)
	require.NoError(t, err)
	var waited time.Duration
	cfg := e.cfg
	cfg.Wait = func(ctx context.Context, d time.Duration) error { waited += d; return e.clock.Wait(ctx, d) }
	behind, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, e.vault.ChangeLease(t.Context(), time.Hour))
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	nobody := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	require.NoError(t, behind.DestroyKeyVersion(t.Context(), tenant, all[0].KeyVersion, nobody))
	require.GreaterOrEqual(t, waited, 2*time.Hour, "before the mark, and after it")
}
