package liveschema_test

import (
	"slices"

	"github.com/crmguard/crmguard/privacy/datamap"
)

// cornerCases are those of which one condition of the check alone decides.
func cornerCases() []found {
	add := func(tables ...datamap.Table) func(m *datamap.Map) {
		return func(m *datamap.Map) { m.Tables = append(m.Tables, tables...) }
	}
	id := []string{"id"}
	toPeople := func(unlink datamap.Action) []datamap.Edge {
		return []datamap.Edge{{Columns: []string{"person"}, Table: "people", Unlink: unlink}}
	}
	return slices.Concat(namedElsewhere(), []found{
		{"a discriminator that takes values for one", sqlite, "ALTER TABLE notes ADD COLUMN kind TEXT COLLATE NOCASE;\nCREATE INDEX nk ON notes (kind)", func(m *datamap.Map) {
			for i := range table(m, "notes").Edges {
				table(m, "notes").Edges[i].When = []datamap.When{{Column: "kind", Is: "x"}}
			}
		}, []string{"notice loose comparison notes.kind"}},
		{"records of a link have no index", all, "DROP TABLE attendees;\nCREATE TABLE attendees (meeting {id} NOT NULL, person {id} NOT NULL, PRIMARY KEY (person, meeting))", nothing, []string{"notice edge without index attendees.meeting"}},
		{"records of a link without regard to case", sqlite, "DROP TABLE attendees;\nCREATE TABLE attendees (meeting TEXT COLLATE NOCASE NOT NULL, person TEXT NOT NULL, PRIMARY KEY (meeting, person));\nCREATE INDEX ap ON attendees (person)", nothing, []string{"notice loose comparison attendees.meeting"}},
		{"an edge over a column that is gone", all, "", func(m *datamap.Map) { table(m, "notes").Edges[1].Columns = []string{"gone"} }, []string{"alarm missing column notes.gone", "alarm unclassified column notes.about"}},
		{"a tenant need not stand in an index", all, "CREATE TABLE parts (tenant {id}, person {id}, n INT NOT NULL PRIMARY KEY);\nCREATE INDEX parts_person ON parts (person)", add(datamap.Table{
			Name: "parts", Key: []string{"n"}, Tenant: "tenant", Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"tenant", "person"}, Table: "people", To: []string{"tenant", "id"}}},
		}), nil},
		{"an edge to a view", all, "CREATE VIEW clients AS SELECT id, tenant FROM people", func(m *datamap.Map) {
			add(datamap.Table{Name: "clients", Key: id, Tenant: "tenant", Person: "id", Erase: datamap.Delete})(m)
			table(m, "notes").Edges[1].Table = "clients"
		}, []string{"alarm not a table clients", "notice edge without index clients.id"}},
		{"two types of which one is any", sqlite, "CREATE TABLE parts (person TEXT, n TEXT NOT NULL PRIMARY KEY) STRICT;\nCREATE INDEX pp ON parts (person)", add(datamap.Table{Name: "parts", Key: []string{"n"}, Erase: datamap.Delete, Edges: toPeople("")}), nil},
		{"checked at commit between tables of nobody", slices.Concat(sqlite, postgres), "CREATE TABLE grades (id {id} PRIMARY KEY, rate {id} REFERENCES rates (id) DEFERRABLE INITIALLY DEFERRED)", add(datamap.Table{Name: "grades", Key: id, Columns: []datamap.Column{{Name: "rate"}}}), nil},
		{"rows that are deleted as they only point are named", all, "CREATE TABLE pins (id {id} PRIMARY KEY, person {id});\nCREATE INDEX pp ON pins (person);\nCREATE TABLE pinned (id {id} PRIMARY KEY, pin {id}, FOREIGN KEY (pin) REFERENCES pins (id))", add(
			datamap.Table{Name: "pins", Key: id, Edges: toPeople(datamap.Delete)}, datamap.Table{Name: "pinned", Key: id, Columns: []datamap.Column{{Name: "pin"}}},
		), []string{"alarm blocked deletion pinned.pin"}},
		{"rows of a link are named", all, "CREATE TABLE seats (id {id} PRIMARY KEY, meeting {id}, person {id}, FOREIGN KEY (meeting, person) REFERENCES attendees (meeting, person))", add(
			datamap.Table{Name: "seats", Key: id, Columns: []datamap.Column{{Name: "meeting"}, {Name: "person"}}},
		), []string{"alarm blocked deletion seats.meeting, person"}},
		{"what is unlinked first goes with nothing", all, "CREATE TABLE children (id {id} PRIMARY KEY, person {id}, FOREIGN KEY (person) REFERENCES people (id) ON DELETE CASCADE);\nCREATE INDEX cp ON children (person);\nCREATE TABLE toys (id {id} PRIMARY KEY, child {id}, FOREIGN KEY (child) REFERENCES children (id))", add(
			datamap.Table{Name: "children", Key: id, Edges: toPeople(datamap.Null)}, datamap.Table{Name: "toys", Key: id, Columns: []datamap.Column{{Name: "child"}}},
		), nil},
		{"a link to persons whose rows stay", servers, "ALTER TABLE attendees ADD FOREIGN KEY (person) REFERENCES people (id)", func(m *datamap.Map) {
			people := table(m, "people")
			people.Erase, people.Columns = datamap.Redact, append(people.Columns, datamap.Column{Name: "id", Erase: datamap.Retain})
			column(m, "people", "born").Erase, column(m, "people", "score").Erase = datamap.Null, datamap.Null
		}, nil},
		{"merged into another, emptied by the database", all, "ALTER TABLE people ADD COLUMN survivor {id} REFERENCES people (id) ON DELETE SET NULL;\nCREATE INDEX ps ON people (survivor)", func(m *datamap.Map) { table(m, "people").Merged = "survivor" }, nil},
		{"a member is emptied, and not the column", postgres, "ALTER TABLE bills ADD FOREIGN KEY (mail) REFERENCES notes (id)", func(m *datamap.Map) {
			c := column(m, "bills", "mail")
			c.Path, c.Erase = "/a", datamap.Null
		}, []string{"alarm blocked deletion bills.mail"}},
		{"an emptied date of what is kept", postgres, "CREATE TABLE days (day DATE PRIMARY KEY, person {id});\nCREATE INDEX dp ON days (person);\nALTER TABLE bills ADD FOREIGN KEY (issued) REFERENCES days (day) ON DELETE SET NULL", add(
			datamap.Table{Name: "days", Key: []string{"day"}, Erase: datamap.Delete, Edges: toPeople("")},
		), []string{"alarm cascade into kept bills.issued"}},
		{"an emptied way of what is kept", postgres, "CREATE TABLE dossiers (id {id} PRIMARY KEY, tenant {id}, person {id}, closed DATE);\nCREATE INDEX dp ON dossiers (person);\nCREATE INDEX bn ON bills (note);\nALTER TABLE bills ADD FOREIGN KEY (note) REFERENCES dossiers (id) ON DELETE SET NULL", func(m *datamap.Map) {
			add(datamap.Table{
				Name: "dossiers", Key: id, Tenant: "tenant", Person: "person", Erase: datamap.Delete, Keep: &datamap.Keep{Because: "law", From: "closed", Years: 10},
				Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}},
			})(m)
			table(m, "bills").Edges = []datamap.Edge{{Columns: []string{"note"}, Table: "dossiers"}}
		}, []string{"alarm cascade into kept bills.note"}},
		{"a mask of rows that never stay", all, "CREATE UNIQUE INDEX pe ON people (email)", func(m *datamap.Map) { column(m, "people", "email").Erase = datamap.Redact }, nil},
		{"an id that is said to be no data becomes null", all, "CREATE TABLE children (id {id} PRIMARY KEY, person {id} NOT NULL);\nCREATE INDEX cp ON children (person)", func(m *datamap.Map) {
			m.Tenant = "main"
			add(datamap.Table{Name: "children", Key: id, Person: "person", Erase: datamap.Null, Columns: []datamap.Column{{Name: "person", Erase: datamap.Null}}})(m)
		}, []string{"alarm null not allowed children.person"}},
		{"a check of a document", postgres, "ALTER TABLE bills DROP COLUMN mail;\nALTER TABLE bills ADD COLUMN mail jsonb CHECK (jsonb_typeof(mail) = 'object')", func(m *datamap.Map) { column(m, "bills", "mail").Path = "/a" }, []string{"notice check constraint bills.mail"}},
		{"an edge that the database makes", postgres, "ALTER TABLE notes DROP COLUMN about;\nALTER TABLE notes ADD COLUMN about varchar(40) GENERATED ALWAYS AS (lower(body)) STORED;\nCREATE INDEX na ON notes (about)", nothing, []string{"alarm generated column notes.about"}},
		{"what is found last comes first", sqlite, "CREATE TRIGGER copies AFTER DELETE ON notes BEGIN SELECT 1; END;\nCREATE UNIQUE INDEX one_mail ON bills (mail)", nothing, []string{"alarm equal values not allowed bills.mail", "notice trigger notes"}},
		{"a key beside numbers that come again", sqlite, "CREATE TABLE calls (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, person TEXT);\nCREATE INDEX cp ON calls (person)", add(
			datamap.Table{Name: "calls", Key: id, Erase: datamap.Delete, Edges: toPeople(""), Columns: []datamap.Column{{Name: "n"}}},
		), nil},
	})
}

// namedElsewhere are columns that the map speaks of at another place than among
// the columns of their table.
func namedElsewhere() []found {
	const code = "ALTER TABLE people ADD COLUMN code {id};\nCREATE UNIQUE INDEX people_code ON people (code"
	toCode := func(m *datamap.Map) { table(m, "notes").Edges[1].To = []string{"code"} }
	return []found{
		{"a discriminator", all, "ALTER TABLE notes ADD COLUMN kind {id}", func(m *datamap.Map) {
			table(m, "notes").Edges[1].When = []datamap.When{{Column: "kind", Is: "x"}}
		}, nil},
		{"a column that an edge names", all, code + ")", toCode, nil},
		{"a column that an edge names, without regard to case", sqlite, "ALTER TABLE people ADD COLUMN code TEXT COLLATE NOCASE;\nCREATE UNIQUE INDEX people_code ON people (code)", toCode, []string{"notice loose comparison people.code"}},
		{"a column that tells apart within a tenant", all, code + ", tenant);\nCREATE INDEX bn ON bills (note)", func(m *datamap.Map) {
			toCode(m)
			table(m, "bills").Edges = []datamap.Edge{{Columns: []string{"note"}, Table: "people", To: []string{"code"}, Unlink: datamap.Null}}
		}, []string{"notice edge to no unique key notes.about"}},
		{"the columns of a link that is listed", all, "ALTER TABLE attendees ADD COLUMN role VARCHAR(40)", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "attendees", Columns: []datamap.Column{{Name: "role"}}})
		}, nil},
		{"the owner of a record's key", all, "ALTER TABLE meetings ADD COLUMN owner {id}", func(m *datamap.Map) { table(m, "meetings").Link.Owner = "owner" }, nil},
	}
}
