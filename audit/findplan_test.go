package audit_test

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// many puts rows into the tables of questions, so that a planner has a choice: n
// entries, each of one of ten actors and about a person of its own.
func (a *asker) many(n int) {
	a.t.Helper()
	keys := map[string][]string{"persons": {"idx", "k"}, "openings": {"idx", "owner"}, "surrogates": {"tenant", "surrogate"}}
	insert := func(table string, columns []string, row func(i int) []any) {
		var rows [][]any
		for i := range n {
			rows = append(rows, row(i))
		}
		for len(rows) > 0 {
			part := rows[:min(len(rows), 500)]
			rows = rows[len(part):]
			require.NoError(a.t, a.trail.Dialect().Insert(a.t.Context(), a.db, sqldb.Insert{Table: "crmguard_audit_" + table, Columns: columns, Key: append(keys[table], columns[0])[:max(1, len(keys[table]))]}, part))
		}
	}
	first := -n // before all that the trail itself has filed
	at := func(i int) int64 { return may.Add(-30*time.Hour).UnixMicro() + int64(i-n/2)*1e7 }
	surrogate := func(i int) []byte {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(i%20000+1)<<32), 7)
	}
	k := func(i int) int64 { return int64(i%20000+1) << 32 }
	insert("entries", []string{"idx", "id", "leaf", "at", "filed"}, func(i int) []any { return []any{first + i, surrogate(i), make([]byte, 200), at(i), at(i)} })
	insert("found", []string{"idx", "at", "tenant_k", "actor_k", "object_k", "action_k", "outcome_k"}, func(i int) []any {
		var outcome any
		if i%20 == 0 {
			outcome = audit.FindKey("outcome", "main", audit.OutcomeDenied)
		}
		return []any{
			first + i, at(i), audit.FindKey("tenant", "main", ""), audit.FindKey("actor", "main", fmt.Sprintf("u-%d", i%10)),
			audit.FindKey("object", "main", string(objectText("deal", fmt.Sprint(i%5)))), audit.FindKey("action", "main", fmt.Sprintf("a-%d", i%3)), outcome,
		}
	})
	insert("persons", []string{"idx", "k", "at"}, func(i int) []any {
		if i%4 == 0 {
			return []any{first + i, k(7), at(i)}
		}
		return []any{first + i, k(i), at(i)}
	})
	insert("openings", []string{"idx", "owner", "sealed"}, func(i int) []any { return []any{first + i, surrogate(i), make([]byte, 200)} })
	tag := a.trail.LiveTags(a.t, "main")
	insert("surrogates", []string{"tenant", "surrogate", "k", "state", "tag", "person", "head"}, func(i int) []any {
		return []any{"main", surrogate(i), k(i), 0, tag(surrogate(i), fmt.Sprintf("q%d", i)), fmt.Sprintf("q%d", i), make([]byte, 100)}
	})
	for _, table := range []string{"entries", "found", "persons", "openings", "surrogates"} {
		switch a.trail.Dialect().Kind {
		case sqldb.MariaDB:
			a.exec(`ANALYZE TABLE crmguard_audit_` + table)
		default:
			a.exec(`ANALYZE crmguard_audit_` + table)
		}
	}
}

func objectText(kind, id string) []byte {
	data := binary.BigEndian.AppendUint32(nil, uint32(len(kind)))
	data = binary.BigEndian.AppendUint32(append(data, kind...), uint32(len(id)))
	return append(data, id...)
}

// plan asks the database how it finds a page.
func (a *asker) plan(f audit.Filter, p audit.Page) (lines []string) {
	a.t.Helper()
	text, args, err := a.trail.FindText(a.t.Context(), f, p)
	require.NoError(a.t, err)
	explain := map[sqldb.Kind]string{sqldb.SQLite: "EXPLAIN QUERY PLAN ", sqldb.Postgres: "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) ", sqldb.MariaDB: "ANALYZE "}
	rows, err := a.db.QueryContext(a.t.Context(), explain[a.trail.Dialect().Kind]+text, args...)
	require.NoError(a.t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(a.t, err)
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		require.NoError(a.t, rows.Scan(values...))
		var line []string
		for i, v := range values {
			line = append(line, columns[i]+"="+v.(*sql.NullString).String)
		}
		lines = append(lines, strings.Join(line, " "))
	}
	require.NoError(a.t, rows.Err())
	return lines
}

var (
	sqliteBad   = regexp.MustCompile(`SCAN (e|d|w|o|s|p|crmguard_audit_\w+)\b|USE TEMP B-TREE FOR (LAST TERM OF )?ORDER BY`)
	postgresBad = regexp.MustCompile(`Seq Scan on crmguard_audit_(found|persons|entries|openings|surrogates)|Sort Key: .*(at|idx)`)
	removed     = regexp.MustCompile(`Rows Removed by (?:Index Recheck|Filter|Join Filter): (\d+)`)
	readRows    = regexp.MustCompile(`\br_rows=([0-9.]+)`)
	mariaBad    = regexp.MustCompile(`\btable=(d|e|o|s|p|w) .*type=(ALL|index) `)
)

// A page is one range of one index, read from where the page begins, and what
// belongs to its entries, however large the tables are: neither the top of the log
// nor all persons of a tenant are read for it.
func TestAPageIsOneRangeOfAnIndex(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for range 60 {
			a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "a-1", Object: audit.Ref("deal", "1"), Persons: []string{"p1"}, Outcome: audit.OutcomeDenied})
			a.advance(-time.Hour)
		}
		a.run()
		a.many(20000)
		questions := map[string]audit.Filter{
			"tenant":  {},
			"actor":   {Actor: "u-1"},
			"object":  {Object: audit.Ref("deal", "1")},
			"person":  {Person: "q7"},
			"action":  {Action: "a-1"},
			"outcome": {Outcome: audit.OutcomeDenied},
		}
		for name, f := range questions {
			f.Tenant = "main"
			index := "crmguard_audit_found_" + name
			if name == "person" {
				index = "crmguard_audit_persons_person"
			}
			// A cursor with half of the log before it.
			found, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main", Actor: "u-1", To: may.Add(-30 * time.Hour)}, audit.Page{Size: 5})
			require.NoError(t, err)
			require.NotEmpty(t, found.Next)
			for _, before := range []string{"", found.Next} {
				plan := a.plan(f, audit.Page{Size: 50, Before: before})
				all := strings.Join(plan, "\n")
				require.Contains(t, all, index, "%s:\n%s", name, all)
				switch a.trail.Dialect().Kind {
				case sqldb.SQLite:
					require.NotRegexp(t, sqliteBad, all, name)
				case sqldb.Postgres:
					require.NotRegexp(t, postgresBad, all, name)
					for _, m := range removed.FindAllStringSubmatch(all, -1) {
						n, err := strconv.Atoi(m[1])
						require.NoError(t, err)
						require.Less(t, n, 200, "%s:\n%s", name, all)
					}
				default:
					require.NotRegexp(t, mariaBad, all, name)
					for _, m := range readRows.FindAllStringSubmatch(all, -1) {
						n, err := strconv.ParseFloat(m[1], 64)
						require.NoError(t, err)
						require.Less(t, n, 200.0, "%s:\n%s", name, all)
					}
				}
			}
		}
	})
}

// A page is one statement, outside of any transaction, with all that it shows.
func TestAPageIsOneStatement(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		db, cutter := d.Cutting(t, driver)
		a := newAsker(t, db)
		for n := range 30 {
			person := fmt.Sprintf("p%d", n%4)
			a.tell(audit.Event{
				Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", person), Persons: []string{"p9"},
				Changes: append(audit.Diff(person, nil, map[string]any{"email": "a@canary.example"}), audit.Change{Path: "stage", New: "won"}),
			})
		}
		a.run()
		for f, statements := range map[audit.Filter]int{
			{Tenant: "main", Actor: "u-1"}: 1,
			{Tenant: "main", Person: "p9"}: 2, // which surrogates are asked for
		} {
			cutter.Outside()
			found := a.find(f, audit.Page{Size: 20})
			require.Len(t, cutter.Outside(), statements)
			require.Len(t, found.Entries, 20)
			for _, e := range found.Entries {
				require.Len(t, e.Persons, 2)
				require.Len(t, e.Changes, 2)
				require.Equal(t, audit.OpeningOK, e.Changes[0].Verdict)
				require.Equal(t, audit.OpeningOK, e.Changes[1].Verdict)
			}
		}
	})
}
