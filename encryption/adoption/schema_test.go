package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Which types of columns can be adopted: those whose text comes back as it was
// written.
func TestTypesOfColumnsInTheClear(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		types := map[string]bool{"VARCHAR(200)": true, "TEXT": true, "INTEGER": false, "DATE": false}
		switch d.Name {
		case testdb.PostgresC, testdb.PostgresICU:
			types["jsonb"], types["char(20)"], types["bytea"], types["uuid"] = false, false, false, false
			types[`varchar(200) COLLATE "C"`] = true
			var there bool
			db := d.Open(t)
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'citext'`).Scan(&there))
			if there {
				_, err := db.ExecContext(t.Context(), `CREATE EXTENSION citext`)
				require.NoError(t, err)
				types["citext"] = true
			}
		case testdb.MariaDB:
			types["BLOB"], types["ENUM('a')"], types["VARCHAR(200) CHARACTER SET latin1"] = false, false, true
		case testdb.SQLite: // each value has a class of its own there
			types = map[string]bool{"TEXT": true, "VARCHAR(200)": true}
		}
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.prepare(t)
		e.guard(t, adoption.NoGuard)
		for typ, taken := range types {
			e.exec(t, `ALTER TABLE contacts DROP COLUMN email`)
			e.exec(t, `ALTER TABLE contacts ADD COLUMN email `+typ)
			err := e.a.Check(t.Context(), tenant)
			if taken {
				require.NoError(t, err, typ)
				continue
			}
			require.ErrorIs(t, err, adoption.ErrDefinition, typ)
			require.ErrorContains(t, err, "is no text", typ)
		}
		e.exec(t, `ALTER TABLE contacts DROP COLUMN email`)
		require.ErrorIs(t, e.a.Check(t.Context(), tenant), adoption.ErrDefinition, "there is none")
	})
}

// Wide indexes, the text form, and two columns, one of them bound to the row.
func TestOtherForms(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		def := encryption.Table{Name: "contacts", Columns: []encryption.Column{
			{Name: "email", SQL: "email_sealed", Text: true, Index: []encryption.Index{{Column: "email_wide", As: encryption.Email, Bits: 128}}},
			{Name: "note", SQL: "note_sealed", Level: encryption.LevelRow, Pad: encryption.Padme},
		}}
		cols := []adoption.Column{{Name: "email", Plain: "email"}, {Name: "note", Plain: "note"}}
		e := newEnv(t, d, def, cols, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200), note TEXT)`)
		e.exec(t, `INSERT INTO contacts (id, person, email, note) VALUES ('1', 'p1', 'ann@b.example', 'likes tea'), ('2', 'p2', NULL, '`+strings.Repeat("n", 5000)+`')`)
		e.to(t, adoption.SealedOnly)
		report := e.clear(t)
		require.True(t, report.Clean, "%+v", report)
		require.Zero(t, e.count(t, `email IS NOT NULL OR note IS NOT NULL`))
		require.Equal(t, []string{"1"}, e.find(t, e.a, "ANN@b.example"))
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		require.Equal(t, 1, e.count(t, `email = 'ann@b.example' AND note = 'likes tea'`))
		require.Equal(t, 1, e.count(t, `email IS NULL AND LENGTH(note) = 5000`))
		e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	})
}

// Several tenants in one table are at stages of their own.
func TestTenantsAreAtStagesOfTheirOwn(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		def := contactsDef
		def.Tenant = "tenant"
		e := newEnv(t, d, def, emailColumn, `CREATE TABLE contacts (tenant VARCHAR(40) NOT NULL, id VARCHAR(40) NOT NULL, person VARCHAR(40), email VARCHAR(200), PRIMARY KEY (tenant, id))`)
		require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
		e.exec(t, `INSERT INTO contacts (tenant, id, person, email) VALUES ('t1', '1', 'p1', 'ann@b.example'), ('t2', '1', 'p1', 'bob@b.example')`)
		e.to(t, adoption.SealedOnly)
		report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.EqualValues(t, 1, report.Rows)
		require.False(t, report.Clean, "the guard waits for the other one")
		stage, _, err := e.a.Stage(t.Context(), "t2")
		require.NoError(t, err)
		require.Equal(t, adoption.Plain, stage)
		require.Equal(t, 1, e.count(t, `email = 'bob@b.example' AND email_sealed IS NULL`))
		require.ErrorIs(t, adoption.Finished(t.Context(), e.db, "contacts"), adoption.ErrStage, "the other one")
		_, err = e.a.GuardSQL(t.Context(), adoption.Refuse)
		require.ErrorIs(t, err, adoption.ErrStage)
	})
}

// A page of the jobs is read by an index, in its order: nothing is sorted, and the
// table is not read from its beginning.
func TestPagesOfJobsUseTheIndex(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresICU), contactsDef, emailColumn, contactsSQL)
	e.prepare(t)
	e.exec(t, `INSERT INTO contacts (id, person, email) SELECT 'r' || i, 'p', 'v' FROM generate_series(1, 20000) i`)
	e.exec(t, `ANALYZE contacts`)
	for _, after := range [][]any{nil, {"r15"}, {"r9999"}} {
		query, args, err := e.a.PageQuery(t.Context(), tenant, after)
		require.NoError(t, err)
		rows, err := e.db.QueryContext(t.Context(), `EXPLAIN `+query, args...)
		require.NoError(t, err)
		var plan strings.Builder
		for rows.Next() {
			var line string
			require.NoError(t, rows.Scan(&line))
			plan.WriteString(line + "\n")
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		require.Contains(t, plan.String(), "contacts_pkey")
		require.NotContains(t, plan.String(), "Sort")
		require.NotContains(t, plan.String(), "Seq Scan")
	}
}

// What goes into statements prints itself masked.
func TestValuesAreMasked(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.WriteBoth)
	w, err := e.a.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	plain := w.Plain("email", "ann@b.example")
	hidden := struct{ v adoption.Value }{plain}
	for _, text := range []string{sprint("%v", plain), sprint("%+v", plain), sprint("%#v", plain), sprint("%s", plain), sprint("%x", plain), sprint("%v", hidden), sprint("%+v", hidden), plain.LogValue().String()} {
		require.NotContains(t, text, "ann")
		require.NotContains(t, text, "616e6e")
	}
	require.Equal(t, "value(null)", adoption.Value{}.String())
	require.Equal(t, "value(failed)", w.Plain("phone", "x").String())
	require.Error(t, w.Text("phone", "x").Err())
	require.Error(t, w.Int64("phone_idx", "x").Err())
	text, err := plain.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "value(masked)", string(text))
}

// Ids that the database draws are drawn beforehand, many with one call, where
// values are bound to the row.
func TestIDsAreDrawnBeforehand(t *testing.T) {
	def := encryption.Table{Name: "contacts", Level: encryption.LevelRow, Columns: []encryption.Column{{Name: "email", SQL: "email_sealed"}}}
	e := newEnv(t, testdb.New(t, testdb.PostgresC), def, emailColumn, `CREATE TABLE contacts (id bigserial PRIMARY KEY, person text, email text)`)
	e.exec(t, `INSERT INTO contacts (person, email) VALUES ('p1', 'old@b.example')`)
	e.to(t, adoption.WriteBoth)
	rows, err := e.db.QueryContext(t.Context(), `SELECT nextval(pg_get_serial_sequence('contacts', 'id')) FROM generate_series(1, 100)`)
	require.NoError(t, err)
	var ids []int64
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, rows.Close())
	for _, id := range ids {
		w, err := e.a.Writer(t.Context(), tenant, "p2")
		require.NoError(t, err)
		text, err := encryption.RowText(id)
		require.NoError(t, err)
		w, err = w.Row(text)
		require.NoError(t, err)
		e.exec(t, `INSERT INTO contacts (id, person, email, email_sealed) VALUES (?, 'p2', ?, ?)`, id, w.Plain("email", "new@b.example"), w.Text("email", "new@b.example"))
	}
	report := e.backfill(t)
	require.EqualValues(t, 1, report.Changed)
	require.EqualValues(t, 100, report.Same)
	require.True(t, report.Clean)
}
