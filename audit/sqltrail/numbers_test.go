package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// A row with the last number there is loses no event: SQLite then gives numbers
// in no order, MariaDB gives none and says what to do, PostgreSQL does not mind.
func TestARowWithTheLastNumber(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			s := newShop(t, testdb.New(t, name).Open(t), "crm.example/audit")
			ctx := t.Context()
			note := func() error { return only(s.trail.Note(ctx, sale(t, "p1"))) }
			require.NoError(t, note())
			s.sequence()
			require.NoError(t, note())
			taken := `UPDATE crmguard_audit_events SET seq = 9223372036854775807 WHERE idx IS NULL`
			if name == testdb.PostgresC || name == testdb.PostgresICU {
				_, err := s.db.ExecContext(ctx, taken)
				require.Error(t, err)
				taken = `INSERT INTO crmguard_audit_events (seq, id, log, retry, idx) OVERRIDING SYSTEM VALUE VALUES (9223372036854775807, '\x00', 1, '', -1)`
			}
			_, err := s.db.ExecContext(ctx, taken)
			require.NoError(t, err)
			if name == testdb.MariaDB {
				err := note()
				require.ErrorContains(t, err, "the numbers of crmguard_audit_events are used up")
				require.ErrorContains(t, err, "AUTO_INCREMENT = 1")
				_, err = s.db.ExecContext(ctx, `UPDATE crmguard_audit_events SET seq = 3 WHERE seq = 9223372036854775807`)
				require.NoError(t, err)
				_, err = s.db.ExecContext(ctx, `ALTER TABLE crmguard_audit_events AUTO_INCREMENT = 1`)
				require.NoError(t, err)
			}
			for range 3 {
				for range 5 {
					require.NoError(t, note())
				}
				p, err := s.trail.Progress(ctx)
				require.NoError(t, err)
				require.GreaterOrEqual(t, p.Queued, int64(5), "what waits is counted")
				s.sequence()
				p, err = s.trail.Progress(ctx)
				require.NoError(t, err)
				require.Zero(t, p.Queued)
				require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`))
			}
			require.Equal(t, 17, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx >= 0 AND id IN (SELECT id FROM crmguard_audit_entries WHERE at > 0) AND LENGTH(retry) > 0`))
		})
	}
}
