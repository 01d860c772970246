package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// policed puts four letters under a policy that hides the first one from a role
// with all rights, and returns the letters as that role opens them.
func policed(t *testing.T, s *two) (as *sql.DB, old uint32) {
	t.Helper()
	for i := range 4 {
		old = s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
	}
	role, database := s.database.Role(t)
	s.exec(t, s.db, `GRANT ALL ON letters TO `+role)
	s.exec(t, s.db, `CREATE POLICY own ON letters USING (id <> 'l0')`)
	return database.Open(t), old
}

const (
	hides  = `ALTER TABLE letters ENABLE ROW LEVEL SECURITY`
	toEdit = `row security`
)

// Whoever is shown some of the rows only is refused by every job over a table, and
// destroys no key version that the others need.
func TestAJobOfWhoIsShownSomeRowsOnlyIsRefused(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		as, old := policed(t, s)
		s.exec(t, s.db, hides)
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		same := func(_ string, b []byte) ([]byte, error) { return b, nil }
		for name, job := range map[string]func(ctx context.Context) error{
			"Reseal": func(ctx context.Context) error {
				_, err := s.of.Reseal(ctx, as, tenant, jobs.ResealOptions{})
				return err
			},
			"Census":    func(ctx context.Context) error { _, err := s.of.Census(ctx, as, tenant); return err },
			"Counts":    func(ctx context.Context) error { _, err := s.a.Counts(as, tenant, s.of)(ctx); return err },
			"Rebuild":   s.of.RebuildIndexes(as, tenant),
			"ClearRows": func(ctx context.Context) error { return s.of.ClearRows(as)(ctx, tenant, "p1") },
			"Redact": func(ctx context.Context) error {
				_, err := s.of.Redact(ctx, as, tenant, "l1", jobs.Redaction{Edit: same})
				return err
			},
			"Opened": func(ctx context.Context) (err error) {
				for _, err = range s.of.Opened(ctx, as, tenant, "body") {
				}
				return err
			},
			"DestroyKeyVersion": func(ctx context.Context) error {
				return s.b.DestroyKeyVersion(ctx, tenant, old, s.ofB.Holder(as))
			},
		} {
			err := job(t.Context())
			require.ErrorIs(t, err, encryption.ErrDefinition, name)
			require.ErrorContains(t, err, toEdit, name)
		}
		require.Equal(t, keystore.Retired, stateOf(t, s.a, old))
		s.requireAll(t, 4)
	})
}

// A migration hides rows while a destruction waits for who writes: what it counts
// afterwards is not the whole.
func TestRowsThatAreHiddenWhileADestructionWaitsAreNotDestroyed(t *testing.T) {
	eachPostgres(t, hiddenMeanwhile)
}

func hiddenMeanwhile(t *testing.T, s *two) {
	t.Helper()
	as, old := policed(t, s)
	_, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	var late []byte // sealed before, and written while it waits
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM letters WHERE id = 'l0'`).Scan(&late))
	w := s.writer(t)
	s.exec(t, s.db, `UPDATE letters SET body = ? WHERE id <> 'l0'`, w.Text("body", "new"))
	// Somebody begins to write just before it asks for the last time.
	var tx *sql.Tx
	cfg, writers, waits := s.cfg, make(chan struct{}, 100), 0
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		if waits++; waits == 2 {
			tx, err = s.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			s.exec(t, tx, `UPDATE letters SET person = person WHERE id = 'l1'`)
		}
		return s.cfg.Wait(ctx, d)
	}
	cfg.Observe = func(_ context.Context, name string, open float64, _ ...slog.Attr) {
		if name == "encryption.holder.writers" && open > 0 {
			writers <- struct{}{}
		}
	}
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	table, err := v.Table(lettersTable)
	require.NoError(t, err)
	s.exec(t, s.db, `UPDATE letters SET body = NULL WHERE id = 'l0'`) // or it would be in use at once
	done := make(chan error, 1)
	go func() { done <- v.DestroyKeyVersion(t.Context(), tenant, old, table.Holder(as)) }()
	select {
	case <-writers:
	case err := <-done:
		require.FailNow(t, "the destruction did not wait", "%v", err)
	}
	s.exec(t, tx, `UPDATE letters SET body = ? WHERE id = 'l0'`, late)
	hidden := make(chan error, 1)
	go func() {
		_, err := s.second.ExecContext(t.Context(), hides) // stands in the queue before the count
		hidden <- err
	}()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'letters'::regclass`).Scan(&n))
		return n > 0
	}, time.Minute, time.Millisecond)
	require.NoError(t, tx.Commit())
	require.NoError(t, <-hidden)
	require.ErrorIs(t, <-done, encryption.ErrDefinition)
	require.Equal(t, keystore.Retired, stateOf(t, s.a, old))
	var body encryption.Sealed
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM letters WHERE id = 'l0'`).Scan(&body))
	row, err := s.of.Row(t.Context(), tenant, "p1", "l0")
	require.NoError(t, err)
	text, err := row.Text(t.Context(), "body", body.Bytes())
	require.NoError(t, err, "the value is lost")
	require.Equal(t, "body of l0", text)
}

// Where a policy hides keys from the key store's own role, no call takes what is
// hidden for what is not there: nothing is copied, destroyed, closed, erased or made
// anew, and all opens when the policy is gone.
func TestHiddenKeysAreNotTakenForMissingOnes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name != testdb.PostgresC && d.Name != testdb.PostgresICU {
			return
		}
		w := newWorn(t, d)
		role, as := d.Role(t)
		for _, right := range d.Rights(t, sqlkeys.Grants(), role) {
			w.exec(t, right.Grant)
		}
		cfg := w.cfg
		cfg.Keys = keysIn(t, as.Open(t))
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		_, err = vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		require.NoError(t, vault.AddAlias(t.Context(), tenant, "p8", "p9"))
		rows := func() (n int) {
			require.NoError(t, w.db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM crmguard_encryption_key) * 1000 + (SELECT COUNT(*) FROM crmguard_encryption_owner)`).Scan(&n))
			return n
		}
		before := rows()
		for _, table := range []string{"key", "owner", "alias"} {
			who := map[string]string{"key": "owner", "owner": "owner", "alias": "alias"}[table]
			w.exec(t, `CREATE POLICY half ON crmguard_encryption_`+table+` USING (`+who+` < 'p5')`)
			w.exec(t, `ALTER TABLE crmguard_encryption_`+table+` ENABLE ROW LEVEL SECURITY`)
			for call, do := range map[string]func() error{
				"WriteCopy": func() error { _, err := vault.WriteCopy(t.Context(), w.copies()); return err },
				"RewrapKeys": func() error {
					_, err := vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(w.copies()), Destroy: w.destroy})
					return err
				},
				"Erase":          func() error { _, err := vault.Erase(t.Context(), tenant, "p9"); return err },
				"EraseMany":      func() error { _, err := vault.EraseMany(t.Context(), tenant, "p1", "p9"); return err },
				"Ensure":         func() error { return vault.Ensure(t.Context(), tenant, "p6", "p8") },
				"AddAlias":       func() error { return vault.AddAlias(t.Context(), tenant, "p7", "p6") },
				"RepairFromCopy": func() error { _, err := vault.RepairFromCopy(t.Context(), w.whole); return err },
				"Writer": func() error {
					_, err := w.table(t, vault, peopleTable).Writer(t.Context(), tenant, "p8")
					return err
				},
			} {
				err := do()
				require.ErrorIs(t, err, sqlkeys.ErrRowSecurity, "%s, hidden: %s", call, table)
			}
			_, err = sqlkeys.Open(t.Context(), as.Open(t))
			require.ErrorIs(t, err, sqlkeys.ErrRowSecurity)
			w.exec(t, `ALTER TABLE crmguard_encryption_`+table+` DISABLE ROW LEVEL SECURITY`)
			require.Equal(t, before, rows())
			require.Equal(t, without(), w.opens(t))
		}
		w.exec(t, `ALTER TABLE crmguard_encryption_key ENABLE ROW LEVEL SECURITY`)
		nobody := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
		require.ErrorIs(t, vault.DestroyKeyVersion(t.Context(), tenant, w.old, nobody), sqlkeys.ErrRowSecurity)
		w.exec(t, `ALTER TABLE crmguard_encryption_key DISABLE ROW LEVEL SECURITY`)
		require.Equal(t, before, rows(), "no key is deleted")
	})
}
