package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/liveschema"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// lawMap deletes contacts and their notes, keeps invoices, and makes deals
// forget their person.
func lawMap() *datamap.Map {
	return &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
		{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
		{
			Name: "invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Keep:    &datamap.Keep{Because: "law", From: "issued", Years: 10},
			Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "street", Category: "street", Erase: datamap.Retain}, {Name: "contact"}, {Name: "parent"}},
		},
		{
			Name: "deals", Key: []string{"id"}, Person: "person", Erase: datamap.Null,
			Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Null}, {Name: "contact"}},
		},
		{Name: "accounts", Columns: []datamap.Column{{Name: "id"}}},
		{Name: "plans", Columns: []datamap.Column{{Name: "id"}, {Name: "contact"}}},
	}}
}

const lawDDL = `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT); CREATE TABLE accounts (id TEXT PRIMARY KEY);
CREATE INDEX contacts_person ON contacts (person);`

var lawTables = []string{"contacts", "accounts", "invoices", "deals", "plans"}

const lawRest = `; CREATE TABLE deals (id TEXT PRIMARY KEY, person TEXT, contact TEXT); CREATE TABLE plans (id TEXT PRIMARY KEY, contact TEXT)`

// unfit is what is found in the schema, without details.
func unfit(t *testing.T, db *sql.DB, m *datamap.Map) (text []string) {
	t.Helper()
	findings, err := liveschema.Check(t.Context(), db, m)
	require.NoError(t, err)
	for _, f := range findings {
		text = append(text, string(f.Kind)+" "+f.Table+"."+f.Column)
	}
	return text
}

// A schema that deletes what the map keeps is refused at the start, before any
// erasure, whether foreign keys are enforced on this connection or not.
func TestACascadeIntoWhatIsKeptIsRefused(t *testing.T) {
	invoices := func(contact, parent string) string {
		return `CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT, street TEXT, issued INTEGER, contact TEXT ` + contact + `, parent TEXT ` + parent + `); CREATE INDEX invoices_person ON invoices (person);`
	}
	deals := func(contact string) string {
		return `CREATE TABLE deals (id TEXT PRIMARY KEY, person TEXT, contact TEXT ` + contact + `); CREATE INDEX deals_person ON deals (person);`
	}
	plans := func(contact string) string {
		return `CREATE TABLE plans (id TEXT PRIMARY KEY, contact TEXT ` + contact + `);`
	}
	const cascade = ` ON DELETE CASCADE`
	cases := map[string]struct {
		ddl, deleted, kept, finding string
	}{
		"direct":        {invoices(`REFERENCES contacts(id)`+cascade, ``) + deals(``) + plans(``), "contacts", "invoices", "cascade into kept invoices.contact"},
		"in other case": {invoices(`REFERENCES CONTACTS(id) on delete cascade`, ``) + deals(``) + plans(``), "contacts", "invoices", "cascade into kept invoices.contact"},
		"over another":  {plans(`REFERENCES contacts(id)`+cascade) + invoices(`REFERENCES plans(id)`+cascade, ``) + deals(``), "contacts", "invoices", "cascade into kept invoices.contact"},
		"itself":        {invoices(``, `REFERENCES invoices(id)`+cascade) + deals(``) + plans(``), "invoices", "invoices", "cascade into kept invoices.parent"},
		"from kept":     {invoices(``, ``) + deals(`REFERENCES invoices(id)`+cascade) + plans(``), "invoices", "deals", "cascade into kept deals.contact"},
		"rows that stay": {
			invoices(``, ``) + deals(`REFERENCES contacts(id)`+cascade) + plans(``), "contacts", "deals", "cascade into kept deals.contact",
		},
		"set null":     {ddl: invoices(`REFERENCES contacts(id) ON DELETE SET NULL`, `REFERENCES invoices(id)`) + deals(`REFERENCES contacts(id) ON UPDATE CASCADE`) + plans(``)},
		"not personal": {ddl: invoices(`REFERENCES accounts(id)`+cascade, ``) + deals(``) + plans(`REFERENCES contacts(id)`+cascade)},
	}
	each(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				if name == "in other case" && database == testdb.MariaDB {
					return // there it is another table
				}
				drop(t, db, lawTables...)
				if database == testdb.SQLite { // it counts whether they are enforced on this connection or not
					exec(t, db, `PRAGMA foreign_keys=OFF`)
				}
				exec(t, db, lawDDL+c.ddl)
				_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: lawMap()})
				text := unfit(t, db, lawMap())
				if c.kept == "" {
					require.NoError(t, err, name)
					require.NotContains(t, strings.Join(text, "\n"), "cascade", name)
					return
				}
				var refused *sqlstore.CascadeError
				require.ErrorAs(t, err, &refused, name)
				require.ErrorIs(t, err, datamap.ErrMap)
				require.Equal(t, sqlstore.CascadeError{Deleted: c.deleted, Kept: c.kept}, *refused, name)
				require.ErrorContains(t, err, c.deleted)
				require.ErrorContains(t, err, c.kept)
				require.Contains(t, text, c.finding, name)
			})
		}
	})
}

// A foreign key that takes from kept rows whom they are about, or what the
// obligation is about, is refused like one that deletes them: nobody would find
// them when the obligation ends.
func TestAKeptRowIsNotEmptiedByTheDatabase(t *testing.T) {
	table := `CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT%s, street TEXT%s, issued INTEGER, contact TEXT%s, parent TEXT)`
	each(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		for _, action := range []string{"SET NULL", "set default"} {
			key := ` REFERENCES contacts(id) ON DELETE ` + action
			for column, ddl := range map[string]string{
				"person":  fmt.Sprintf(table, key, "", ""),
				"street":  fmt.Sprintf(table, "", key, ""),
				"contact": fmt.Sprintf(table, "", "", key),
			} {
				t.Run(action+" "+column, func(t *testing.T) {
					drop(t, db, lawTables...)
					if database == testdb.MariaDB && action != "SET NULL" {
						return // InnoDB refuses such a key
					}
					exec(t, db, lawDDL+ddl+lawRest)
					_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: lawMap()})
					findings, finding := unfit(t, db, lawMap()), "cascade into kept invoices."+column
					if column == "contact" { // the obligation does not need it
						require.NoError(t, err)
						require.NotContains(t, findings, finding)
						return
					}
					var refused *sqlstore.CascadeError
					require.ErrorAs(t, err, &refused, column)
					require.Equal(t, sqlstore.CascadeError{Deleted: "contacts", Kept: "invoices", Emptied: column}, *refused)
					require.ErrorContains(t, err, "empty column "+column)
					require.Contains(t, findings, finding)
				})
			}
		}
	})
}

// What came into the schema after the start is found in the transaction, and
// the erasure is taken back. A cascade is caught with everything it takes.
func TestACascadeThatCameLaterLosesNothing(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		exec(t, db, lawDDL+`CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT, street TEXT, issued INTEGER, contact TEXT, parent TEXT)`+lawRest)
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: lawMap()})
		require.NoError(t, err)
		exec(t, db, `DROP TABLE invoices`)
		exec(t, db, `CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT, street TEXT, issued INTEGER, contact TEXT REFERENCES contacts(id) ON DELETE CASCADE, parent TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1')`)
		exec(t, db, `INSERT INTO invoices VALUES ('i1', 'p1', 'Street', 1714557600000000, 'c1', NULL)`)
		scope := datastore.Scope{Tenant: "t1", Person: "p1"}
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err)
		var lost *sqlstore.LostError
		require.ErrorAs(t, s.Erase(t.Context(), scope, nil), &lost)
		require.Equal(t, "invoices", lost.Table)
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM invoices`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM contacts`))

		missing, err := s.Missing(t.Context(), scope, rows)
		require.NoError(t, err)
		require.Empty(t, missing)
		exec(t, db, `DELETE FROM invoices`)
		missing, err = s.Missing(t.Context(), scope, rows)
		require.NoError(t, err)
		require.Equal(t, "invoices i1", missing[0].Table+" "+missing[0].Key)
		require.Len(t, missing, 1)
	})
}

// A key that does not tell rows apart, in the map or by the collation of its
// column, costs nobody else a row, nor what stands in it.
func TestAKeyThatIsNoneReachesNobodyElse(t *testing.T) {
	for name, c := range map[string]struct {
		ddl   string
		key   []string
		erase datamap.Action
	}{
		"one column of two": {`CREATE TABLE files (no INTEGER, part INTEGER, person TEXT, PRIMARY KEY (no, person)) WITHOUT ROWID`, []string{"no"}, datamap.Delete},
		"two of three":      {`CREATE TABLE files (no INTEGER, part INTEGER, person TEXT, PRIMARY KEY (no, part, person))`, []string{"no", "part"}, datamap.Delete},
		"collation":         {`CREATE TABLE files (no TEXT COLLATE NOCASE, part INTEGER, person TEXT); CREATE UNIQUE INDEX files_no ON files (no COLLATE BINARY)`, []string{"no"}, datamap.Delete},
		"rows that stay":    {`CREATE TABLE files (no INTEGER, part INTEGER, person TEXT)`, []string{"no"}, datamap.Null},
	} {
		db := openDB(t)
		exec(t, db, c.ddl)
		exec(t, db, `INSERT INTO files VALUES (?, 1, 'p1'), (?, 1, 'p2')`, "a", "A")
		if name != "collation" {
			exec(t, db, `UPDATE files SET no = 1`)
		}
		s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{
			Name: "files", Key: c.key, Person: "person", Erase: c.erase,
			Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Null}},
		}}})
		err := s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
		var refused *sqlstore.KeyError
		require.ErrorAs(t, err, &refused, name)
		require.ErrorIs(t, err, datamap.ErrMap, name)
		require.Equal(t, "files", refused.Table)
		require.Equal(t, 2, count(t, db, `SELECT COUNT(person) FROM files`), name)
	}
}

// A cascade that goes from one person's row to another's takes the erasure
// back; one that stays with the person does not.
func TestACascadeReachesNobodyElse(t *testing.T) {
	cases := map[string]struct{ ddl, rows, lost string }{
		"itself": {
			`CREATE TABLE staff (id TEXT PRIMARY KEY, person TEXT, boss TEXT REFERENCES staff(id) ON DELETE CASCADE)`,
			`INSERT INTO staff VALUES ('1', 'p1', NULL), ('2', 'p1', '1'), ('3', 'p2', '2')`, "staff",
		},
		"over a table outside": {
			`CREATE TABLE teams (id TEXT PRIMARY KEY, boss TEXT REFERENCES staff(id) ON DELETE CASCADE); CREATE TABLE staff (id TEXT PRIMARY KEY, person TEXT, boss TEXT REFERENCES Teams(id) ON DELETE CASCADE)`,
			`INSERT INTO staff VALUES ('1', 'p1', NULL); INSERT INTO teams VALUES ('t', '1'); INSERT INTO staff VALUES ('3', 'p2', 't')`, "staff",
		},
		"into another table": {
			`CREATE TABLE staff (id TEXT PRIMARY KEY, person TEXT, boss TEXT); CREATE TABLE teams (id TEXT PRIMARY KEY, lead TEXT REFERENCES staff(id) ON DELETE CASCADE); CREATE TABLE members (id TEXT PRIMARY KEY, team TEXT REFERENCES teams(id) ON DELETE CASCADE, person TEXT)`,
			`INSERT INTO staff VALUES ('1', 'p1', NULL); INSERT INTO teams VALUES ('t', '1'); INSERT INTO members VALUES ('3', 't', 'p2')`, "members",
		},
		"one person": {
			`CREATE TABLE staff (id TEXT PRIMARY KEY, person TEXT, boss TEXT REFERENCES staff(id) ON DELETE CASCADE)`,
			`INSERT INTO staff VALUES ('1', 'p1', NULL), ('2', 'p1', '1'), ('3', 'p2', NULL)`, "",
		},
	}
	each(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				drop(t, db, "staff", "teams", "members")
				if name == "over a table outside" && database != testdb.SQLite {
					return // a circle that others cannot write in this way
				}
				exec(t, db, c.ddl)
				exec(t, db, c.rows)
				m := &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
					{Name: "staff", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "boss"}}},
				}}
				if c.lost == "members" {
					m.Tables = append(m.Tables, datamap.Table{Name: "members", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "team"}}})
				}
				s := open(t, db, m)
				before := count(t, db, `SELECT COUNT(*) FROM staff`)
				err := s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
				if c.lost == "" {
					require.NoError(t, err, name)
					require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM staff`), name)
					return
				}
				var lost *sqlstore.LostError
				require.ErrorAs(t, err, &lost, name)
				require.Equal(t, c.lost, lost.Table, name)
				require.Equal(t, before, count(t, db, `SELECT COUNT(*) FROM staff`), name)
			})
		}
	})
}

// What others write meanwhile does not hide that somebody's row is gone.
func TestALossIsNotHiddenByAnInsertion(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			return // its writers are serial
		}
		db, other := filled(t, d.Open(t)), d.Open(t)
		exec(t, db, `CREATE TABLE staff (id TEXT PRIMARY KEY, person TEXT, boss TEXT REFERENCES staff(id) ON DELETE CASCADE)`)
		exec(t, db, `INSERT INTO staff VALUES ('1', 'p1', NULL), ('3', 'p2', '1')`)
		if d.Name == testdb.MariaDB {
			other.SetMaxOpenConns(1)
			exec(t, other, `SET SESSION innodb_lock_wait_timeout = 1`)
		}
		exec(t, db, `INSERT INTO meetings VALUES ('m1', 't1', 'text'); INSERT INTO meeting_people VALUES ('m1', 'p1'), ('m1', 'p2')`)
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{
			DB: db,
			Map: &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
				{Name: "staff", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "boss"}}},
				{Name: "meetings", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "meeting_people", Record: "meeting", Person: "person"}},
			}},
			Redact: func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
				return sqlstore.Redaction{Apply: func(ctx context.Context, _ datastore.Tx) error {
					_, err := other.ExecContext(ctx, `INSERT INTO staff VALUES ('9', 'p9', NULL)`)
					if d.Name == testdb.MariaDB && err != nil {
						require.ErrorContains(t, err, "Lock wait timeout") // it waits for the erasure
						err = nil
					}
					return err
				}}, nil
			},
		})
		require.NoError(t, err)
		var lost *sqlstore.LostError
		require.ErrorAs(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil), &lost)
		require.Equal(t, "staff", lost.Table)
		require.Equal(t, 2, count(t, db, `SELECT COUNT(*) FROM staff WHERE person <> 'p9'`))
	})
}
