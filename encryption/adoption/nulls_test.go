package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A uniqueness to which two rows without a value are equal would refuse the second
// insert at SealedOnly: it goes before, and comes back as it was; others may stay.
func TestAUniquenessOfTwoNULLsGoes(t *testing.T) {
	for _, one := range []struct {
		name    testdb.Name
		create  string
		equal   bool
		version int // of the server; 0 is any
	}{
		{testdb.PostgresC, `ALTER TABLE contacts ADD CONSTRAINT old UNIQUE NULLS NOT DISTINCT (email)`, true, 150000},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (seen, email) NULLS NOT DISTINCT`, true, 150000},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (coalesce(lower(email), ''))`, true, 0},
		{testdb.PostgresC, `ALTER TABLE contacts ADD CONSTRAINT old EXCLUDE USING btree (coalesce(email, '') WITH =)`, true, 0},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (seen) WHERE email IS NULL`, true, 0},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (lower(email), coalesce(email, ''))`, false, 0},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (coalesce(email, '')) WHERE email <> ''`, false, 0},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (id, email) NULLS NOT DISTINCT`, false, 150000},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (id, coalesce(email, ''))`, false, 0},
		{testdb.SQLite, `CREATE UNIQUE INDEX old ON contacts (coalesce(email, ''), id)`, false, 0},
		{testdb.SQLite, `CREATE UNIQUE INDEX "old (" ON contacts (seen, coalesce(lower(email), ',') COLLATE NOCASE DESC)`, true, 0},
		{testdb.SQLite, `CREATE UNIQUE INDEX old ON contacts (seen) WHERE email IS NULL`, true, 0},
		{testdb.SQLite, `CREATE UNIQUE INDEX old ON contacts (email, coalesce(lower(email), ''))`, false, 0},
	} {
		t.Run(string(one.name)+one.create, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), uniqueDef, emailColumn, contactsSQL)
			if one.version > 0 {
				e.since(t, one.version)
			}
			e.exec(t, one.create)
			for _, id := range []string{"", "1"} { // an empty table, too
				if id != "" {
					e.old(t, id, "p1", "ann@b.example")
				}
				all, err := e.a.Obstacles(t.Context(), tenant)
				require.NoError(t, err)
				if !one.equal {
					require.Empty(t, all)
					continue
				}
				require.Len(t, all, 1)
				require.Empty(t, all[0].Option)
			}
			if !one.equal {
				return
			}
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			for _, statement := range e.refused(t, adoption.SealedOnly, gone).SQL {
				e.exec(t, statement)
			}
			if one.name == testdb.SQLite { // the schema was changed
				require.True(t, e.backfill(t).Clean)
			}
			e.move(t, adoption.SealedOnly, gone)
			for _, id := range []string{"3", "4"} {
				w, err := e.a.Writer(t.Context(), tenant, "p3")
				require.NoError(t, err)
				mail := id + "@b.example"
				e.exec(t, `INSERT INTO contacts (id, person, email, email_sealed, email_sealed_idx, email_unique) VALUES (?, ?, ?, ?, ?, ?)`,
					id, "p3", w.Plain("email", mail), w.Text("email", mail), w.Int64("email_sealed_idx", mail), w.Index("email_unique", mail))
			}
			e.guard(t, adoption.Refuse)
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, report.Clean)
			e.exec(t, `DELETE FROM contacts`)
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, restore, 1)
			e.exec(t, restore[0])
		})
	}
}

// What refuses a second row without a value, and is no index, is tried: several rows
// beside each other, of which each by itself may stand.
func TestRowsAreTriedBesideEachOther(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	e.exec(t, `CREATE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF (SELECT count(*) FROM contacts WHERE email IS NULL) > 1 THEN RAISE EXCEPTION 'one only' USING ERRCODE = '23514'; END IF; RETURN NULL; END $$`)
	e.exec(t, `CREATE TRIGGER alone AFTER UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION alone()`)
	e.old(t, "1", "p1", "ann@b.example")
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, all)
	e.old(t, "2", "p2", "bob@b.example")
	all, err = e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Contains(t, all[0].Why, "refuses a row in which nothing stands in the clear")
}

// What is unique beside the value tells two rows without one apart where it is NULL in
// neither: where it may be, two NULLs beside two others are equal.
func TestWhatMayBeNULLTellsNoRowsApart(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), uniqueDef, emailColumn, contactsSQL)
	e.exec(t, `CREATE UNIQUE INDEX by_person ON contacts (person)`)
	e.since(t, 150000)
	e.exec(t, `CREATE UNIQUE INDEX old ON contacts (person, email) NULLS NOT DISTINCT`)
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NotEmpty(t, all[0].SQL)
	e.exec(t, `ALTER TABLE contacts ALTER COLUMN person SET NOT NULL`)
	all, err = e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, all)
}

// since leaves a test out where PostgreSQL is older than what it asks for.
func (e *env) since(t *testing.T, version int) {
	t.Helper()
	var is int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&is))
	if is < version {
		t.Skip("the server has no such index")
	}
}
