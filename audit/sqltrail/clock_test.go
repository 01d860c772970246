package sqltrail_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The clock of a process is compared with that of the database server, whatever the
// time zone of the session is, before anything was ever recorded. SQLite has none.
func TestTheClockOfAProcessAndThatOfTheServer(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		key, _, err := audit.GenerateKey("crm.example/audit", 0)
		require.NoError(t, err)
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		require.NoError(t, sqltrail.Install(t.Context(), db))
		if zone := map[testdb.Name]string{testdb.MariaDB: `SET time_zone = '+05:30'`, testdb.PostgresC: `SET TIME ZONE 'Asia/Kolkata'`}[d.Name]; zone != "" {
			_, err := db.ExecContext(t.Context(), zone)
			require.NoError(t, err)
		}
		store, err := sqltrail.Open(t.Context(), db)
		require.NoError(t, err)
		var off time.Duration
		trail, err := audit.Open(t.Context(), store, audit.Config{
			Name: "crm.example/audit", Tenant: "main", Key: key, Sink: &audittest.Sink{}, Keys: audittest.NewKeys(),
			Now: func() time.Time { return time.Now().Add(off) },
		})
		require.NoError(t, err)
		for _, off = range []time.Duration{0, time.Hour, -10 * 365 * 24 * time.Hour} {
			findings, err := trail.Status(t.Context())
			require.NoError(t, err)
			var clock audit.Finding
			for _, f := range findings {
				if f.Name == "audit.clock" {
					clock = f
				}
			}
			if off == 0 || d.Name == testdb.SQLite {
				require.Equal(t, audit.HealthOK, clock.Level, "%s: %v", off, clock.Value)
				continue
			}
			require.Equal(t, audit.HealthAlarm, clock.Level, off)
			require.InDelta(t, -off.Seconds(), clock.Value, 250, off)
			require.Contains(t, clock.Remedy, "the database server's")
		}
	})
}
