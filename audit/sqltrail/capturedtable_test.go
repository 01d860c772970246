package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A table of captured rows that somebody has changed keeps no event from its place, and
// Status says so.
func TestAChangedTableOfCapturedRowsStopsNoEvent(t *testing.T) {
	for name, query := range map[string]string{
		"a column renamed":         `ALTER TABLE crmguard_audit_captured RENAME tx TO tx_`,
		"a column of another type": `ALTER TABLE crmguard_audit_captured ALTER tx TYPE varchar`,
		"a view":                   `DO $$ BEGIN ALTER TABLE crmguard_audit_captured RENAME TO old; CREATE VIEW crmguard_audit_captured AS SELECT * FROM old LIMIT 10; END $$`,
		"another table":            `DO $$ BEGIN DROP TABLE crmguard_audit_captured CASCADE; CREATE TABLE crmguard_audit_captured (x int); END $$`,
	} {
		t.Run(name, func(t *testing.T) {
			oneCapturing(t, func(s *capturing) {
				s.exec(query)
				s.does(nil, event(t, audit.Ref("deal", "1"), "amount"))
				r, err := s.trail.RunOnce(t.Context())
				require.NoError(t, err)
				require.Equal(t, 1, r.Sequenced)
				require.Equal(t, audit.HealthAlarm, s.finding(s.trail, "audit.captured").Level)
			})
		})
	}
}

// Tables of events that a version before the first release made are refused where rows
// are captured, and the error says what to do.
func TestOpenRefusesEventsOfTheVersionBefore(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.exec(`ALTER TABLE crmguard_audit_events ALTER tx DROP DEFAULT`)
		s.exec(`ALTER TABLE crmguard_audit_events ALTER tx TYPE xid8 USING NULL`)
		s.exec(`ALTER TABLE crmguard_audit_events ALTER tx SET DEFAULT pg_current_xact_id()`)
		store, err := sqltrail.Open(t.Context(), s.db.DB)
		require.NoError(t, err)
		_, err = audit.Open(t.Context(), store, s.config)
		var before *audit.ErrSchema
		require.ErrorAs(t, err, &before)
		require.ErrorContains(t, err, "migration 1")
		s.config.Captured = nil
		_, err = audit.Open(t.Context(), store, s.config)
		require.NoError(t, err, "nothing else reads it")
	})
}

// Row security over the table of captured rows would hide them: that is no empty table.
func TestRowSecurityOverCapturedRowsIsTold(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newCapturing(t, d.OpenWith(t, "pgx"))
	role, as := d.Role(t)
	s.exec(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + role)
	trail := s.over(as.OpenWith(t, "pgx"))
	require.Equal(t, audit.HealthOK, s.finding(trail, "audit.captured").Level)
	s.exec(`ALTER TABLE crmguard_audit_captured ENABLE ROW LEVEL SECURITY`)
	s.exec(`INSERT INTO deals VALUES (1, 1)`)
	_, err := trail.RunOnce(t.Context())
	require.NoError(t, err)
	require.Equal(t, audit.HealthAlarm, s.finding(trail, "audit.captured").Level)
}
