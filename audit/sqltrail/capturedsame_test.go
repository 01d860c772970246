package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// drawn is an id as the database draws one.
const drawn = `0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01`

// Of two rows that wait under one id, the second was written by nobody's trigger: it
// stops neither a pass nor an erasure.
func TestASecondRowOfOneIDStopsNothing(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		require.NoError(s.t, s.trail.Prepare(s.t.Context(), "main", "p1"))
		again := `INSERT INTO crmguard_audit_captured (id, tx, at, tab, kind, tenant, key, op, who) SELECT id, tx, at, tab, kind, tenant, key, op, who FROM crmguard_audit_captured`
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`, `INSERT INTO contacts (id) VALUES ('p1')`, again})
		require.NoError(s.t, s.trail.Erase(s.t.Context(), "main", "p1"))
		require.Equal(s.t, 1, s.sequence().Captured)
		require.Equal(s.t, []string{"contacts i ", "deals i 1"}, s.filed())
		require.Zero(s.t, s.waiting())
		require.Equal(s.t, audit.HealthAlarm, s.finding(s.trail, "audit.captured").Level)
		s.agree()
	})
}

// A row goes as one that is in the log if its entry says what it says, and in silence;
// what says something else under that id is told.
func TestAnIDAloneIsNotKnown(t *testing.T) {
	for what, c := range map[string]struct {
		values string
		alarm  bool
	}{
		"the same":        {`1, 'deals', 'u', '{amount}'`, false},
		"another time":    {`2, 'deals', 'u', '{amount}'`, true},
		"another table":   {`1, 'contacts', 'u', '{amount}'`, true},
		"another op":      {`1, 'deals', 'd', NULL`, true},
		"another column":  {`1, 'deals', 'u', '{stage}'`, true},
		"several columns": {`1, 'deals', 'u', '{amount,stage}'`, true},
	} {
		t.Run(what, func(t *testing.T) {
			oneCapturing(t, func(s *capturing) {
				write := `INSERT INTO crmguard_audit_captured (id, tx, kind, tenant, key, who, at, tab, op, cols) VALUES ('` + drawn + `', ` + thisTx + `, 'deal', 'main', '1', 'x', `
				s.exec(write + `1, 'deals', 'u', '{amount}')`)
				s.sequence()
				s.exec(write + c.values + `)`)
				s.sequence()
				require.Equal(t, []string{"deals u 1"}, s.filed())
				require.Zero(t, s.waiting())
				require.Equal(t, c.alarm, s.finding(s.trail, "audit.captured").Level == audit.HealthAlarm)
				s.agree()
			})
		})
	}
}

// The id is drawn by the trigger's function, which Missing compares: a default of the
// column that is the same for all rows makes no two of them one.
func TestADefaultThatIsTheSameForAllDrawsNothing(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.exec(`ALTER TABLE crmguard_audit_captured ALTER id SET DEFAULT '` + drawn + `'`)
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`})
		s.sequence()
		s.does([]string{`UPDATE deals SET id = 2`, `DELETE FROM deals`})
		s.sequence()
		require.Equal(s.t, []string{"deals i 1", "deals u 1", "deals u 2", "deals d 2"}, s.filed())
	})
}
