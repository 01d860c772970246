package sqltrail_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// sized are events of one person and one field, as a sale records them.
const sized = 51_200

// BenchmarkBytesAnEvent says how much room an event takes: in the tables once it is
// filed and found, in the published folder, and what is left of it after retention.
// The package comment of audit has the figures.
func BenchmarkBytesAnEvent(b *testing.B) {
	for _, name := range testdb.Names() {
		b.Run(string(name), func(b *testing.B) {
			for b.Loop() {
				d := testdb.New(b, name)
				a := &measured{b: b, db: d.OpenWith(b, name.Drivers()[0])}
				a.fill()
			}
		})
	}
}

// measured is a trail whose tables are measured.
type measured struct {
	b  *testing.B
	db *sql.DB
	of *sqldb.DB
}

func (m *measured) fill() {
	ctx := m.b.Context()
	now := time.Date(2024, 11, 22, 9, 0, 0, 0, time.UTC)
	sink := &audittest.Sink{}
	key, _, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(m.b, err)
	require.NoError(m.b, sqltrail.Install(ctx, m.db))
	m.of, err = sqldb.Open(ctx, m.db)
	require.NoError(m.b, err)
	store, err := sqltrail.Open(ctx, m.db)
	require.NoError(m.b, err)
	trail, err := audit.Open(ctx, store, audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: sink, Keys: audittest.NewKeys(),
		Fields: map[string][]string{"contact": {"email"}},
		Now:    func() time.Time { return now },
		Kept: func(c context.Context) ([]byte, error) {
			data, err := sink.ReadFile(c, "checkpoint")
			if err != nil {
				return nil, nil
			}
			return data, nil
		},
	})
	require.NoError(m.b, err)
	empty := m.bytes()
	names := persons(1000)
	for n := 0; n < sized; n += 512 {
		require.NoError(m.b, trail.Prepare(ctx, "main", names...))
		tx, err := m.db.BeginTx(ctx, nil)
		require.NoError(m.b, err)
		for i := range 512 {
			person := names[(n+i)%len(names)]
			_, err := trail.Record(ctx, tx, audit.Event{
				Tenant: "main", Actor: "u-17", Action: "contact.update", Object: audit.PersonRef("contact", person),
				Changes: audit.Diff(person, map[string]any{"email": "old@canary.example"}, map[string]any{"email": "new@canary.example"}),
			})
			require.NoError(m.b, err)
		}
		require.NoError(m.b, tx.Commit())
		_, err = trail.RunOnce(ctx)
		require.NoError(m.b, err)
		now = now.Add(time.Hour)
	}
	_, err = trail.RunOnce(ctx)
	require.NoError(m.b, err)
	m.report("tables", m.bytes()-empty)
	var folder int
	for _, f := range sink.FS() {
		folder += len(f.Data)
	}
	m.report("folder", folder)
	now = now.AddDate(2, 0, 0)
	require.NoError(m.b, trail.Beat(ctx))
	_, err = trail.PruneOpenings(ctx, "main", "contact.", now.AddDate(-1, 0, 0))
	require.NoError(m.b, err)
	m.report("without-openings", m.bytes()-empty)
	_, err = trail.Prune(ctx, now.AddDate(-1, 0, 0))
	require.NoError(m.b, err)
	m.report("pruned", m.bytes()-empty)
	folder = 0
	for _, f := range sink.FS() {
		folder += len(f.Data)
	}
	m.report("folder-pruned", folder)
}

func (m *measured) report(what string, bytes int) {
	m.b.ReportMetric(float64(bytes)/sized, what+"-B/event")
	if os.Getenv("CRMGUARD_SIZES") != "" {
		m.b.Log(what, m.tables())
	}
}

// tidy has the database give back what it does not use.
func (m *measured) tidy() {
	ctx := m.b.Context()
	switch m.of.Kind {
	case sqldb.SQLite:
		_, err := m.db.ExecContext(ctx, `VACUUM`)
		require.NoError(m.b, err)
	case sqldb.Postgres:
		_, err := m.db.ExecContext(ctx, `VACUUM FULL`)
		require.NoError(m.b, err)
	case sqldb.MariaDB, sqldb.MySQL:
		for _, table := range auditTables {
			rows, err := m.db.QueryContext(ctx, `OPTIMIZE TABLE crmguard_audit_`+table)
			require.NoError(m.b, err)
			for rows.Next() {
			}
			require.NoError(m.b, rows.Err())
			require.NoError(m.b, rows.Close())
		}
	}
}

var auditTables = []string{"events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state", "log"}

// bytes are those of all tables and indexes.
func (m *measured) bytes() (n int) {
	m.tidy()
	for _, size := range m.tables() {
		n += size
	}
	return n
}

func (m *measured) tables() map[string]int {
	out := make(map[string]int)
	query := map[sqldb.Kind]string{
		sqldb.SQLite:   `SELECT COALESCE(SUM(pgsize), 0) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = 'crmguard_audit_%s')`,
		sqldb.Postgres: `SELECT pg_total_relation_size('crmguard_audit_%s')`,
		sqldb.MariaDB:  `SELECT COALESCE(SUM(FILE_SIZE), 0) FROM information_schema.INNODB_SYS_TABLESPACES WHERE NAME = CONCAT(DATABASE(), '/crmguard_audit_%s')`,
	}[m.of.Kind]
	for _, table := range auditTables {
		var n int
		if err := m.db.QueryRowContext(m.b.Context(), fmt.Sprintf(query, table)).Scan(&n); err != nil {
			m.b.Fatal(err)
		}
		out[table] = n
	}
	return out
}
