package sqltrail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/capture"
)

// A captured row that no trigger wrote, whatever its number and however it is
// broken, keeps no event from its place, no other captured row from being filed and
// nobody from being erased: it is deleted, and told.
func TestAForgedRowStopsNothing(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		require.NoError(t, s.trail.Prepare(t.Context(), "main", "p1"))
		for _, number := range []string{"0", "-7", "4000000000000000000"} {
			forged := `INSERT INTO crmguard_audit_captured (n, tx, at, tab, kind, tenant, key, op, cols, who) OVERRIDING SYSTEM VALUE
				VALUES (` + number + `, ` + thisTx + `, 1, 'deals', 'deal', 'main', '1', 'u', '{{a,b}}', 'x')`
			s.does([]string{forged}, event(t, audit.Ref("deal", "1"), "amount")) // in the transaction of an event about the same
			r, err := s.trail.RunOnce(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, r.Sequenced)
			require.Zero(t, s.waiting(), number)
			s.exec(strings.NewReplacer("'deals', 'deal'", "'contacts', 'contact'", "'1', 'u'", "'p1', 'u'").Replace(forged)) // of no event
			s.does([]string{`INSERT INTO contacts (id) VALUES ('p` + number + `')`})
			require.NoError(t, s.trail.Erase(t.Context(), "main", "p1"))
			r, err = s.trail.RunOnce(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, r.Captured)
			require.Zero(t, s.waiting(), number)
		}
	})
}

// Of a captured row no more is read than a trigger writes.
func TestAFatCapturedRowIsCut(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.exec(`INSERT INTO crmguard_audit_captured (tx, at, tab, kind, tenant, key, op, who, actor)
			VALUES (` + thisTx + `, 1, 'deals', 'deal', repeat('x', 1000000), '1', 'i', 'x', repeat('y', 1000000))`)
		var text string
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT length(row_to_json(r)::text) FROM (SELECT `+capture.Columns+` FROM crmguard_audit_captured) r`).Scan(&text))
		require.Less(t, len(text), 5, "%s bytes of two million", text)
		require.NoError(t, func() error { _, err := s.trail.RunOnce(t.Context()); return err }())
		require.Zero(t, s.waiting())
	})
}

// A column may have any name that the database takes: what it was part of is filed.
func TestAColumnOfAnyNameIsCaptured(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.does([]string{`INSERT INTO crmguard_audit_captured (tx, at, tab, kind, tenant, key, op, cols, who)
			VALUES (` + thisTx + `, 1, 'deals', 'deal', 'main', '1', 'u', ARRAY['$crmguard$', 'a "b" ''c''', 'amount'], 'x')`})
		require.Equal(t, 1, s.sequence().Captured)
		require.Equal(t, []string{"$crmguard$", `a "b" 'c'`, "amount"}, s.leaves()[0].Capture.Columns)
		s.agree()
	})
}
