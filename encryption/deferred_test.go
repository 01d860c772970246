package encryption_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
)

// later makes PostgreSQL give a row of a table its old value of a column back when
// a transaction commits.
func (s *two) later(t *testing.T, table, column, id string) {
	t.Helper()
	s.exec(t, s.db, `CREATE FUNCTION back_`+table+`() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
		IF COALESCE(current_setting(''my.`+table+`'', true), '''') = '''' THEN
			PERFORM set_config(''my.`+table+`'', ''1'', true);
			UPDATE `+table+` SET `+column+` = OLD.`+column+` WHERE id = OLD.id;
		END IF; RETURN NULL; END'`)
	s.exec(t, s.db, `CREATE CONSTRAINT TRIGGER back AFTER UPDATE ON `+table+` DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
		WHEN (OLD.id = '`+id+`' AND OLD.`+column+` IS DISTINCT FROM NEW.`+column+`) EXECUTE FUNCTION back_`+table+`()`)
}

// paper is a table with five rows of a person.
func (s *two) paper(t *testing.T, name, person string, partitions bool) *encryption.SealedTable {
	t.Helper()
	end := ""
	if partitions {
		end = ` PARTITION BY HASH (id)`
	}
	s.exec(t, s.db, `CREATE TABLE `+name+` (id text PRIMARY KEY, person text NOT NULL, body bytea, told integer NOT NULL DEFAULT 0)`+end)
	if partitions {
		for i := range 2 {
			s.exec(t, s.db, fmt.Sprintf(`CREATE TABLE %s_%d PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d)`, name, i, name, i))
		}
	}
	table, err := s.a.Table(encryption.Table{Name: name, Columns: []encryption.Column{{Name: "body"}}})
	require.NoError(t, err)
	w, err := table.Writer(t.Context(), tenant, person)
	require.NoError(t, err)
	for i := range 5 {
		s.exec(t, s.db, `INSERT INTO `+name+` (id, person, body) VALUES (?, ?, ?)`, fmt.Sprint("l", i), person, w.Text("body", "Ann"))
	}
	return table
}

// requirePapers opens all rows for whom they belong to.
func (s *two) requirePapers(t *testing.T, table *encryption.SealedTable) {
	t.Helper()
	for i := range 5 {
		var person string
		var body encryption.Sealed
		require.NoError(t, s.db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT person, body FROM %s WHERE id = 'l%d'`, table.Name(), i)).Scan(&person, &body))
		row, err := table.Row(t.Context(), tenant, person, "x")
		require.NoError(t, err)
		got, err := row.Text(t.Context(), "body", body.Bytes())
		require.NoError(t, err, "%s: the value of l%d stands under %s", table.Name(), i, person)
		require.Equal(t, "Ann", got)
	}
}

// What a trigger puts back at COMMIT only, is not counted as resealed: among rows
// that are changed together and one by one, a cell or the owner of a row that goes
// over to another one, by way of another table, too.
func TestWhatADeferredTriggerPutsBackIsNamed(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		require.NoError(t, s.a.Ensure(t.Context(), tenant, "p1", "p2", "p3"))
		cells, hooked, parted, outside := s.paper(t, "cells", "p1", false), s.paper(t, "hooked", "p1", false), s.paper(t, "parted", "p1", true), s.paper(t, "outside", "p1", false)
		owners := s.paper(t, "owners", "p3", false)
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		reseal := func(table *encryption.SealedTable, options jobs.ResealOptions) {
			t.Helper()
			report, err := table.Reseal(t.Context(), s.db, tenant, options)
			require.NoError(t, err)
			require.Equal(t, []string{"l3"}, keysOf(report.Refusals), table.Name())
			require.Equal(t, []int{5, 4, 0}, []int{report.Rows, report.Cells, report.Conflicts}, table.Name())
			census, err := table.Census(t.Context(), s.db, tenant)
			require.NoError(t, err)
			require.EqualValues(t, 4, census.KeyVersions[fresh], "%s: as the report says", table.Name())
			s.requirePapers(t, table)
		}
		// The only trigger of the database that is deferred is another table's.
		s.exec(t, s.db, `CREATE TABLE outbox (id text, body bytea)`)
		s.exec(t, s.db, `CREATE FUNCTION send() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF pg_trigger_depth() = 1 THEN INSERT INTO outbox VALUES (OLD.id, OLD.body); END IF; RETURN NULL; END'`)
		s.exec(t, s.db, `CREATE TRIGGER send AFTER UPDATE ON outside FOR EACH ROW WHEN (OLD.id = 'l3') EXECUTE FUNCTION send()`)
		s.exec(t, s.db, `CREATE FUNCTION sent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE outside SET body = NEW.body WHERE id = NEW.id; RETURN NULL; END'`)
		s.exec(t, s.db, `CREATE CONSTRAINT TRIGGER sent AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sent()`)
		reseal(outside, jobs.ResealOptions{})

		for _, table := range []string{"cells", "hooked", "parted"} {
			s.later(t, table, "body", "l3")
		}
		reseal(cells, jobs.ResealOptions{})
		reseal(hooked, jobs.ResealOptions{AfterRow: func(context.Context, *sql.Tx, string, string) error { return nil }})
		reseal(parted, jobs.ResealOptions{})

		s.later(t, "owners", "person", "l3")
		require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p3", "p2"))
		reseal(owners, jobs.ResealOptions{})
	})
}

// What is deferred is refused where COMMIT would refuse it, and nothing else is:
// what one row lacks the next may bring, and a foreign key that has no place for
// whom a person was merged into keeps that row, not its batch.
func TestWhatIsDeferredIsAskedForAtTheEnd(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		require.NoError(t, s.a.Ensure(t.Context(), tenant, "p1", "p2", "p3"))
		table := s.paper(t, "papers", "p1", false)
		s.exec(t, s.db, `CREATE TABLE persons (id text PRIMARY KEY)`)
		s.exec(t, s.db, `INSERT INTO persons VALUES ('p1'), ('p3')`) // and no p2
		s.exec(t, s.db, `ALTER TABLE papers ADD FOREIGN KEY (person) REFERENCES persons DEFERRABLE INITIALLY DEFERRED`)
		w, err := table.Writer(t.Context(), tenant, "p3")
		require.NoError(t, err)
		s.exec(t, s.db, `UPDATE papers SET person = 'p3', body = ? WHERE id = 'l3'`, w.Text("body", "Ann"))
		require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p3", "p2"))

		// A trigger that is deferred and puts nothing back stops nothing.
		s.exec(t, s.db, `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE papers SET told = 1 WHERE id = NEW.id; RETURN NULL; END'`)
		s.exec(t, s.db, `CREATE CONSTRAINT TRIGGER tell AFTER UPDATE ON papers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
			WHEN (OLD.body IS DISTINCT FROM NEW.body) EXECUTE FUNCTION tell()`)
		s.exec(t, s.db, `CREATE TABLE events (id text PRIMARY KEY, before text REFERENCES events DEFERRABLE INITIALLY DEFERRED)`)
		for name, hook := range map[string]jobs.RowHook{"together": nil, "with hooks": func(ctx context.Context, tx *sql.Tx, _, key string) error {
			next, ok := map[string]any{"l0": "l1", "l1": "l2", "l2": nil}[key] // is there when the batch ends
			if !ok {
				return nil
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO events VALUES ($1, $2)`, key, next)
			return err
		}} {
			fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			s.exec(t, s.db, `UPDATE papers SET told = 0`)
			report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 3, AfterRow: hook})
			require.NoError(t, err, name)
			require.Equal(t, []string{"l3"}, keysOf(report.Refusals), name)
			require.Equal(t, "23503", report.Refusals[0].Code, name)
			require.Equal(t, []int{5, 4, 0}, []int{report.Rows, report.Cells, report.Conflicts}, name)
			census, err := table.Census(t.Context(), s.db, tenant)
			require.NoError(t, err)
			require.EqualValues(t, 4, census.KeyVersions[fresh], name)
			s.requirePapers(t, table)
			var told int
			require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT sum(told) FROM papers`).Scan(&told))
			require.Equal(t, 4, told, name)
		}
	})
}

// Neither does any other job say that it has done what a deferred trigger undoes.
func TestADeferredTriggerUndoesNoJobInSilence(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		cleared := s.paper(t, "cleared", "p1", false)
		s.later(t, "cleared", "body", "l3")
		err := cleared.ClearRows(s.db)(t.Context(), tenant, "p1")
		left, ok := errors.AsType[*jobs.RefusedError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, []string{"l3"}, keysOf(left.Rows))
		var n int
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT count(*) FROM cleared WHERE body IS NULL`).Scan(&n))
		require.Equal(t, 4, n)

		for _, column := range []string{"person", "body"} {
			name := "notes_" + column
			table := s.paper(t, name, "p1", false)
			record, err := encryption.NewRecordOwner()
			require.NoError(t, err)
			w, err := table.RecordWriter(t.Context(), tenant, record)
			require.NoError(t, err)
			s.exec(t, s.db, `UPDATE `+name+` SET person = ?, body = ? WHERE id = 'l3'`, record, w.Text("body", "Ann"))
			s.later(t, name, column, "l3")
			_, err = table.Redact(t.Context(), s.db, tenant, "l3", jobs.Redaction{Edit: shorter})
			require.ErrorIs(t, err, encryption.ErrDefinition, column)
			require.ErrorContains(t, err, "something else than was written", column)
			s.requirePapers(t, table)
		}

		s.exec(t, s.db, `CREATE TABLE found (id text PRIMARY KEY, person text NOT NULL, mail bytea, mail_idx bigint)`)
		found, err := s.a.Table(encryption.Table{Name: "found", Columns: []encryption.Column{{Name: "mail", Find: encryption.Email}}})
		require.NoError(t, err)
		w, err := found.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		for i := range 5 {
			s.exec(t, s.db, `INSERT INTO found (id, person, mail) VALUES (?, 'p1', ?)`, fmt.Sprint("l", i), w.Text("mail", fmt.Sprint(strings.Repeat("a", i+1), "@b.example")))
		}
		s.later(t, "found", "mail_idx", "l3")
		report, err := found.Rebuild(t.Context(), s.db, tenant)
		require.ErrorIs(t, err, encryption.ErrIncomplete)
		require.Equal(t, []string{"l3"}, keysOf(report.Refusals))
	})
}
