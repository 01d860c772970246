package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// dumpedTables are those that a dump has of a trail and of what is captured.
var dumpedTables = []string{"log", "events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state", "captured"}

// dumped are the rows of the tables as text, as a logical dump has them: no number of
// the server is among them.
func (s *capturing) dumped() map[string]string {
	s.t.Helper()
	out := make(map[string]string)
	for _, table := range dumpedTables {
		var rows string
		require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), `SELECT COALESCE(json_agg(row_to_json(t)), '[]')::text FROM crmguard_audit_`+table+` t`).Scan(&rows))
		out[table] = rows
	}
	return out
}

// restores puts a dump into tables that were just made.
func (s *capturing) restores(dump map[string]string) {
	s.t.Helper()
	for _, table := range dumpedTables {
		s.exec(`TRUNCATE crmguard_audit_` + table)
		s.exec(`INSERT INTO crmguard_audit_`+table+` OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::crmguard_audit_`+table+`, $1::json)`, dump[table])
	}
	for table, column := range map[string]string{"captured": "n", "events": "seq", "surrogates": "n"} { // which a dump sets, too
		s.exec(`SELECT setval(pg_get_serial_sequence('crmguard_audit_` + table + `', '` + column + `'), 1000)`)
	}
}

// A logical dump that is restored on another server, whose transactions have numbers
// of their own, goes on where it was taken: what waited in it is filed once, whether
// the first server filed it meanwhile or not, and once what is captured afterwards on
// whichever of them goes on.
func TestADumpOnAnotherServerFilesNothingTwice(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			own := testdb.Own(t, name)
			for _, filed := range []bool{true, false} {
				first := newCapturing(t, testdb.New(t, name).OpenWith(t, "pgx"))
				first.does([]string{`INSERT INTO deals VALUES (1, 1)`}, event(t, audit.Ref("deal", "1"), "amount"))
				first.sequence()
				first.does([]string{`INSERT INTO deals VALUES (2, 1), (3, 1)`}, event(t, audit.Ref("deal", "2"), "amount"))
				dump := first.dumped()
				if filed {
					first.sequence()
					require.Equal(t, []string{"deals i 3"}, first.filed())
				}
				second := newCapturing(t, own.New(t).OpenWith(t, "pgx"))
				second.restores(dump)
				second.sink, second.config = first.sink, first.config
				second.trail = second.over(second.db.DB)
				require.NoError(t, second.trail.CatchUp(t.Context()))
				second.does([]string{`INSERT INTO deals VALUES (4, 1)`})
				second.sequence()
				require.Equal(t, []string{"deals i 3", "deals i 4"}, second.filed())
				require.Zero(t, second.waiting())
				require.Zero(t, second.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE tx IS NOT NULL`), "no row that waits no more says of which transaction it was")
				second.agree()
			}
		})
	}
}

// A database that is copied, and used on in both places, draws for each row anew: a row
// with the number, the transaction and the time of another one is another one.
func TestRowsOfTwoCopiesAreTwo(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`})
		dump := s.dumped()
		s.sequence()
		require.Equal(t, []string{"deals i 1"}, s.filed())
		s.exec(`INSERT INTO crmguard_audit_captured (n, tx, at, tab, kind, tenant, key, op, who) OVERRIDING SYSTEM VALUE
			SELECT n, tx, at, tab, kind, tenant, '2', op, who FROM json_populate_recordset(NULL::crmguard_audit_captured, $1::json)`, dump["captured"])
		s.sequence()
		require.Equal(t, []string{"deals i 1", "deals i 2"}, s.filed())
		s.agree()
	})
}
