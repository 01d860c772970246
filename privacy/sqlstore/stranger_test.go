package sqlstore_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// eachDriver runs f on an empty database of each server, through each of its
// drivers.
func eachDriver(t *testing.T, f func(t *testing.T, db *sql.DB, name testdb.Name)) {
	for _, name := range testdb.Names()[1:] {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				db := testdb.New(t, name).OpenWith(t, driver)
				db.SetMaxOpenConns(1)
				require.NoError(t, privacy.Install(t.Context(), db))
				if name != testdb.MariaDB {
					run(t, db, `CREATE SCHEMA extensions`, `CREATE EXTENSION citext SCHEMA extensions`, `CREATE DOMAIN who AS varchar(20)`, `CREATE TYPE stage AS ENUM ('open', 'won', 'lost')`,
						`CREATE COLLATION without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
				}
				f(t, db, name)
			})
		}
	}
}

// tableOf names a table for a case: on one connection a table of the same name
// and other types would meet what the driver remembers of the first.
func tableOf(prefix, name string) string {
	return fmt.Sprintf("%s_%x", prefix, sha256.Sum256([]byte(name)))[:30]
}

func run(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, query := range statements {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
}

var (
	postgres = []testdb.Name{testdb.PostgresC, testdb.PostgresICU}
	mariadb  = []testdb.Name{testdb.MariaDB}
)

// typed columns of the databases: which ids a column holds, in the one spelling
// by which each is found, and spellings that name nobody.
type typedColumn struct {
	on     []testdb.Name
	column string
	stored []string // SQL literals
	ids    []string // of the stored values
	nobody []string
}

func typedColumns() map[string]typedColumn {
	const one, two = "01900000-0000-7000-8000-00000000000a", "01900000-0000-7000-8000-00000000000b"
	look := []string{"p1 ", " p1", "pi", "p1\u200b", "é", "p1\\", "'", "?", "$1"}
	return map[string]typedColumn{
		"text":         {postgres, `text`, []string{`'p1'`, `'P1'`, `'p1 '`, `'é'`, `E'e\u0301'`}, []string{"p1", "P1", "p1 ", "é", "e\u0301"}, []string{" p1", "p1\u200b", "É", "'", "?"}},
		"varchar":      {postgres, `varchar(20)`, []string{`'p1'`, `'P1'`}, []string{"p1", "P1"}, look},
		"char":         {postgres, `char(5)`, []string{`'p1'`, `'P1'`}, []string{"p1", "P1"}, look},
		"citext":       {postgres, `extensions.citext`, []string{`'p1'`, `'P1'`}, []string{"p1", "P1"}, look},
		"a domain":     {postgres, `who`, []string{`'p1'`, `'P1'`}, []string{"p1", "P1"}, look},
		"without case": {postgres, `text COLLATE without_case`, []string{`'p1'`, `'P1'`}, []string{"p1", "P1"}, look},
		"bigint":       {postgres, `bigint`, []string{`17`, `9223372036854775807`, `-1`}, []string{"17", "9223372036854775807", "-1"}, []string{"017", "17.0", "1.7e1", "+17", " 17", "17 ", "x", "", "9223372036854775808", "0x11", "１７"}},
		"integer":      {postgres, `integer`, []string{`17`}, []string{"17"}, []string{"017", "9999999999", "p1"}},
		"uuid":         {postgres, `uuid`, []string{`'` + one + `'`, `'` + two + `'`}, []string{one, two}, []string{strings.ToUpper(one), strings.ReplaceAll(one, "-", ""), "{" + one + "}", "urn:uuid:" + one, "p1", ""}},
		"numeric":      {postgres, `numeric(20,2)`, []string{`17`, `17.5`}, []string{"17.00", "17.50"}, []string{"17", "17.0", "017.00", "x"}},
		"bytea":        {postgres, `bytea`, []string{`'\x7031'`, `'\x5031'`}, []string{"p1", "P1"}, []string{`\x7031`, "p1 "}},
		"an enum":      {postgres, `stage`, []string{`'open'`, `'won'`}, []string{"open", "won"}, []string{"Open", "lost", ""}},
		"VARCHAR":      {mariadb, `VARCHAR(40)`, []string{`'p1'`, `'P1'`, `'p1 '`, `'é'`, `'e'`}, []string{"p1", "P1", "p1 ", "é", "e"}, []string{"p1  ", "É", "p1\u200b", "'", "?"}},
		"CHAR":         {mariadb, `CHAR(40)`, []string{`'p1'`, `'P1'`}, []string{"p1", "P1"}, look},
		"latin1":       {mariadb, `VARCHAR(40) CHARACTER SET latin1`, []string{`'p1'`, `'P1'`, `'é'`}, []string{"p1", "P1", "é"}, []string{"p1 ", "王", "e"}},
		"utf8mb4_bin":  {mariadb, `VARCHAR(40) COLLATE utf8mb4_bin`, []string{`'p1'`, `'p1 '`}, []string{"p1", "p1 "}, []string{"P1", "p1  "}},
		"VARBINARY":    {mariadb, `VARBINARY(40)`, []string{`'p1'`, `'p1 '`}, []string{"p1", "p1 "}, []string{"P1", "p1  "}},
		"BIGINT":       {mariadb, `BIGINT`, []string{`17`, `-1`}, []string{"17", "-1"}, []string{"017", "17.0", "17abc", "x", "", " 17", "1.7e1"}},
		"unsigned":     {mariadb, `BIGINT UNSIGNED`, []string{`17`, `18446744073709551615`}, []string{"17", "18446744073709551615"}, []string{"-1", "17x", "18446744073709551616"}},
		"UUID":         {mariadb, `UUID`, []string{`'` + one + `'`, `'` + two + `'`}, []string{one, two}, []string{strings.ToUpper(one), "p1", "", strings.ReplaceAll(one, "-", "")}},
		"ENUM":         {mariadb, `ENUM('open', 'won')`, []string{`'open'`, `'won'`}, []string{"open", "won"}, []string{"Open", "1", "lost", ""}},
		"DECIMAL":      {mariadb, `DECIMAL(20,2)`, []string{`17`, `17.5`}, []string{"17.00", "17.50"}, []string{"17", "17.0", "x"}},
	}
}

// A person is who the column holds in exactly that spelling, whatever its type
// takes for equal; a spelling that no value of the type has names nobody, and
// is no error that shuts the store.
func TestAPersonIsWhoTheColumnHoldsInThatSpelling(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		for name, c := range typedColumns() {
			if !slices.Contains(c.on, database) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				s, table := people(t, db, c)
				require.ElementsMatch(t, c.ids, listed(t, s))
				for _, id := range c.nobody {
					rows, err := s.Find(t.Context(), datastore.Scope{Tenant: "t1", Person: id})
					if id == "" {
						require.ErrorIs(t, err, datastore.ErrScope)
						continue
					}
					require.NoError(t, err, "%q", id)
					require.Empty(t, rows, "%q", id)
					require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: id}, nil))
				}
				left := len(c.ids)
				for _, id := range c.ids {
					scope := datastore.Scope{Tenant: "t1", Person: id}
					rows, err := s.Find(t.Context(), scope)
					require.NoError(t, err, "%q", id)
					require.Len(t, rows, 1, "%q", id)
					for record, err := range s.Export(t.Context(), datastore.Scope{Tenant: "t1", Person: id}) {
						require.NoError(t, err)
						note := slices.IndexFunc(record.Fields, func(f datastore.Field) bool { return f.Name == "note" })
						require.Equal(t, "note", record.Fields[note].Value)
					}
					require.NoError(t, s.Erase(t.Context(), scope, nil), "%q", id)
					left--
					require.Equal(t, left, count(t, db, `SELECT COUNT(*) FROM `+table), "%q", id)
					still, err := s.Remaining(t.Context(), scope, rows)
					require.NoError(t, err)
					require.Zero(t, still)
				}
			})
		}
	})
}

// people makes a table whose persons, tenants and keys are all of the type.
func people(t *testing.T, db *sql.DB, c typedColumn) (s *sqlstore.Store, table string) {
	t.Helper()
	key := strings.Replace(c.column, "who", "varchar(20)", 1)
	table = tableOf("logins", c.column)
	run(t, db, `CREATE TABLE `+table+` (id `+key+` NOT NULL, person `+c.column+` NOT NULL, note VARCHAR(20))`)
	for _, literal := range c.stored {
		run(t, db, fmt.Sprintf(`INSERT INTO %[2]s VALUES (%[1]s, %[1]s, 'note')`, literal, table))
	}
	return open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{
		Name: table, Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "note", Category: "text"}},
	}}}), table
}

func listed(t *testing.T, s *sqlstore.Store) (ids []string) {
	t.Helper()
	for person, err := range s.People(t.Context()) {
		require.NoError(t, err)
		ids = append(ids, person.ID)
	}
	return ids
}

// Pages go on where the last ended, over ids that the column takes for equal.
func TestPagesOfPeopleLoseNobody(t *testing.T) {
	const many = 800
	eachDriver(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		columns := []string{`text`, `text COLLATE without_case`}
		if database == testdb.MariaDB {
			columns = []string{`VARCHAR(40)`}
		}
		for _, column := range columns {
			t.Run(strings.Fields(column)[len(strings.Fields(column))-1], func(t *testing.T) {
				table := tableOf("logins", column)
				run(t, db, `CREATE TABLE `+table+` (id VARCHAR(40) PRIMARY KEY, person `+column+`, tenant `+column+`)`)
				for _, form := range []string{"p", "P", "ä", "_"} {
					run(t, db, `INSERT INTO `+table+` WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+fmt.Sprint(many)+`)
						SELECT concat('`+fmt.Sprintf("%x", form)+`', i), concat('`+form+`', i), CASE WHEN i = 1 THEN 'T' ELSE 't' END FROM n`)
				}
				s := open(t, db, &datamap.Map{Tables: []datamap.Table{{Name: table, Key: []string{"id"}, Tenant: "tenant", Person: "person", Erase: datamap.Delete}}})
				seen := map[datastore.Person]int{}
				for person, err := range s.People(t.Context()) {
					require.NoError(t, err)
					seen[person]++
				}
				require.Len(t, seen, 4*many)
				for _, form := range []string{"p", "P", "ä", "_"} {
					require.Equal(t, 1, seen[datastore.Person{Tenant: "T", ID: form + "1"}])
					require.Equal(t, 1, seen[datastore.Person{Tenant: "t", ID: form + fmt.Sprint(many)}])
				}
				require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t", Person: "p1"}, nil))
				require.Equal(t, 4*many, count(t, db, `SELECT COUNT(*) FROM `+table), "tenant T is another one")
			})
		}
	})
}

// A map may name tables behind a schema, and what refers across schemas counts.
func TestTablesOfTwoSchemas(t *testing.T) {
	m := func(crm, billing string) *datamap.Map {
		return &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
			{Name: crm + ".contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
			{
				Name: billing + ".invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
				Keep:    &datamap.Keep{Because: "law", From: "issued", Years: 10},
				Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "street", Category: "street", Erase: datamap.Retain}, {Name: "contact"}},
			},
		}}
	}
	each(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name == testdb.SQLite {
			_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: m("crm", "billing")})
			require.ErrorIs(t, err, datamap.ErrMap)
			require.ErrorContains(t, err, "SQLite has no schemas")
			return
		}
		crm, billing := "crm", "billing"
		if name == testdb.MariaDB { // a schema is a database of the server there
			crm, billing = fmt.Sprintf("crm_%d", time.Now().UnixNano()), fmt.Sprintf("billing_%d", time.Now().UnixNano())
			t.Cleanup(func() {
				for _, schema := range []string{billing, crm} {
					_, err := db.ExecContext(context.WithoutCancel(t.Context()), `DROP DATABASE `+schema)
					require.NoError(t, err)
				}
			})
		}
		run(t, db, `CREATE SCHEMA `+crm, `CREATE SCHEMA `+billing,
			`CREATE TABLE `+crm+`.contacts (id varchar(40) PRIMARY KEY, person varchar(40))`,
			`CREATE INDEX contacts_person ON `+crm+`.contacts (person)`,
			`CREATE TABLE `+billing+`.invoices (id varchar(40) PRIMARY KEY, person varchar(40), street varchar(40), issued bigint, contact varchar(40))`,
			`INSERT INTO `+crm+`.contacts VALUES ('c1', 'p1'), ('c2', 'p2')`, `INSERT INTO `+billing+`.invoices VALUES ('i1', 'p1', 'Street', 1714557600000000, 'c1')`)
		s := open(t, db, m(crm, billing))
		require.Contains(t, unfit(t, db, m(crm, billing)), "edge without index "+billing+".invoices.person")
		require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM `+crm+`.contacts`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM `+billing+`.invoices WHERE person = 'p1'`))

		run(t, db, `DELETE FROM `+billing+`.invoices`,
			`ALTER TABLE `+billing+`.invoices ADD CONSTRAINT of_contact FOREIGN KEY (contact) REFERENCES `+crm+`.contacts (id) ON DELETE CASCADE`)
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: m(crm, billing)})
		var refused *sqlstore.CascadeError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, sqlstore.CascadeError{Deleted: crm + ".contacts", Kept: billing + ".invoices"}, *refused)
	})
}

// What could only seem to be erased is refused before the first erasure.
func TestTablesThatCannotBeErasedFromAreRefused(t *testing.T) {
	refused := func(t *testing.T, db *sql.DB, table, why string) {
		t.Helper()
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: table, Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}}})
		require.ErrorIs(t, err, datamap.ErrMap)
		require.ErrorContains(t, err, "table "+table+": ")
		require.ErrorContains(t, err, why)
	}
	each(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name == testdb.SQLite {
			return
		}
		refused(t, db, "nowhere", "not in this database")
		refused(t, db, "cases_of", "not in this database")
		run(t, db, `CREATE TABLE half (id bigint)`, `CREATE VIEW seen AS SELECT id, person FROM people`)
		refused(t, db, "half", "no column person")
		refused(t, db, "seen", "not a table")
		if name == testdb.MariaDB {
			run(t, db, `CREATE TABLE kept (id bigint, person varchar(40)) WITH SYSTEM VERSIONING`, `CREATE TABLE torn (id bigint, person varchar(40)) ENGINE = MyISAM`)
			refused(t, db, "kept", "history")
			refused(t, db, "torn", "no transactions")
			return
		}
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
			{Name: "people", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}, {Name: "public.people", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
		}}})
		require.ErrorContains(t, err, "the same table as people")
		role := fmt.Sprintf("crmguard_tenant_%d", time.Now().UnixNano())
		run(t, db, `CREATE ROLE `+role, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role, `ALTER TABLE people ENABLE ROW LEVEL SECURITY`, `SET ROLE `+role)
		t.Cleanup(func() {
			for _, query := range []string{`RESET ROLE`, `DROP OWNED BY ` + role, `DROP ROLE ` + role} {
				_, err := db.ExecContext(context.WithoutCancel(t.Context()), query)
				require.NoError(t, err)
			}
		})
		refused(t, db, "people", "row level security")
	})
}

// An obligation begins at what the database means, in whatever type, and a row
// whose date says nothing is kept.
func TestDatesOfEveryType(t *testing.T) {
	cases := []struct {
		on            []testdb.Name
		column, value string
		kept          bool
	}{
		{postgres, `date`, `'2024-05-01'`, true},
		{postgres, `date`, `'2001-05-01'`, false},
		{postgres, `date`, `'infinity'`, true},
		{postgres, `timestamptz`, `'2024-05-01 12:00:00+02'`, true},
		{postgres, `timestamptz`, `'2001-05-01 12:00:00+02'`, false},
		{postgres, `timestamptz`, `'-infinity'`, true},
		{postgres, `timestamp`, `'2001-05-01 12:00:00'`, false},
		{postgres, `numeric`, `988718400000000`, false},
		{postgres, `text`, `'soon'`, true},
		{postgres, `bigint`, `988718400`, true},
		{mariadb, `DATE`, `'2024-05-01'`, true},
		{mariadb, `DATE`, `'2001-05-01'`, false},
		{mariadb, `DATETIME(6)`, `'2024-05-01 12:00:00.5'`, true},
		{mariadb, `DATETIME`, `'2001-05-01 12:00:00'`, false},
		{mariadb, `DATETIME`, `'0000-00-00 00:00:00'`, true},
		{mariadb, `TIMESTAMP NULL`, `'2024-05-01 12:00:00'`, true},
		{mariadb, `TIMESTAMP NULL`, `'2001-05-01 12:00:00'`, false},
		{mariadb, `TIMESTAMP NULL`, `'0000-00-00 00:00:00'`, true},
		{mariadb, `VARCHAR(40)`, `'2001-05-01'`, false},
		{mariadb, `VARCHAR(40)`, `'soon'`, true},
	}
	eachDriver(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		if database == testdb.MariaDB {
			run(t, db, `SET SESSION sql_mode = ''`, `SET SESSION time_zone = '+09:00'`)
		}
		for _, c := range cases {
			if !slices.Contains(c.on, database) {
				continue
			}
			t.Run(strings.NewReplacer("'", "", " ", "_").Replace(c.column+" "+c.value), func(t *testing.T) {
				table := tableOf("invoices", c.column+c.value)
				run(t, db, `CREATE TABLE `+table+` (id bigint PRIMARY KEY, person varchar(40), street varchar(40), issued `+c.column+`)`, `INSERT INTO `+table+` VALUES (1, 'p1', 'Street', `+c.value+`), (2, 'p1', 'Street', NULL)`)
				s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{
					Name: table, Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
					Keep:    &datamap.Keep{Because: "law", From: "issued", Years: 10},
					Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "street", Category: "street", Erase: datamap.Retain}},
				}}})
				require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1", Now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}, nil))
				require.Equal(t, map[bool]int{true: 1}[c.kept], count(t, db, `SELECT COUNT(*) FROM `+table))
			})
		}
	})
}

// A creation time means the same moment in every type, driver and time zone of
// the session; a day without a time of day says nothing.
func TestCreationTimesOfEveryType(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 30, 0, 0, time.UTC)
	cases := map[string]struct {
		on            []testdb.Name
		column, value string
		want          time.Time
	}{
		"timestamptz":  {postgres, `timestamptz`, `'2026-05-01 14:30:00+02'`, at},
		"timestamp":    {postgres, `timestamp`, `'2026-05-01 12:30:00'`, at},
		"microseconds": {postgres, `bigint`, fmt.Sprint(at.UnixMicro()), at},
		"text":         {postgres, `text`, `'2026-05-01T14:30:00+02:00'`, at},
		"text day":     {postgres, `text`, `'2026-05-01'`, time.Time{}},
		"text digits":  {postgres, `text`, `'1777638600'`, time.Time{}},
		"VARCHAR day":  {mariadb, `VARCHAR(40)`, `'2026-05-01'`, time.Time{}},
		"date":         {postgres, `date`, `'2026-05-01'`, time.Time{}},
		"infinity":     {postgres, `timestamptz`, `'infinity'`, time.Time{}},
		"DATETIME":     {mariadb, `DATETIME`, `'2026-05-01 12:30:00'`, at},
		"TIMESTAMP":    {mariadb, `TIMESTAMP NULL`, `'2026-05-01 21:30:00'`, at}, // written at +09:00
		"DATE":         {mariadb, `DATE`, `'2026-05-01'`, time.Time{}},
		"VARCHAR":      {mariadb, `VARCHAR(40)`, `'2026-05-01T12:30:00Z'`, at},
		"BIGINT":       {mariadb, `BIGINT`, fmt.Sprint(at.UnixMicro()), at},
	}
	eachDriver(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		if database == testdb.MariaDB {
			run(t, db, `SET SESSION time_zone = '+09:00'`)
		}
		for name, c := range cases {
			if !slices.Contains(c.on, database) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				table := tableOf("logins", name)
				run(t, db, `CREATE TABLE `+table+` (id bigint PRIMARY KEY, person varchar(40), created `+c.column+`)`, `INSERT INTO `+table+` VALUES (1, 'p1', `+c.value+`)`)
				s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: table, Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete}}})
				rows, err := s.Find(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"})
				require.NoError(t, err)
				require.Equal(t, []datastore.Row{{Table: table, Key: "1", Created: c.want, Class: datastore.Deleted}}, rows)
			})
		}
	})
}

// Edges between columns of different types and orders of text lead to the
// person all the same, and to nobody else.
func TestEdgesBetweenColumnsOfDifferentTypes(t *testing.T) {
	cases := map[string]struct {
		on       []testdb.Name
		key, ref string
		id       string
		like     string // what MariaDB takes for the same when it compares text with numbers
	}{
		"bigint and text":       {postgres, `bigint`, `text`, `17`, `'017'`},
		"uuid and text":         {postgres, `uuid`, `text`, `'01900000-0000-7000-8000-00000000000a'`, `'01900000-0000-7000-8000-00000000000A'`},
		"text of two orders":    {postgres, `text COLLATE "C"`, `text COLLATE "POSIX"`, `'c1'`, `'C1'`},
		"BIGINT and VARCHAR":    {mariadb, `BIGINT`, `VARCHAR(40)`, `17`, `'17abc'`},
		"VARCHAR of two orders": {mariadb, `VARCHAR(40) COLLATE utf8mb4_general_ci`, `VARCHAR(40) COLLATE utf8mb4_unicode_ci`, `'c1'`, `'C1'`},
	}
	eachDriver(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
		for name, c := range cases {
			if !slices.Contains(c.on, database) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				contacts, notes := tableOf("contacts", name), tableOf("notes", name)
				run(t, db, `CREATE TABLE `+contacts+` (id `+c.key+` PRIMARY KEY, person varchar(40))`, `CREATE TABLE `+notes+` (id bigint PRIMARY KEY, contact `+c.ref+`)`,
					`INSERT INTO `+contacts+` VALUES (`+c.id+`, 'p1')`, `INSERT INTO `+notes+` VALUES (1, `+strings.Replace(c.id, "17", "'17'", 1)+`), (2, `+c.like+`)`)
				s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
					{Name: contacts, Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
					{Name: notes, Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"contact"}, Table: contacts}}, Erase: datamap.Delete},
				}})
				require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
				require.Equal(t, 0, count(t, db, `SELECT COUNT(*) FROM `+contacts))
				require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM `+notes))
				require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM `+notes+` WHERE id = 2`))
			})
		}
	})
}

// What a database refuses is told by its code and its names; what a row or a
// trigger says is not.
func TestARefusalIsToldByItsNames(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		s := open(t, db, dataMap())
		plant(db)(t, "t1", "p1")
		exec(t, db, `CREATE TABLE logins (id INTEGER PRIMARY KEY, case_id INTEGER REFERENCES cases(id))`)
		exec(t, db, `INSERT INTO logins VALUES (1, 1)`)
		err := s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
		var detail *sqlstore.DatabaseError
		require.ErrorAs(t, err, &detail)
		require.ErrorContains(t, err, "a foreign key refuses the change")
		if name != testdb.SQLite { // it does not say which
			require.ErrorContains(t, err, "table logins, constraint logins_")
		}
		exec(t, db, `DROP TABLE logins`)
		const words = "secret words"
		switch name {
		case testdb.SQLite:
			exec(t, db, `CREATE TRIGGER no BEFORE DELETE ON cases BEGIN SELECT RAISE(ABORT, '`+words+`'); END`)
		case testdb.MariaDB:
			run(t, db, `CREATE TRIGGER no BEFORE DELETE ON cases FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '`+words+`'`)
		default:
			run(t, db, `CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE undefined_table USING MESSAGE = '`+words+`'; END $$`, `CREATE TRIGGER no BEFORE DELETE ON cases FOR EACH ROW EXECUTE FUNCTION no()`)
		}
		err = s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
		require.ErrorAs(t, err, &detail)
		require.NotContains(t, err.Error(), words)
		var answer *sqldb.DriverError
		require.ErrorAs(t, err, &answer)
		require.ErrorContains(t, errors.Unwrap(answer), words, "the driver's own error is there for whoever asks for it")
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM marks`), "nothing happened")
	})
}

// Two rows of one person that stand in each other's way are no reason to lose
// an erasure: a row that moves to another person meanwhile stays theirs.
func TestARowThatMovesMeanwhileIsNotErased(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name == testdb.SQLite {
			return // its writers are serial
		}
		db.SetMaxOpenConns(3)
		d, err := sqldb.Ask(t.Context(), db)
		require.NoError(t, err)
		exec(t, db, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES (1, 'p1'), (2, 'p1')`)
		s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}})
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), d.Bind(`UPDATE contacts SET person = ? WHERE id = 1`), "p2")
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil) }()
		time.Sleep(200 * time.Millisecond) // long enough for the erasure to come to the row
		require.NoError(t, tx.Commit())
		require.NoError(t, <-done)
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM contacts WHERE id = 1 AND person = 'p2'`))
		require.Equal(t, 0, count(t, db, `SELECT COUNT(*) FROM contacts WHERE id = 2`))
	})
}
