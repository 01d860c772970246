package liveschema_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

// base is a schema about which there is nothing to say. {id} is a text that is
// compared by bytes.
const base = `
CREATE TABLE people (id {id} PRIMARY KEY, tenant {id} NOT NULL, name VARCHAR(100) NOT NULL, email VARCHAR(100), born DATE, score INT);
CREATE TABLE notes (id {id} PRIMARY KEY, person {id}, about {id}, body VARCHAR(100), FOREIGN KEY (person) REFERENCES people (id));
CREATE INDEX notes_person ON notes (person);
CREATE INDEX notes_about ON notes (about);
CREATE TABLE bills (id {id} PRIMARY KEY, tenant {id} NOT NULL, person {id}, note {id}, name VARCHAR(100), phone VARCHAR(100), mail VARCHAR(100), issued DATE);
CREATE INDEX bills_person ON bills (person);
CREATE TABLE meetings (id {id} PRIMARY KEY, tenant {id} NOT NULL, body VARCHAR(100));
CREATE TABLE attendees (meeting {id} NOT NULL, person {id} NOT NULL, PRIMARY KEY (meeting, person));
CREATE INDEX attendees_person ON attendees (person);
CREATE TABLE rates (id {id} PRIMARY KEY, percent INT)`

// baseMap is the map of base.
func baseMap() *datamap.Map {
	col := func(name string, action datamap.Action, to string) datamap.Column {
		return datamap.Column{Name: name, Category: "x", Purpose: "dpv:CustomerCare", Basis: "dpv:Contract", Erase: action, To: to}
	}
	id := []string{"id"}
	return &datamap.Map{Tables: []datamap.Table{
		{Name: "people", Key: id, Tenant: "tenant", Person: "id", Erase: datamap.Delete, Columns: []datamap.Column{col("name", "", ""), col("email", "", ""), col("born", "", ""), col("score", "", "")}},
		{
			Name: "notes", Key: id, Erase: datamap.Delete, Columns: []datamap.Column{col("body", "", "")},
			Edges: []datamap.Edge{{Columns: []string{"person"}, Table: "people"}, {Columns: []string{"about"}, Table: "people", Unlink: datamap.Null}},
		},
		{
			Name: "bills", Key: id, Tenant: "tenant", Person: "person", Erase: datamap.Delete, Keep: &datamap.Keep{Because: "law", From: "issued", Years: 10},
			Columns: []datamap.Column{
				col("person", datamap.Retain, ""), col("name", datamap.Retain, ""), col("phone", datamap.Null, ""), col("mail", datamap.Redact, ""), {Name: "note"},
			},
		},
		{Name: "meetings", Key: id, Tenant: "tenant", Erase: datamap.Delete, Link: &datamap.Link{Table: "attendees", Record: "meeting", Person: "person"}, Columns: []datamap.Column{col("body", "", "")}},
		{Name: "rates", Key: id, Columns: []datamap.Column{{Name: "percent"}}},
	}}
}

// table is the table of that name.
func table(m *datamap.Map, name string) *datamap.Table {
	return &m.Tables[slices.IndexFunc(m.Tables, func(t datamap.Table) bool { return t.Name == name })]
}

// byMail has bills be found by an e-mail address, too.
func byMail(m *datamap.Map) {
	column(m, "people", "email").Identity = "email"
	column(m, "bills", "mail").Erase = datamap.Null
	bills := table(m, "bills")
	bills.Edges = append(bills.Edges, datamap.Edge{Columns: []string{"mail"}, Identity: "email", Unlink: datamap.Null})
}

// column is the column of that name.
func column(m *datamap.Map, of, name string) *datamap.Column {
	t := table(m, of)
	return &t.Columns[slices.IndexFunc(t.Columns, func(c datamap.Column) bool { return c.Name == name })]
}

var (
	sqlite   = []testdb.Name{testdb.SQLite}
	postgres = []testdb.Name{testdb.PostgresC, testdb.PostgresICU}
	mariadb  = []testdb.Name{testdb.MariaDB}
	servers  = slices.Concat(postgres, mariadb)
	all      = slices.Concat(sqlite, servers)
)

// run executes statements, written for all databases.
func run(t *testing.T, db *sql.DB, name testdb.Name, text string) {
	t.Helper()
	id := map[testdb.Name]string{testdb.SQLite: "TEXT", testdb.MariaDB: "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"}[name]
	if id == "" {
		id = "varchar(40)"
	}
	for statement := range strings.SplitSeq(strings.ReplaceAll(text, "{id}", id), ";\n") {
		if strings.TrimSpace(statement) != "" {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
	}
}

// said is what is found, without remedies and names that the database gave.
func said(findings liveschema.Findings) []string {
	out := []string{}
	for _, f := range findings {
		line := f.Level.String() + " " + string(f.Kind) + " " + f.Table
		if f.Column != "" {
			line += "." + f.Column
		}
		out = append(out, line)
	}
	return out
}
