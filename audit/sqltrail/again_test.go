package sqltrail_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// blocked runs do while somebody holds a row that it needs, for longer than the
// database waits: its transaction is ended and tried again.
func blocked(t *testing.T, s *shop, lock, waiting string, limit time.Duration, do func()) {
	t.Helper()
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	result, err := tx.ExecContext(t.Context(), lock)
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	released := make(chan error)
	go func() {
		n := 0
		for err = nil; n == 0 && err == nil; time.Sleep(150 * time.Millisecond) { // MariaDB tells the same for a tenth of a second
			err = s.db.QueryRowContext(t.Context(), waiting).Scan(&n)
		}
		time.Sleep(limit) // it began to wait before it was seen to
		if rollback := tx.Rollback(); err == nil {
			err = rollback
		}
		released <- err
	}()
	do()
	require.NoError(t, <-released)
}

// What the database made a trail do twice is told once.
func TestWhatIsTriedAgainIsCountedOnce(t *testing.T) {
	for _, c := range []struct {
		name            testdb.Name
		driver, waiting string
		limit           time.Duration
	}{
		{testdb.PostgresC, "pgx", `SELECT count(*) FROM pg_locks WHERE NOT granted`, 200 * time.Millisecond},
		{testdb.MariaDB, "mysql", `SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'`, time.Second},
	} {
		t.Run(string(c.name), func(t *testing.T) {
			d := testdb.New(t, c.name)
			s := newShop(t, openAt(t, c.driver, with(d, c.driver, map[testdb.Name]string{testdb.PostgresC: "lock_timeout=200", testdb.MariaDB: "innodb_lock_wait_timeout=1"})), "crm.example/audit")
			for range 3 {
				require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
			}
			blocked(t, s, `UPDATE crmguard_audit_state SET drains = drains + 1`, c.waiting, c.limit, func() {
				r := s.sequence()
				require.Equal(t, 3, r.Sequenced)
				require.EqualValues(t, 4, r.Size)
			})
			s.sound()
			head := `UPDATE crmguard_audit_surrogates SET k = k + 1 WHERE person = 'p1'`
			blocked(t, s, head, c.waiting, c.limit, func() {
				r, err := s.trail.Reseal(t.Context(), func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
					plain, err := s.keys.Open(ctx, tenant, person, sealed, ad)
					if err != nil {
						return nil, err
					}
					return s.keys.Seal(ctx, tenant, person, plain, ad)
				})
				require.NoError(t, err)
				require.Equal(t, 2, r.Resealed)
				require.Zero(t, r.Raced)
			})
			blocked(t, s, head, c.waiting, c.limit, func() { require.NoError(t, s.trail.Erase(t.Context(), "main", "p1")) })
			require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`))
			require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
			s.sequence()
			s.sound()
		})
	}
}
