package privacy_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// An anchor may stand in the database itself, which has one connection: it is asked
// while no transaction has that.
func TestAnAnchorInTheDatabaseWaitsForNoTransaction(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		s := newSystemOn(t, t.TempDir(), db)
		asked := 0
		ledger, err := erasurelog.Open(erasurelog.Config{
			Medium: erasurelog.Folder(s.ledgerDir()), Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now },
			Anchors: []erasurelog.Anchor{{Name: "the database itself", Head: func(ctx context.Context) ([]byte, error) {
				asked++
				var n int
				return nil, s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts`).Scan(&n)
			}}},
		})
		require.NoError(t, err)
		s.cfg.Ledger = ledger
		s.reopen()
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		p := s.approved(ann)
		s.keys.broken = true
		for _, want := range []privacy.State{privacy.Partial, privacy.Waiting, privacy.Done} {
			asked = 0
			o, err := s.desk.Execute(t.Context(), p.ID)
			require.NoError(t, err)
			require.Equal(t, want, o.State)
			require.Positive(t, asked)
			s.keys.broken, s.now = false, s.now.Add(time.Hour)
		}
		hold, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: bob, Because: "c", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, s.desk.Lift(t.Context(), "main", hold, "user/1"))
		require.NoError(t, s.desk.Cancel(t.Context(), s.approved(bob).ID))
		p = s.approved(bob)
		s.keys.broken = true
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Partial, o.State)
		require.NoError(t, s.desk.Void(t.Context(), privacy.Voiding{Plan: p.ID, By: "user/1", Approved: "user/2", Because: "c"}))
	})
}

// frozen erases in a transaction that has one view from its beginning, after which
// something else happens once.
type frozen struct {
	*sqlstore.Store
	db     *sqldb.DB
	person string
	then   func()
}

func (f *frozen) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	found, err := f.FindAll(ctx, scopes)
	if err != nil {
		return err
	}
	return f.db.WriteStill(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM crmguard_privacy_plan`).Scan(&n); err != nil {
			return err
		}
		if then := f.then; then != nil {
			f.then = nil
			then()
		}
		if _, err := tx.ExecContext(ctx, f.db.Bind(`DELETE FROM contacts WHERE person = ?`), f.person); err != nil {
			return err
		}
		return last(ctx, tx, found)
	})
}

// Where a transaction has an older view, what decides is read as it is now: another
// erasure that was begun or ended since is no sign of a restore.
func TestAnErasureSeesWhatAnotherOneHasDoneSince(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for state, broken := range map[privacy.State]bool{privacy.Done: false, privacy.Partial: true} {
			t.Run(string(name)+"/"+string(state), func(t *testing.T) {
				d := testdb.New(t, name)
				s := newSystemOn(t, t.TempDir(), d.Open(t))
				s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
				s.reopen()
				ann, bob := newID(), s.contact("bob@b.example")
				s.contactOf(ann, newID(), "ann@a.example")
				forAnn, forBob := s.approved(ann), s.approved(bob)
				other := s.desk
				db, err := sqldb.Open(t.Context(), d.Open(t))
				require.NoError(t, err)
				then, replayed := false, 0
				s.cfg.Database = &frozen{s.cfg.Database.(fused).Store, db, ann, func() {
					s.keys.broken, then = broken, true
					o, err := other.Execute(t.Context(), forBob.ID)
					require.NoError(t, err)
					require.Equal(t, state, o.State)
					s.keys.broken = false
					if !broken {
						s.now = s.now.Add(time.Hour)
						_, err := other.Replay(t.Context())
						require.NoError(t, err)
					}
					replayed = s.count(`SELECT replayed FROM crmguard_privacy_mark`)
				}}
				s.reopen()
				o, err := s.desk.Execute(t.Context(), forAnn.ID)
				require.NoError(t, err)
				require.Equal(t, privacy.Done, o.State)
				require.True(t, then)
				require.Equal(t, replayed, s.count(`SELECT replayed FROM crmguard_privacy_mark`), "what the mark had got stays")
				o, err = other.Execute(t.Context(), forBob.ID)
				require.NoError(t, err)
				require.Equal(t, privacy.Done, o.State)
				require.NoError(t, other.Ready(t.Context()))
			})
		}
	}
}

// Another process may end a plan between any two steps of this one: then this one
// answers the same certificate, and takes none away.
func TestAnotherProcessEndsThePlanMeanwhile(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	s := newSystemOn(t, t.TempDir(), d.Open(t))
	s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
	s.reopen()
	left, during := 0, func() {}
	slow := s.deskOver(testdb.Watching(t, "sqlite", d.DSN("sqlite"), func(inTx bool) {
		if inTx {
			return
		}
		if left--; left == 0 {
			during()
		}
	}))
	for n := 1; ; n++ {
		p := s.approved(s.contact("ann@a.example"))
		var first privacy.Outcome
		hit := false
		during = func() {
			var err error
			first, err = s.desk.Execute(t.Context(), p.ID)
			require.NoError(t, err)
			hit = true
		}
		left = n
		o, err := slow.Execute(t.Context(), p.ID)
		left = 0
		require.NoError(t, err, "at call %d", n)
		require.Equal(t, privacy.Done, o.State)
		if !hit {
			require.Greater(t, n, 5)
			return
		}
		require.NotEmpty(t, o.Certificate)
		require.Equal(t, first.Certificate, o.Certificate, "at call %d", n)
	}
}

// A record of two persons who are one is redacted for the first and deleted with the
// last: so it was rehearsed, and is approved.
func TestARecordOfTwoMergedPersonsGoesAsPlanned(t *testing.T) {
	s := quick(t)
	ann, also := s.contact("ann@a.example"), s.contact("ann@b.example")
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == ann {
			return []string{also}, nil
		}
		return nil, nil
	}
	s.reopen()
	s.activity("both", ann, also)
	s.done(s.approved(ann).ID)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM activities`))
	require.Zero(t, s.count(`SELECT COUNT(*) FROM activity_persons`))
}
