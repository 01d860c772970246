package liveschema_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

// found are the cases: what is changed of the schema and of the map, and all
// that is found then.
type found struct {
	name   string
	on     []testdb.Name
	ddl    string
	change func(m *datamap.Map)
	want   []string
}

func nothing(*datamap.Map) {}

func differences() []found {
	return []found{
		{"nothing", all, ``, nothing, nil},
		{"a personal table that nobody mapped", all, `CREATE TABLE newsletter (mail VARCHAR(40))`, nothing, []string{"alarm unclassified table newsletter"}},
		{"a column that nobody mapped", all, `ALTER TABLE people ADD COLUMN phone VARCHAR(40)`, nothing, []string{"alarm unclassified column people.phone"}},
		{"a column of a link", all, `ALTER TABLE attendees ADD COLUMN role VARCHAR(40)`, nothing, []string{"alarm unclassified column attendees.role"}},
		{"a link that is listed for its columns", all, `ALTER TABLE attendees ADD COLUMN role VARCHAR(40)`, func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "attendees", Key: []string{"meeting", "person"}, Columns: []datamap.Column{{Name: "role"}}})
		}, nil},
		{"tables of the library", all, `CREATE TABLE crmguard_x (a INT)`, nothing, nil},
		{"a view", all, `CREATE VIEW names AS SELECT name FROM people`, nothing, nil},
		{"a table of another schema", postgres, "CREATE SCHEMA other;\nCREATE TABLE other.mails (a INT)", nothing, []string{"alarm unclassified table other.mails"}},
		{"a partition", postgres, "CREATE TABLE log (a INT) PARTITION BY LIST (a);\nCREATE TABLE log1 PARTITION OF log FOR VALUES IN (1)", nothing, []string{"alarm unclassified table log"}},
		{"an heir", postgres, "CREATE TABLE heirs (x INT) INHERITS (people)", nothing, []string{"alarm unclassified table heirs"}},
		{"a copy", postgres, "CREATE MATERIALIZED VIEW copies AS SELECT name FROM people", nothing, []string{"alarm unclassified table copies"}},
		{"a copy that is known", postgres, "CREATE MATERIALIZED VIEW copies AS SELECT name FROM people", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "copies", Columns: []datamap.Column{{Name: "name"}}})
		}, []string{"notice holds a copy copies"}},
		{"what is gone", all, "", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "never"})
			table(m, "rates").Columns = append(table(m, "rates").Columns, datamap.Column{Name: "gone"})
			table(m, "meetings").Link.Tenant = "tenant"
		}, []string{"alarm missing column attendees.tenant", "alarm missing column rates.gone", "alarm missing table never"}},
		{"a link that is gone", all, "", func(m *datamap.Map) { table(m, "meetings").Link.Table = "nowhere" }, []string{"alarm missing table nowhere", "alarm unclassified table attendees"}},
		{"what nobody decided", all, "", func(m *datamap.Map) {
			column(m, "people", "name").Category = datamap.Unclassified
			column(m, "people", "email").Purpose = ""
			column(m, "people", "born").Basis = ""
		}, []string{"alarm no category people.name", "alarm no legal basis people.born", "alarm no purpose people.email"}},
		{"names without regard to case", slices.Concat(sqlite, mariadb), "", func(m *datamap.Map) { column(m, "people", "name").Name = "NAME" }, nil},
		{"names with regard to case", postgres, "", func(m *datamap.Map) { column(m, "people", "name").Name = "NAME" }, []string{"alarm missing column people.NAME", "alarm unclassified column people.name"}},
	}
}

func edgeCases() []found {
	return []found{
		{"no index", slices.Concat(sqlite, postgres), "DROP INDEX notes_person;\nDROP INDEX attendees_person", nothing, []string{"notice edge without index attendees.person", "notice edge without index notes.person"}},
		{"no index of one", mariadb, "DROP INDEX bills_person ON bills", nothing, []string{"notice edge without index bills.person"}},
		{"an index of some rows", slices.Concat(sqlite, postgres), "DROP INDEX notes_about;\nCREATE INDEX notes_about ON notes (about) WHERE body IS NULL", nothing, []string{"notice edge without index notes.about"}},
		{"an index of something else", slices.Concat(sqlite, postgres), "DROP INDEX notes_about;\nCREATE INDEX notes_about ON notes (lower(about))", nothing, []string{"notice edge without index notes.about"}},
		{"a column in the second place", slices.Concat(sqlite, postgres), "DROP INDEX notes_about;\nCREATE INDEX notes_about ON notes (body, about)", nothing, []string{"notice edge without index notes.about"}},
		{"a discriminator and a tenant in front", slices.Concat(sqlite, postgres), "DROP INDEX notes_about;\nCREATE INDEX notes_about ON notes (body, about)", func(m *datamap.Map) {
			table(m, "notes").Edges[1].When = []datamap.When{{Column: "body", Is: "x"}}
		}, nil},
		{"a target that several rows share", sqlite, "", func(m *datamap.Map) { table(m, "notes").Edges[1].To = []string{"name"} }, []string{"notice edge to no unique key notes.about", "notice edge without index people.name"}},
		{"an address that no index knows", postgres, "CREATE INDEX bills_mail ON bills (mail);\nCREATE INDEX bills_low ON bills (lower(mail))", byMail, []string{"notice identity without index bills.mail"}},
		{"an address in an index of some rows", postgres, `CREATE INDEX bills_mail ON bills (lower(mail COLLATE "C")) WHERE note IS NULL`, byMail, []string{"notice identity without index bills.mail"}},
		{"an address behind something else", postgres, `CREATE INDEX bills_mail ON bills (note, lower(mail COLLATE "C"))`, byMail, []string{"notice identity without index bills.mail"}},
		{"an address in an index", postgres, `CREATE INDEX bills_mail ON bills (tenant, lower(mail COLLATE "C"))`, byMail, nil},
		{"a quoted address in an index", postgres, "ALTER TABLE bills RENAME mail TO \"E-Mail\";\nALTER TABLE bills ALTER \"E-Mail\" TYPE text;\nCREATE INDEX bills_mail ON bills (lower(\"E-Mail\" COLLATE \"C\"))", func(m *datamap.Map) {
			byMail(m)
			column(m, "bills", "mail").Name, table(m, "bills").Edges[0].Columns[0] = "E-Mail", "E-Mail"
		}, nil},
		{"an address where no index can help", slices.Concat(sqlite, mariadb), "", byMail, nil},
		{"merged persons", all, "ALTER TABLE people ADD COLUMN into_whom {id}", func(m *datamap.Map) { table(m, "people").Merged = "into_whom" }, []string{"notice edge without index people.into_whom"}},
		{"composite", all, "CREATE TABLE parts (tenant {id}, person {id}, n INT NOT NULL PRIMARY KEY);\nCREATE INDEX parts_person ON parts (person, tenant);\nCREATE INDEX people_both ON people (tenant, id)", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "parts", Key: []string{"n"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"tenant", "person"}, Table: "people", To: []string{"tenant", "id"}}}})
		}, nil},
		{"two types", servers, "CREATE TABLE parts (person BIGINT, n INT NOT NULL PRIMARY KEY);\nCREATE INDEX parts_person ON parts (person)", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "parts", Key: []string{"n"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}})
		}, []string{"notice edge of two types parts.person"}},
		{"ids without regard to case", sqlite, "DROP TABLE bills;\nCREATE TABLE bills (id TEXT PRIMARY KEY, tenant TEXT, person TEXT COLLATE NOCASE, note TEXT, name TEXT, phone TEXT, mail TEXT, issued TEXT);\nCREATE INDEX bp ON bills (person)", nothing, []string{"notice loose comparison bills.person"}},
		{"ids with padding", mariadb, "ALTER TABLE bills MODIFY person VARCHAR(40) COLLATE utf8mb4_bin, MODIFY tenant VARCHAR(40) COLLATE utf8mb4_general_ci", nothing, []string{"notice loose comparison bills.person", "notice loose comparison bills.tenant"}},
		{"ids of a collation", postgres, "CREATE COLLATION without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);\nALTER TABLE bills ALTER person TYPE text COLLATE without_case, ALTER tenant TYPE char(9)", nothing, []string{"notice loose comparison bills.person", "notice loose comparison bills.tenant"}},
		{"no key", slices.Concat(sqlite, postgres), "CREATE TABLE parts (person {id} NOT NULL, n INT NOT NULL);\nCREATE INDEX parts_person ON parts (person);\nCREATE UNIQUE INDEX parts_some ON parts (n) WHERE n > 5", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "parts", Key: []string{"n"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}})
		}, []string{"alarm no unique key parts.n"}},
		{"numbers that come again", sqlite, "CREATE TABLE clients (id INTEGER PRIMARY KEY, tenant TEXT);\nCREATE TABLE calls (id INTEGER PRIMARY KEY, client INTEGER);\nCREATE TABLE mails (id INTEGER PRIMARY KEY AUTOINCREMENT, client INTEGER);\nCREATE TABLE more (client INTEGER PRIMARY KEY);\nCREATE INDEX c1 ON calls (client);\nCREATE INDEX c2 ON mails (client)", func(m *datamap.Map) {
			edge := []datamap.Edge{{Columns: []string{"client"}, Table: "clients"}}
			m.Tables = append(m.Tables, datamap.Table{Name: "clients", Key: []string{"id"}, Tenant: "tenant", Person: "id", Erase: datamap.Delete},
				datamap.Table{Name: "calls", Key: []string{"id"}, Edges: edge, Erase: datamap.Delete}, datamap.Table{Name: "mails", Key: []string{"id"}, Edges: edge, Erase: datamap.Delete},
				datamap.Table{Name: "more", Key: []string{"client"}, Edges: edge, Erase: datamap.Delete})
		}, []string{"alarm reused numbers clients.id", "notice reused numbers calls.id"}},
	}
}

func foreignCases() []found {
	child := func(rule string) string {
		return "CREATE TABLE children (id {id} PRIMARY KEY, person {id}, FOREIGN KEY (person) REFERENCES people (id) " + rule + ");\nCREATE INDEX children_person ON children (person)"
	}
	listed := func(change func(t *datamap.Table)) func(m *datamap.Map) {
		return func(m *datamap.Map) {
			t := datamap.Table{Name: "children", Key: []string{"id"}, Tenant: "", Columns: []datamap.Column{{Name: "person"}}}
			change(&t)
			m.Tables = append(m.Tables, t)
		}
	}
	plain := listed(func(*datamap.Table) {})
	kept := func(rule string) string { // bills keeps its name, and note is a way that the map does not know
		return "ALTER TABLE bills ADD FOREIGN KEY (note) REFERENCES notes (id) " + rule
	}
	return []found{
		{"a table that nobody mapped refuses", all, child(""), nothing, []string{"alarm blocked deletion children.person", "alarm unclassified table children"}},
		{"a table that nobody mapped goes, too", all, child("ON DELETE CASCADE"), nothing, []string{"alarm unclassified table children", "alarm undeclared edge children.person"}},
		{"refused", all, child(""), plain, []string{"alarm blocked deletion children.person"}},
		{"rows go of which the map says nothing", all, child("ON DELETE CASCADE"), plain, []string{"alarm undeclared edge children.person"}},
		{"emptied by the database", all, child("ON DELETE SET NULL"), plain, []string{"notice undeclared edge children.person"}},
		{"unlinked", all, child(""), listed(func(t *datamap.Table) {
			t.Edges = []datamap.Edge{{Columns: []string{"person"}, Table: "people", Unlink: datamap.Null}}
		}), nil},
		{"its own", all, child("ON DELETE CASCADE"), listed(func(t *datamap.Table) {
			t.Erase, t.Edges = datamap.Delete, []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}
		}), nil},
		{"its own by the person's id", all, child("ON DELETE CASCADE"), func(m *datamap.Map) {
			m.Tenant = "main"
			listed(func(t *datamap.Table) { t.Erase, t.Person, t.Columns = datamap.Delete, "person", nil })(m)
		}, nil},
		{"rows of others", all, strings.Replace(child("ON DELETE CASCADE"), "person {id},", "person {id}, whose {id},", 1) + ";\nCREATE INDEX cw ON children (whose)", listed(func(t *datamap.Table) {
			t.Erase, t.Edges = datamap.Delete, []datamap.Edge{{Columns: []string{"whose"}, Table: "people"}}
		}), []string{"alarm cascade into others children.person"}},
		{"rows that stay without the column", all, child(""), func(m *datamap.Map) {
			m.Tenant = "main"
			listed(func(t *datamap.Table) {
				t.Erase, t.Person = datamap.Null, "person"
				t.Columns = []datamap.Column{{Name: "person", Category: "x", Purpose: "dpv:CustomerCare", Basis: "dpv:Contract", Erase: datamap.Null}}
			})(m)
		}, nil},
		{"rows that stay with the column", all, child(""), func(m *datamap.Map) {
			m.Tenant = "main"
			listed(func(t *datamap.Table) {
				t.Erase, t.Person = datamap.Null, "person"
				t.Columns = []datamap.Column{{Name: "person", Category: "x", Purpose: "dpv:CustomerCare", Basis: "dpv:Contract", Erase: datamap.Retain}}
			})(m)
		}, []string{"alarm blocked deletion children.person"}},
		{"rows that stay are named by others", all, "CREATE TABLE dunnings (id {id} PRIMARY KEY, bill {id}, FOREIGN KEY (bill) REFERENCES bills (id))", func(m *datamap.Map) {
			table(m, "bills").Keep, table(m, "bills").Erase = nil, datamap.Null
			column(m, "bills", "name").Erase, column(m, "bills", "person").Erase = "", datamap.Null
			m.Tables = append(m.Tables, datamap.Table{Name: "dunnings", Key: []string{"id"}, Columns: []datamap.Column{{Name: "bill"}}})
			table(m, "bills").Columns = append(table(m, "bills").Columns, datamap.Column{Name: "issued"})
		}, []string{"notice undeclared edge dunnings.bill"}},
		{"a cascade into what is kept", servers, kept("ON DELETE CASCADE"), nothing, []string{"alarm cascade into kept bills.note"}},
		{"an emptied column of what is kept", postgres, "ALTER TABLE bills ADD FOREIGN KEY (name) REFERENCES notes (id) ON DELETE SET NULL", nothing, []string{"alarm cascade into kept bills.name"}},
		{"an emptied column that nobody needs", postgres, kept("ON DELETE SET NULL"), nothing, []string{"notice undeclared edge bills.note"}},
		{"one of two columns is emptied", postgres, "ALTER TABLE notes ADD UNIQUE (id, body);\nALTER TABLE bills ADD FOREIGN KEY (name, note) REFERENCES notes (id, body) ON DELETE SET NULL (note)", nothing, []string{"notice undeclared edge bills.name, note"}},
		{"a cascade into what is kept over a table between", all, "CREATE TABLE folders (id {id} PRIMARY KEY, person {id}, FOREIGN KEY (person) REFERENCES people (id) ON DELETE CASCADE);\nCREATE INDEX fp ON folders (person);\n" +
			"CREATE TABLE files (id {id} PRIMARY KEY, person {id}, tenant {id}, folder {id}, name VARCHAR(9), issued DATE, FOREIGN KEY (folder) REFERENCES folders (id) ON DELETE CASCADE);\nCREATE INDEX fip ON files (person)", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "folders", Key: []string{"id"}, Columns: []datamap.Column{{Name: "person"}}})
			t := *table(m, "bills")
			t.Name, t.Columns = "files", append(slices.Clone(t.Columns[:2]), datamap.Column{Name: "folder"})
			m.Tables = append(m.Tables, t)
		}, []string{"alarm cascade into kept files.folder", "alarm undeclared edge folders.person"}},
		{"checked at commit", slices.Concat(sqlite, postgres), child("DEFERRABLE INITIALLY DEFERRED"), listed(func(t *datamap.Table) {
			t.Erase, t.Edges = datamap.Delete, []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}
		}), []string{"notice deferred constraint children.person"}},
		{"a key of another schema", postgres, "CREATE SCHEMA far;\nCREATE TABLE far.away (id INT PRIMARY KEY, person varchar(40) REFERENCES people (id))", nothing, []string{"alarm blocked deletion far.away.person", "alarm unclassified table far.away"}},
		{"a key of a partition", postgres, "CREATE TABLE log (person varchar(40)) PARTITION BY LIST (person);\nCREATE TABLE log1 PARTITION OF log FOR VALUES IN ('x');\nALTER TABLE log1 ADD FOREIGN KEY (person) REFERENCES people (id)", nothing, []string{"alarm blocked deletion log.person", "alarm unclassified table log"}},
		{"merged into another", all, "ALTER TABLE people ADD COLUMN survivor {id} REFERENCES people (id);\nCREATE INDEX ps ON people (survivor)", func(m *datamap.Map) { table(m, "people").Merged = "survivor" }, nil},
	}
}

func valueCases() []found {
	redact := func(to string) func(m *datamap.Map) {
		return func(m *datamap.Map) { column(m, "bills", "mail").To = to }
	}
	act := func(action datamap.Action, to string) func(m *datamap.Map) {
		return func(m *datamap.Map) { c := column(m, "bills", "mail"); c.Erase, c.To = action, to }
	}
	typed := func(typ string) string {
		return "ALTER TABLE bills DROP COLUMN mail;\nALTER TABLE bills ADD COLUMN mail " + typ
	}
	unique := "CREATE UNIQUE INDEX one_mail ON bills (mail)"
	const wrong, twice = "alarm wrong type bills.mail", "alarm equal values not allowed bills.mail"
	return []found{
		{"NOT NULL", servers, "ALTER TABLE bills DROP COLUMN phone;\nALTER TABLE bills ADD COLUMN phone VARCHAR(9) NOT NULL", nothing, []string{"alarm null not allowed bills.phone"}},
		{"NOT NULL of an edge", servers, "ALTER TABLE notes DROP COLUMN about;\nALTER TABLE notes ADD COLUMN about {id} NOT NULL;\nCREATE INDEX na ON notes (about)", nothing, []string{"alarm null not allowed notes.about"}},
		{"NOT NULL on SQLite", sqlite, "ALTER TABLE bills DROP COLUMN phone;\nALTER TABLE bills ADD COLUMN phone TEXT NOT NULL DEFAULT ''", nothing, []string{"alarm null not allowed bills.phone"}},
		{"one mask in a unique column", all, unique, nothing, []string{twice}},
		{"one mask in a unique column of a tenant", all, "CREATE UNIQUE INDEX one_mail ON bills (tenant, mail)", nothing, []string{twice}},
		{"a mask for each row", all, unique, redact("gone-{row}"), nil},
		{"a code for each value", all, unique, act(datamap.Pseudonymise, ""), nil},
		{"null in a unique column", all, unique, act(datamap.Null, ""), nil},
		{"one null only", postgres, "CREATE UNIQUE INDEX one_mail ON bills (mail) NULLS NOT DISTINCT", act(datamap.Null, ""), []string{twice}},
		{"a unique column made coarse", all, unique, act(datamap.Generalise, "first:3"), []string{twice}},
		{"a unique column scrubbed", all, unique, act(datamap.Scrub, ""), []string{"notice equal values may come bills.mail"}},
		{"unique with the key", all, "CREATE UNIQUE INDEX one_mail ON bills (id, mail)", nothing, nil},
		{"a check of it", servers, typed("VARCHAR(99) CHECK (mail LIKE '%@%')"), nothing, []string{"notice check constraint bills.mail"}},
		{"a check of it on SQLite", sqlite, typed("TEXT CHECK (mail LIKE '%@%')"), nothing, []string{"notice check constraint bills.mail"}},
		{"a check that null satisfies", servers, "ALTER TABLE bills ADD CONSTRAINT c CHECK (phone LIKE '+%')", nothing, nil},
		{"a check that speaks of null", servers, "ALTER TABLE bills ADD CONSTRAINT c CHECK (phone IS NOT NULL OR name = '')", nothing, []string{"notice check constraint bills.phone"}},
		{"a check of another column", servers, "ALTER TABLE bills ADD CONSTRAINT c CHECK (name <> 'mailed')", nothing, nil},
		{"text into a number", servers, typed("INT"), nothing, []string{wrong}},
		{"a number into a number", servers, typed("INT"), redact("0"), nil},
		{"text into a decimal", servers, typed("DECIMAL(9,2)"), nothing, []string{wrong}},
		{"text into a date", servers, typed("DATE"), nothing, []string{wrong}},
		{"a date into a date", servers, typed("DATE"), redact("1900-01-01"), nil},
		{"text into a time", postgres, typed("timestamptz"), nothing, []string{wrong}},
		{"a time into a time", postgres, typed("timestamptz"), redact("1900-01-01T00:00:00Z"), nil},
		{"text into a boolean", servers, typed("BOOLEAN"), nothing, []string{wrong}},
		{"text into a uuid", servers, typed("UUID"), nothing, []string{wrong}},
		{"a uuid into a uuid", servers, typed("UUID"), redact("00000000-0000-0000-0000-000000000000"), nil},
		{"text into JSON", postgres, typed("jsonb"), nothing, []string{wrong}},
		{"text into JSON of MariaDB", mariadb, typed("JSON"), nothing, []string{wrong}},
		{"JSON into JSON", servers, typed("JSON"), redact("{}"), nil},
		{"text into an enum", postgres, "CREATE TYPE mood AS ENUM ('sad', 'ok');\n" + typed("mood"), nothing, []string{wrong}},
		{"a word of an enum", postgres, "CREATE TYPE mood AS ENUM ('sad', 'ok');\n" + typed("mood"), redact("ok"), nil},
		{"text into an enum of MariaDB", mariadb, typed("ENUM('sad', 'it''s')"), nothing, []string{wrong}},
		{"a word of an enum of MariaDB", mariadb, typed("ENUM('sad', 'it''s')"), redact("it's"), nil},
		{"too long a text", servers, typed("VARCHAR(9)"), nothing, []string{wrong}},
		{"too long a code", servers, typed("VARCHAR(20)"), redact("gone-{row}"), []string{wrong}},
		{"a domain of a domain", postgres, "CREATE DOMAIN d1 AS int;\nCREATE DOMAIN d2 AS d1 NOT NULL;\n" + typed("d2"), act(datamap.Null, ""), []string{"alarm null not allowed bills.mail"}},
		{"text into a number of STRICT", sqlite, "DROP TABLE bills;\nCREATE TABLE bills (id TEXT PRIMARY KEY, tenant TEXT, person TEXT, note TEXT, name TEXT, phone TEXT, mail INTEGER, issued TEXT) STRICT;\nCREATE INDEX bp ON bills (person)", nothing, []string{wrong}},
		{"any type of SQLite", sqlite, typed("INTEGER"), nothing, nil},
		{"a code into a number", servers, typed("BIGINT"), act(datamap.Pseudonymise, ""), []string{wrong}},
		{"a code into too short a text", servers, typed("VARCHAR(20)"), act(datamap.Pseudonymise, ""), []string{wrong}},
		{"a redactor of a number", servers, typed("BIGINT"), act(datamap.Scrub, ""), []string{wrong}},
		{"the year of a date", servers, typed("DATE"), act(datamap.Generalise, datamap.ToYear), nil},
		{"the first three of a date", servers, typed("DATE"), act(datamap.Generalise, "first:3"), []string{wrong}},
		{"the year of a boolean", servers, typed("BOOLEAN"), act(datamap.Generalise, datamap.ToYear), []string{wrong}},
		{"a member of a number", servers, typed("BIGINT"), func(m *datamap.Map) { column(m, "bills", "mail").Path = "/a" }, []string{"alarm wrong type bills.mail/a"}},
		{"a member of JSON", servers, typed("JSON"), func(m *datamap.Map) { column(m, "bills", "mail").Path = "/a" }, nil},
		{"what the database makes", servers, typed("VARCHAR(99) GENERATED ALWAYS AS (lower(name)) STORED"), nothing, []string{"alarm generated column bills.mail"}},
		{"what SQLite makes", sqlite, typed("TEXT GENERATED ALWAYS AS (lower(name)) VIRTUAL"), nothing, []string{"alarm generated column bills.mail"}},
		{"after the obligation", all, unique, func(m *datamap.Map) {
			act(datamap.Retain, "")(m)
			table(m, "bills").Erase = datamap.Redact
		}, []string{twice}},
	}
}

func tableCases() []found {
	return []found{
		{"a trigger", sqlite, "CREATE TRIGGER copies AFTER DELETE ON notes BEGIN SELECT 1; END", nothing, []string{"notice trigger notes"}},
		{"a trigger that writes first", sqlite, "CREATE TRIGGER copies AFTER DELETE ON rates BEGIN SELECT 1; END", nothing, nil},
		{"a trigger of MariaDB", mariadb, "CREATE TRIGGER copies BEFORE UPDATE ON notes FOR EACH ROW SET NEW.body = 'x';\nCREATE TRIGGER others BEFORE INSERT ON notes FOR EACH ROW SET NEW.body = 'x'", nothing, []string{"notice trigger notes"}},
		{"a trigger of PostgreSQL", postgres, "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';\nCREATE TRIGGER copies AFTER DELETE ON notes EXECUTE FUNCTION f();\nCREATE TRIGGER others AFTER INSERT ON notes EXECUTE FUNCTION f()", nothing, []string{"notice trigger notes"}},
		{"a rule", postgres, "CREATE RULE keep AS ON DELETE TO notes DO INSTEAD NOTHING", nothing, []string{"notice trigger notes"}},
		{"no transactions", mariadb, "ALTER TABLE bills ENGINE = MyISAM", nothing, []string{"alarm no transactions bills"}},
		{"a link without transactions", mariadb, "ALTER TABLE attendees ENGINE = MyISAM", nothing, []string{"alarm no transactions attendees"}},
		{"a history", mariadb, "ALTER TABLE bills ADD SYSTEM VERSIONING", nothing, []string{"alarm history kept bills"}},
		{"hidden rows", postgres, "ALTER TABLE bills ENABLE ROW LEVEL SECURITY;\nALTER TABLE bills FORCE ROW LEVEL SECURITY;\nDO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE 'the test needs a superuser'; END IF; END $$", nothing, nil},
		{"a view as a table", all, "CREATE VIEW seen AS SELECT id, person FROM notes", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "seen", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}})
		}, []string{"alarm not a table seen", "notice edge without index seen.person"}},
	}
}

func TestWhatIsFound(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, c := range slices.Concat(differences(), edgeCases(), foreignCases(), valueCases(), tableCases(), stayCases(), cornerCases()) {
			if !slices.Contains(c.on, d.Name) {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				db := fresh(t, d)
				run(t, db, d.Name, base)
				run(t, db, d.Name, c.ddl)
				m := baseMap()
				c.change(m)
				findings, err := liveschema.Check(t.Context(), db, m)
				require.NoError(t, err)
				require.ElementsMatch(t, c.want, said(findings))
				for i, f := range findings {
					require.NotEmpty(t, f.Remedy, f)
					require.False(t, i > 0 && findings[i-1].Level < f.Level, "alarms come first: %v", findings)
				}
			})
		}
	})
}

// fresh empties the database, which is faster than a new one for each case.
func fresh(t *testing.T, d testdb.Database) *sql.DB {
	t.Helper()
	if d.Name == testdb.SQLite {
		return testdb.New(t, testdb.SQLite).Open(t)
	}
	db := d.Open(t)
	db.SetMaxOpenConns(1)
	if d.Name != testdb.MariaDB {
		_, err := db.ExecContext(t.Context(), `DO $$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' LOOP EXECUTE 'DROP SCHEMA ' || s || ' CASCADE'; END LOOP; END $$; CREATE SCHEMA public`)
		require.NoError(t, err)
		return db
	}
	var name string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&name))
	for _, statement := range []string{"DROP DATABASE ", "CREATE DATABASE ", "USE "} {
		_, err := db.ExecContext(t.Context(), statement+name)
		require.NoError(t, err)
	}
	return db
}

func TestTheStrangersMapFits(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		findings, err := liveschema.Check(t.Context(), w.SQL, w.Map())
		require.NoError(t, err)
		require.NoError(t, findings.Err())
		require.NotContains(t, said(findings), "notice undeclared edge portal_orders.account_id")
	})
}

// The invoices of the stranger go with their contact, whatever the map says.
func TestTheStrangersCascadeIsAnAlarm(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		findings, err := liveschema.Check(t.Context(), w.SQL, w.Map())
		require.NoError(t, err)
		require.Equal(t, []string{"alarm cascade into kept " + w.Table("invoices") + ".contact_id"}, said(findings.Alarms()))
		require.ErrorIs(t, findings.Err(), liveschema.ErrUnfit)
	}, stranger.Cascade)
}

func TestTheStrangersTriggerIsSaid(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		findings, err := liveschema.Check(t.Context(), w.SQL, w.Map())
		require.NoError(t, err)
		require.NoError(t, findings.Err())
		require.Contains(t, said(findings), "notice trigger contacts")
	}, stranger.Trigger)
}

// Row level security hides nothing from a superuser; from the owner of the table
// it does.
func TestHiddenRowsAreAnAlarm(t *testing.T) {
	for _, name := range postgres {
		d := testdb.New(t, name)
		owner := d.Open(t)
		run(t, owner, name, base)
		role, as := d.Role(t)
		for _, statement := range []string{"GRANT USAGE ON SCHEMA public TO ", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "} {
			_, err := owner.ExecContext(t.Context(), statement+role)
			require.NoError(t, err)
		}
		run(t, owner, name, "ALTER TABLE bills ENABLE ROW LEVEL SECURITY")
		findings, err := liveschema.Check(t.Context(), as.Open(t), baseMap())
		require.NoError(t, err)
		require.Equal(t, []string{"alarm rows hidden bills"}, said(findings))
	}
}

// Tables of other databases of a server count where the map names them.
func TestOtherDatabasesOfTheServer(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	db := d.Open(t)
	run(t, db, testdb.MariaDB, base)
	var here string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&here))
	other := here + "_b"
	t.Cleanup(func() {
		_, err := db.ExecContext(context.Background(), "DROP DATABASE "+other)
		require.NoError(t, err)
	})
	run(t, db, testdb.MariaDB, "CREATE DATABASE "+other+";\nCREATE TABLE "+other+".calls (id INT PRIMARY KEY, person {id}, FOREIGN KEY (person) REFERENCES "+here+".people (id));\nCREATE TABLE "+other+".more (id INT PRIMARY KEY)")
	findings, err := liveschema.Check(t.Context(), db, baseMap())
	require.NoError(t, err)
	require.Equal(t, []string{"alarm blocked deletion " + other + ".calls.person"}, said(findings), "a foreign key into this database counts from wherever it comes")
	m := baseMap()
	m.Tables = append(m.Tables, datamap.Table{Name: other + ".calls", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}})
	findings, err = liveschema.Check(t.Context(), db, m)
	require.NoError(t, err)
	require.Equal(t, []string{"alarm unclassified table " + other + ".more"}, said(findings))
}

func TestErrorsOfCheck(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	_, err := liveschema.Check(t.Context(), db, &datamap.Map{})
	require.ErrorIs(t, err, datamap.ErrMap)
	_, err = liveschema.Check(t.Context(), db, nil)
	require.ErrorIs(t, err, datamap.ErrMap)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = liveschema.Check(ctx, db, baseMap())
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, db.Close())
	_, err = liveschema.Check(t.Context(), db, baseMap())
	require.Error(t, err)
}

func TestAnErrorNamesTheFirstAlarmsAndTheirRemedies(t *testing.T) {
	var findings liveschema.Findings
	require.NoError(t, findings.Err())
	findings = append(findings, liveschema.Finding{Kind: liveschema.TriggerFires, Level: liveschema.Notice, Table: "x"})
	require.NoError(t, findings.Err())
	for i := range 22 {
		findings = append(findings, liveschema.Finding{Kind: liveschema.MissingTable, Level: liveschema.Alarm, Table: fmt.Sprint("t", i), Remedy: "do"})
	}
	err := findings.Err()
	require.True(t, errors.Is(err, liveschema.ErrUnfit))
	require.ErrorContains(t, err, "missing table t0: do; missing table t1: do")
	require.ErrorContains(t, err, "missing table t19: do; and 2 more")
	require.Equal(t, "notice: trigger x", findings[0].String())
}

func ExampleCheck() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:crm?mode=memory")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT UNIQUE, notes TEXT)`); err != nil {
		fmt.Println(err)
		return
	}
	m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "id", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:CustomerCare", Basis: "dpv:Contract"}},
	}}}
	findings, err := liveschema.Check(ctx, db, m)
	for _, f := range findings {
		fmt.Println(f)
	}
	fmt.Println(err)
	// Output:
	// alarm: unclassified column contacts.notes: list it in the map, without Category where it says nothing about persons
	// <nil>
}
