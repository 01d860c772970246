package liveschema_test

import (
	"slices"

	"github.com/crmguard/crmguard/privacy/datamap"
)

// What an erasure would not reach, and say that it is done.
func stayCases() []found {
	of := func(name string, columns ...string) func(m *datamap.Map) {
		return func(m *datamap.Map) {
			t := datamap.Table{Name: name}
			for _, column := range columns {
				t.Columns = append(t.Columns, datamap.Column{Name: column})
			}
			m.Tables = append(m.Tables, t)
		}
	}
	pointing := func(typ string) string {
		return "ALTER TABLE notes DROP COLUMN about;\nALTER TABLE notes ADD COLUMN about " + typ
	}
	typed := func(typ string) string {
		return "ALTER TABLE bills DROP COLUMN mail;\nALTER TABLE bills ADD COLUMN mail " + typ
	}
	empty := func(m *datamap.Map) { column(m, "bills", "mail").Erase = datamap.Null }
	two := []string{"alarm no id notes.about", "notice edge of two types notes.about", "notice edge without index notes.about"}
	const twice = "alarm equal values not allowed bills.mail"
	const words = "CREATE VIRTUAL TABLE words USING fts5(body, content='notes')"
	const forgets = ";\nINSERT INTO words (words, rank) VALUES ('secure-delete', 1)"
	const synced = ";\nCREATE TRIGGER goes AFTER DELETE ON notes BEGIN INSERT INTO words (words, rowid, body) VALUES ('delete', old.rowid, old.body); END"
	renewed := "ALTER TABLE bills ADD COLUMN made TIMESTAMP(6) NULL ON UPDATE CURRENT_TIMESTAMP(6)"
	made := func(m *datamap.Map) { table(m, "bills").Created = "made" }
	asTable := func(m *datamap.Map) {
		m.Tables = append(m.Tables, datamap.Table{Name: "words", Key: []string{"body"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}})
	}
	var cases []found
	for _, typ := range []string{"text[]", "jsonb", "xml", "tsvector", "int4range", "point", "oid"} {
		cases = append(cases, found{"an edge over " + typ, postgres, pointing(typ), nothing, two})
	}
	cases = append(cases, found{"an edge over POINT", mariadb, pointing("POINT"), nothing, two})
	for _, typ := range []string{"JSON", "SET('p1', 'p2')"} { // which have a collation
		cases = append(cases, found{"an edge over " + typ, mariadb, pointing(typ), nothing, append([]string{"notice loose comparison notes.about"}, two...)})
	}
	return slices.Concat(cases, []found{
		{"an identity among several", postgres, "ALTER TABLE people ALTER email TYPE text[] USING NULL", func(m *datamap.Map) { column(m, "people", "email").Identity = "email" }, []string{"alarm no id people.email"}},
		{"several persons in a link", postgres, "ALTER TABLE attendees ALTER person TYPE text[] USING NULL", nothing, []string{"alarm no id attendees.person"}},
		{"a large object", postgres, typed("oid"), empty, []string{"alarm large object bills.mail"}},
		{"a large object that a trigger unlinks", postgres, typed("oid"), func(m *datamap.Map) { *column(m, "bills", "mail") = datamap.Column{Name: "mail"} }, nil},
		{"one mask in an expression", slices.Concat(sqlite, postgres), "CREATE UNIQUE INDEX one_mail ON bills (lower(mail))", nothing, []string{twice}},
		{"one mask in an expression behind a column", slices.Concat(sqlite, postgres), "CREATE UNIQUE INDEX one_mail ON bills (tenant, lower(mail))", nothing, []string{twice}},
		{"a column that only chooses rows", slices.Concat(sqlite, postgres), "CREATE UNIQUE INDEX one_note ON bills (lower(note)) WHERE mail IS NULL", nothing, nil},
		{"one mask in what is made from it", mariadb, "ALTER TABLE bills ADD COLUMN low VARCHAR(100) AS (lower(mail)) UNIQUE", func(m *datamap.Map) {
			table(m, "bills").Columns = append(table(m, "bills").Columns, datamap.Column{Name: "low"})
		}, []string{twice}},
		{"one mask in what PostgreSQL makes from it", postgres, "ALTER TABLE bills ADD COLUMN low text GENERATED ALWAYS AS (lower(mail)) STORED UNIQUE", func(m *datamap.Map) {
			table(m, "bills").Columns = append(table(m, "bills").Columns, datamap.Column{Name: "low"})
		}, []string{twice}},
		{"a creation time that each change renews", mariadb, renewed, made, []string{"alarm time of a change bills.made"}},
		{"an obligation that each change renews", mariadb, renewed, func(m *datamap.Map) {
			table(m, "bills").Keep.From = "made"
			table(m, "bills").Columns = append(table(m, "bills").Columns, datamap.Column{Name: "issued"})
		}, []string{"alarm time of a change bills.made"}},
		{"a table of the same name in other letters", mariadb, "CREATE TABLE People (id INT, name INT)", nothing, []string{"alarm unclassified table People"}},
		{"an heir that nobody leads to", postgres, "CREATE TABLE heirs (x INT) INHERITS (people)", of("heirs", "id", "tenant", "name", "email", "born", "score", "x"), []string{"alarm rows of its own heirs"}},
		{"an heir of what is about nobody", postgres, "CREATE TABLE heirs (x INT) INHERITS (rates)", of("heirs", "id", "percent", "x"), nil},
		{"a part on another server", postgres, "CREATE TABLE log (person varchar(40) NOT NULL) PARTITION BY LIST (person);\nCREATE INDEX lp ON log (person);\nCREATE FOREIGN DATA WRAPPER nowhere;\nCREATE SERVER far FOREIGN DATA WRAPPER nowhere;\n" +
			"CREATE TABLE log1 PARTITION OF log FOR VALUES IN ('x') PARTITION BY LIST (person);\nCREATE FOREIGN TABLE log2 PARTITION OF log1 FOR VALUES IN ('x') SERVER far", func(m *datamap.Map) {
			m.Tables = append(m.Tables, datamap.Table{Name: "log", Key: []string{"person"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}}})
		}, []string{"alarm not a table log"}},
		{"words that stay", sqlite, words + synced, of("words", "body"), []string{"alarm words kept words", "notice trigger notes"}},
		{"words of which nobody tells", sqlite, words + forgets, of("words", "body"), []string{"alarm words kept words"}},
		{"words that go", sqlite, words + synced + forgets, of("words", "body"), []string{"notice trigger notes"}},
		{"words of whom nobody knows", sqlite, "CREATE VIRTUAL TABLE words USING fts5(body)", of("words", "body"), []string{"notice words kept words"}},
		{"words of what is about nobody", sqlite, "CREATE VIRTUAL TABLE words USING fts5(percent, content=\"rates\", content_rowid='rowid')", of("words", "percent"), nil},
		{"words as a table", sqlite, "CREATE VIRTUAL TABLE words USING fts5(person UNINDEXED, body)", asTable, []string{"alarm words kept words", "notice edge without index words.person"}},
		{"words as a table that forgets", sqlite, "CREATE VIRTUAL TABLE words USING fts5(person UNINDEXED, body)" + forgets, asTable, []string{"notice edge without index words.person"}},
		{"an index as a table", sqlite, "CREATE VIRTUAL TABLE words USING fts5(person UNINDEXED, body, content='notes')" + forgets, asTable, []string{"alarm not a table words", "notice edge without index words.person"}},
		{"words of MariaDB", mariadb, "CREATE FULLTEXT INDEX words ON notes (body);\nCREATE TABLE more (id INT PRIMARY KEY, a TEXT, FULLTEXT (a))", of("more", "id", "a"), []string{"notice words kept notes"}},
		{"a table that nobody mapped, with words", sqlite, words, nothing, []string{"alarm unclassified table words", "alarm words kept words"}},
	})
}
