package encryption_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The clock of one process is ten years off those of the server and of another process.
// What it begins the others go on with, what it destroys nothing needs, its copies
// cover, and it learns of an erasure within its lease.
func TestAClockTenYearsOffTheServersLosesNothing(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			eachJump(t, func(t *testing.T, jump time.Duration) {
				s := newTwoWith(t, testdb.New(t, name), true)
				cfg := s.cfg
				cfg.Now = func() time.Time { return s.cfg.Now().Add(jump) }
				off, err := encryption.Open(t.Context(), cfg)
				require.NoError(t, err)
				letters, err := off.Table(lettersTable)
				require.NoError(t, err)

				old := s.write(t, s.db, s.writer(t), "l1")
				position := mustPosition(t, s.a)
				_, err = off.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				require.NoError(t, s.cfg.Wait(t.Context(), encryption.DefaultLease))
				require.NotEqual(t, old, s.write(t, s.db, s.writer(t), "l2"), "everybody seals under the new one")
				report, err := letters.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
				require.NoError(t, err)
				require.Equal(t, 1, report.Cells)
				require.NoError(t, off.DestroyKeyVersion(t.Context(), tenant, old, letters.Holder(s.second)))
				s.requireAll(t, 2)
				written, err := off.WriteCopy(t.Context(), t.TempDir())
				require.NoError(t, err)
				require.NoError(t, written.Covers(position))

				var body encryption.Sealed
				require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM letters WHERE id = 'l1'`).Scan(&body))
				row, err := letters.Row(t.Context(), tenant, "p1", "l1")
				require.NoError(t, err)
				_, err = row.Open(t.Context(), "body", body.Bytes())
				require.NoError(t, err)
				_, err = s.a.Erase(t.Context(), tenant, "p1")
				require.NoError(t, err)
				_, err = row.Open(t.Context(), "body", body.Bytes())
				require.ErrorIs(t, err, encryption.ErrErased)
			})
		})
	}
}
