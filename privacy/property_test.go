package privacy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A promise is what one erasure has to keep, in whatever schema.
type promise struct {
	tenant, person string
	gone, kept     []wholedb.Needle
	others         func() []string // rows that stay as they are, cell by cell
}

// On the schema that strangers wrote, for each person with their habit: after
// Done, and again after the restore of an earlier state and a replay, nothing of
// the person is anywhere, what is kept is there, and rows of others are as they
// were.
func TestTheWholeJobOnTheStrangersSchema(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		require.NoError(t, privacy.Install(t.Context(), w.SQL))
		begin := w.Backup(t)
		for _, p := range w.People {
			t.Run(p.Habit, func(t *testing.T) {
				w.Restore(t, begin)
				desk, dir := propertyDesk(t, t, w.DB, w.Map(), stranger.Now(), func(ctx context.Context, tx randomschema.Execer, _, key string) error {
					_, err := tx.ExecContext(ctx, `UPDATE deals SET summary = '[redacted]' WHERE id = `+key)
					return err
				})
				promise{
					p.TenantText(), p.IDText(), w.Needles(p), w.Kept(p),
					func() []string { return w.Others(t, p) },
				}.keep(t, t, w.DB, desk, dir, "at first")
			})
		}
	})
}

// propertyDesk is a desk over the database with a ledger of its own, in dir.
func propertyDesk(t *testing.T, rt require.TestingT, db wholedb.DB, m *datamap.Map, now time.Time, redact func(ctx context.Context, tx randomschema.Execer, table, key string) error) (desk *privacy.Desk, dir string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(rt, err)
	clock := func() time.Time { return now }
	dir = t.TempDir() // another one each time
	ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(filepath.Join(dir, "ledger")), Digests: digestsOf(root{1, seqKey(0)}), Now: clock})
	require.NoError(rt, err)
	require.NoError(rt, ledger.Create(t.Context()))
	desk, err = privacy.Open(t.Context(), privacy.Config{
		Map: m, DB: db.SQL, Ledger: ledger, Sign: key, Now: clock,
		Delay: privacy.None, Lease: privacy.None, Window: privacy.None,
		Redact: func(_ context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
			return sqlstore.Redaction{Apply: func(ctx context.Context, tx datastore.Tx) error {
				return redact(ctx, tx, r.Table, r.Key)
			}}, nil
		},
	})
	require.NoError(rt, err)
	require.NoError(rt, desk.Ready(t.Context()))
	return desk, dir
}

// keep erases the person, restores the database to a state from before, and
// replays.
func (p promise) keep(t *testing.T, rt require.TestingT, db wholedb.DB, desk *privacy.Desk, dir, restored string) {
	t.Helper()
	require.Empty(rt, wholedb.Lost(db.Search(t, p.gone), p.gone), "what is to go is found")
	others := p.others()
	var backup *wholedb.State
	state := func(name string) {
		if name == restored {
			backup = db.Backup(t)
		}
	}
	state("at first")
	plan, err := desk.PlanErasure(t.Context(), privacy.Request{Tenant: p.tenant, Person: p.person, Reason: "gdpr-17", By: "user/1"})
	require.NoError(rt, err)
	state("planned")
	require.NoError(rt, desk.Approve(t.Context(), plan.ID, "user/2"))
	state("approved")
	o, err := desk.Execute(t.Context(), plan.ID)
	require.NoError(rt, err)
	require.Equal(rt, privacy.Done, o.State, "%+v", o.Stores)
	require.NotEmpty(rt, o.Certificate)
	check := func(when string) {
		t.Helper()
		require.Empty(rt, db.Search(t, p.gone), "left "+when)
		require.Empty(rt, wholedb.Lost(db.Search(t, p.kept), p.kept), "lost "+when)
		require.Equal(rt, others, p.others(), "others "+when)
		require.NoError(rt, desk.Ready(t.Context()))
	}
	check("after Done")
	p.nowhere(rt, dir, o.Certificate)

	db.Restore(t, backup)
	require.Empty(rt, wholedb.Lost(db.Search(t, p.gone), p.gone), "the restore brings them back")
	require.ErrorIs(rt, desk.Ready(t.Context()), privacy.ErrBehind)
	r, err := desk.Replay(t.Context())
	require.NoError(rt, err)
	require.NotZero(rt, r.Erased)
	check("after the replay")
	p.nowhere(rt, dir, nil)
	again, err := desk.Replay(t.Context())
	require.NoError(rt, err)
	require.Zero(rt, again.Erased, "nothing came back")
}

// nowhere looks into the certificate and the files of the ledger.
func (p promise) nowhere(rt require.TestingT, dir string, certificate []byte) {
	files := map[string][]byte{"certificate": certificate}
	require.NoError(rt, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	}))
	for name, data := range files {
		for _, n := range p.gone {
			require.False(rt, bytes.Contains(data, []byte(n.Text)), "%s in %s", n.Name, name)
		}
	}
}
