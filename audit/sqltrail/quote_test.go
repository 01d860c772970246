package sqltrail_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// canary stands for what an event says about somebody.
const canary = "canary4711"

// A spoiler makes the database quote values, and takes that back.
type spoiler struct {
	name       string
	spoil, end []string
}

// spoilers are triggers that raise values on each table, and views in the
// place of each table: those that fail over their rows, and those in which a
// number is a text.
func spoilers(db *sqldb.DB) (out []spoiler) {
	numbers := map[string][]string{"events": {"seq", "idx"}, "entries": {"idx", "at"}, "surrogates": {"n", "state"}, "state": {"size", "published", "beat", "found"}}
	columns := map[string][]string{
		"log": {"id", "name"}, "events": {"seq", "id", "log", "retry", "body", "idx"}, "entries": {"idx", "id", "leaf", "at", "filed"},
		"found":   {"idx", "at", "tenant_k", "actor_k", "object_k", "action_k", "outcome_k"},
		"persons": {"idx", "k", "at"}, "openings": {"idx", "owner", "sealed"}, "aside": {"n", "id", "body", "why", "at"},
		"surrogates": {"n", "tenant", "surrogate", "k", "person", "head", "state", "into_surrogate", "tag"},
		"heads":      {"size", "root", "at", "note", "tag"}, "tiles": {"level", "n", "data"},
		"state": {"id", "origin", "size", "root", "published", "beat", "beat_size", "found", "mirrored", "people", "drained", "pruned", "swept", "drains", "tag"},
	}
	for short, all := range columns {
		table := "crmguard_audit_" + short
		for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
			s := spoiler{name: event + " " + short, end: []string{`DROP TRIGGER spoil`}}
			switch db.Kind {
			case sqldb.SQLite:
				s.spoil = []string{`CREATE TRIGGER spoil BEFORE ` + event + ` ON ` + table + ` BEGIN SELECT RAISE(ABORT, '` + canary + ` is refused'); END`}
			case sqldb.Postgres:
				s.spoil = []string{
					`CREATE OR REPLACE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '` + canary + ` is refused' USING DETAIL = '` + canary + `', TABLE = '` + canary + ` x'; END $$`,
					`CREATE TRIGGER spoil BEFORE ` + event + ` ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION spoil()`,
				}
				s.end = []string{`DROP TRIGGER spoil ON ` + table}
			case sqldb.MariaDB, sqldb.MySQL:
				s.spoil = []string{`CREATE TRIGGER spoil BEFORE ` + event + ` ON ` + table + ` FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '` + canary + ` is refused'`}
			}
			out = append(out, s)
		}
		view := func(name string, with map[string]string) {
			list := make([]string, len(all))
			for i, column := range all {
				if list[i] = column; with[column] != "" {
					list[i] = with[column] + " AS " + column
				}
			}
			out = append(out, spoiler{
				name: name + " " + short,
				spoil: []string{
					`ALTER TABLE ` + table + ` RENAME TO hidden`,
					`CREATE VIEW ` + table + ` AS SELECT ` + strings.Join(list, ", ") + ` FROM hidden`,
				},
				end: []string{`DROP VIEW ` + table, `ALTER TABLE hidden RENAME TO ` + table},
			})
		}
		for _, number := range numbers[short] {
			view("no number in "+number+" of", map[string]string{number: `'` + canary + `'`})
		}
		if db.Kind != sqldb.SQLite { // has no function that fails with words of its own outside of triggers
			fails := map[string]string{}
			for _, column := range all {
				if column == "leaf" || column == "origin" || column == "data" || column == "person" || column == "sealed" || column == "head" || column == "body" {
					fails[column] = `spoiled(` + column + `)`
				}
			}
			view("rows that fail in", fails)
		}
	}
	return out
}

// everyVerb calls all of a trail that reads or writes its tables. It goes on
// after errors, and returns them by their verb.
func everyVerb(t *testing.T, s *shop, ids []string) map[string]error {
	t.Helper()
	ctx := t.Context()
	e := sale(t, canary+"-person")
	e.Actor, e.Reason, e.Request, e.Object = canary+"-actor", canary+"-reason", canary+"-request", audit.PersonRef("contact", canary+"-person")
	again := e
	again.ID = ids[0] // another event under an id that is taken
	other := sale(t, canary+"-"+e.ID)
	_, published := s.trail.RunOnce(ctx)
	out := map[string]error{
		"RunOnce": published, "Record": s.sell(s.db.DB, s.trail, e), "Record again": s.sell(s.db.DB, s.trail, again), "Record of another person": s.sell(s.db.DB, s.trail, other),
		"Prepare": s.trail.Prepare(ctx, "main", canary+"-"+e.ID[:8]), "Beat": s.trail.Beat(ctx), "CatchUp": s.trail.CatchUp(ctx),
	}
	for _, of := range []audit.Object{e.Object, audit.About(e.Object.ID), audit.Ref("deal", canary)} {
		for _, err := range s.trail.History(ctx, "main", of, audit.Page{}) {
			out["History"] = errors.Join(out["History"], err)
		}
	}
	note := audit.Event{Tenant: "main", Actor: canary, Action: "contact.export", Object: audit.Ref("deal", canary), Persons: []string{canary + "-note"}}
	out["Note"] = only(s.trail.Note(ctx, note))
	_, out["Leaf"] = s.trail.Leaf(ctx, ids[0])
	_, out["Proof"] = s.trail.Proof(ctx, ids[0])
	_, out["Published"] = s.trail.Published(ctx, "tile/entries/000.p/3")
	_, out["Status"] = s.trail.Status(ctx)
	_, out["Progress"] = s.trail.Progress(ctx)
	_, out["VerifyStore"] = s.trail.VerifyStore(ctx, nil)
	_, _, out["OpeningHolders"] = s.trail.OpeningHolders(ctx, "main", 1)
	_, out["Reseal"] = s.trail.Reseal(ctx, func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		plain, err := s.keys.Open(ctx, tenant, person, sealed, ad)
		if err != nil {
			return nil, err
		}
		return s.keys.Seal(ctx, tenant, person, plain, ad)
	})
	_, again2 := s.trail.RunOnce(ctx)
	out["RunOnce again"] = again2
	out["Erase"] = s.trail.Erase(ctx, "main", canary+"-"+e.ID)
	return out
}

// What an event says about somebody is in no error, however the database and
// its driver quote it, and whichever verb meets it.
func TestNoErrorOfATrailQuotesAValue(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		run := func(statements ...string) {
			for _, statement := range statements {
				_, err := s.db.ExecContext(context.WithoutCancel(t.Context()), statement)
				require.NoError(t, err, statement)
			}
		}
		switch s.db.Kind {
		case sqldb.Postgres:
			for _, kind := range []string{"text", "bytea"} {
				run(`CREATE FUNCTION spoiled(v ` + kind + `) RETURNS ` + kind + ` LANGUAGE plpgsql VOLATILE AS $$ BEGIN RAISE EXCEPTION '` + canary + ` %', v; END $$`)
			}
		case sqldb.MariaDB, sqldb.MySQL:
			run(`CREATE FUNCTION spoiled(v LONGBLOB) RETURNS LONGBLOB BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '` + canary + `'; RETURN v; END`)
		case sqldb.SQLite: // has no functions of its own
		}
		var ids []string
		for range 3 {
			e := sale(t, canary+"-person")
			ids = append(ids, e.ID)
			require.NoError(t, s.sell(s.db.DB, s.trail, e))
		}
		s.sequence()
		require.ErrorIs(t, everyVerb(t, s, ids)["Record again"], audit.ErrConflict)

		told := map[string]bool{} // by the database, to the driver
		for _, spoiler := range spoilers(s.db) {
			run(spoiler.spoil...)
			for verb, err := range everyVerb(t, s, ids) {
				if err == nil {
					continue
				}
				require.NotContains(t, fmt.Sprintf("%v %+v %s %q", err, err, err, err), canary, "%s: %s", spoiler.name, verb)
				var answer *sqldb.DriverError
				if errors.As(err, &answer) && strings.Contains(errors.Unwrap(answer).Error(), canary) {
					told[spoiler.name], told[verb] = true, true
				}
			}
			run(spoiler.end...)
		}
		must := []string{
			"INSERT events", "INSERT entries", "INSERT found", "INSERT persons", "INSERT surrogates", "INSERT openings", "INSERT heads", "INSERT tiles", "DELETE openings",
			"UPDATE events", "UPDATE state", "UPDATE surrogates", "UPDATE tiles", "no number in size of state",
			"RunOnce", "Record", "Note", "Beat", "CatchUp", "History", "Proof", "Status", "Progress", "VerifyStore", "Reseal", "Erase",
		}
		if d.Name != testdb.SQLite {
			for _, table := range []string{"events", "entries", "surrogates", "openings", "tiles", "state"} {
				must = append(must, "rows that fail in "+table)
			}
		}
		for _, one := range must {
			require.True(t, told[one], "nothing was quoted, so nothing is proved: %s", one)
		}
		s.sequence()
		report, err := s.trail.VerifyStore(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, auditlog.Unanchored, report.Verdict, "%+v", report.Faults)
	})
}
