package gormfield_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Letter has a sealed column of text, with a name that is a word of SQL.
type Letter struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	Key    string `gorm:"serializer:crmguard"`
}

// guarded is an environment with a table whose sealed column is of text.
func guarded(t *testing.T, d testdb.Database) *env {
	t.Helper()
	tables := append([]encryption.Table{{Name: "letters", Columns: []encryption.Column{{Name: "key", Text: true}}}}, definitions...)
	e := newEnvWith(t, d, gormfield.Config{Tables: tables, Tenant: mainTenant})
	switch d.Name {
	case testdb.MariaDB:
		e.exec(t, "CREATE TABLE letters (id BIGINT PRIMARY KEY, person VARCHAR(60), `key` VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin)")
	default:
		e.exec(t, `CREATE TABLE letters (id BIGINT PRIMARY KEY, person VARCHAR(60), "key" VARCHAR(600))`)
	}
	return e
}

func (e *env) guard(t *testing.T) {
	t.Helper()
	statements, err := e.plugin.GuardSQL(e.db)
	require.NoError(t, err)
	e.exec(t, statements...)
}

// Check says at the start whether the plugin is in use, and whether the database
// refuses the clear: which it then does for a *gorm.DB without the plugin, too.
func TestTheDatabaseRefusesTheClear(t *testing.T) {
	clear := strings.Repeat("in the clear ", 9)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := guarded(t, d)
		err := e.plugin.Check(e.db)
		require.ErrorIs(t, err, gormfield.ErrUnguarded)
		for _, column := range []string{"contacts.email", "contacts.notes", "contacts.phone", "contacts.street", "calls.text", "letters.key"} {
			require.ErrorContains(t, err, column)
		}
		e.guard(t)
		require.NoError(t, e.plugin.Check(e.db))

		// With the plugin everything is as before, the shortest values included.
		e.stored(t)
		require.NoError(t, e.db.Create(&Contact{ID: 2, Person: "p1"}).Error)
		require.NoError(t, e.db.Model(&Contact{ID: 2, Person: "p1"}).Select("Email", "Notes").Updates(Contact{Notes: new("")}).Error)
		require.NoError(t, e.db.Create(&Letter{ID: 1, Person: "p1"}).Error)
		require.NoError(t, e.db.Create(&Letter{ID: 2, Person: "p1", Key: "secret"}).Error)
		var letters []Letter
		require.NoError(t, e.db.Order("id").Find(&letters).Error)
		require.Equal(t, "secret", letters[1].Key)

		bare, err := gorm.Open(e.db.Dialector, &gorm.Config{Logger: silent()})
		require.NoError(t, err)
		bare = bare.WithContext(t.Context())
		err = e.plugin.Check(bare)
		require.ErrorIs(t, err, gormfield.ErrUnsealed)
		before := e.cells(t, "SELECT * FROM contacts ORDER BY id")
		for _, value := range []any{clear, []byte(clear), "x", "", "\x01" + clear[:20]} {
			for what, tx := range map[string]*gorm.DB{
				"Update":        bare.Model(&Contact{ID: 1}).Update("email", value),
				"Updates":       bare.Model(&Contact{ID: 1}).Updates(map[string]any{"name": "x", "notes": value}),
				"UpdateColumn":  bare.Model(&Contact{ID: 1}).UpdateColumn("street", value),
				"UpdateColumns": bare.Table("contacts").Where("id = 1").UpdateColumns(map[string]any{"phone": value}),
				"Create":        bare.Model(&Contact{}).Create(map[string]any{"id": 3, "person": "p1", "email": value}),
				"Create a list": bare.Table("calls").Create([]map[string]any{{"id": 4, "person": "p1", "text": value}}),
			} {
				require.Error(t, tx.Error, what)
			}
		}
		for _, value := range []string{clear, "", "cg1.", "CG1." + clear, "cg1x" + clear, "xcg1." + clear} {
			require.Error(t, bare.Model(&Letter{}).Where("id = 1").Update("key", value).Error)
			require.Error(t, bare.Model(&Letter{}).Create(map[string]any{"id": 3, "person": "p1", "key": value}).Error)
		}
		require.NoError(t, bare.Model(&Letter{}).Where("id = 1").Update("key", nil).Error, "NULL is NULL")
		require.Equal(t, before, e.cells(t, "SELECT * FROM contacts ORDER BY id"))
		require.Empty(t, e.cells(t, "SELECT * FROM calls"))
	})
}

// A guard that was taken away, that does not bind, or that another condition took
// the name of, is none.
func TestCheckSeesAGuardThatIsNone(t *testing.T) {
	const name = "crmguard_contacts_notes_0f26140d"
	weak := map[testdb.Name]map[string][]string{
		testdb.SQLite: {
			"taken away": {`DROP TRIGGER ` + name + `_update`},
			"another": {
				`DROP TRIGGER ` + name + `_insert`,
				`CREATE TRIGGER ` + name + `_insert BEFORE INSERT ON contacts WHEN NEW.notes = 'x' BEGIN SELECT RAISE(ABORT, 'no'); END`,
			},
		},
		testdb.PostgresC: {
			"taken away": {`ALTER TABLE contacts DROP CONSTRAINT ` + name},
			"another":    {`ALTER TABLE contacts DROP CONSTRAINT ` + name, `ALTER TABLE contacts ADD CONSTRAINT ` + name + ` CHECK (octet_length(notes) > 33)`},
			"shorter": {
				`ALTER TABLE contacts DROP CONSTRAINT ` + name,
				`ALTER TABLE contacts ADD CONSTRAINT ` + name + ` CHECK (substring(notes from 1 for 1) = decode('01', 'hex'))`,
			},
			"not validated": {
				`ALTER TABLE contacts DROP CONSTRAINT ` + name,
				`ALTER TABLE contacts ADD CONSTRAINT ` + name + ` CHECK (octet_length(notes) >= 33 AND substring(notes from 1 for 1) = decode('01', 'hex')) NOT VALID`,
			},
			"of other columns": {`ALTER TABLE contacts DROP CONSTRAINT ` + name, `ALTER TABLE contacts ADD CONSTRAINT ` + name + ` CHECK (octet_length(email) >= 33)`},
		},
		testdb.MariaDB: {
			"taken away": {`ALTER TABLE contacts DROP CONSTRAINT ` + name},
			"another":    {`ALTER TABLE contacts DROP CONSTRAINT ` + name, `ALTER TABLE contacts ADD CONSTRAINT ` + name + ` CHECK (notes <> 'x')`},
		},
	}
	weak[testdb.PostgresICU] = weak[testdb.PostgresC]
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for what, statements := range weak[d.Name] {
			t.Run(what, func(t *testing.T) {
				e := guarded(t, testdb.New(t, d.Name))
				e.guard(t)
				require.NoError(t, e.plugin.Check(e.db))
				e.exec(t, statements...)
				err := e.plugin.Check(e.db)
				require.ErrorIs(t, err, gormfield.ErrUnguarded)
				require.ErrorContains(t, err, "contacts.notes")
				require.NotContains(t, err.Error(), "contacts.email")
			})
		}
	})
}

// Check sees that the plugin is another one, or was taken out again.
func TestCheckSeesThePluginItself(t *testing.T) {
	e := guarded(t, testdb.New(t, testdb.SQLite))
	e.guard(t)
	other, err := gormfield.New(e.vault, gormfield.Config{Tables: definitions, Tenant: mainTenant})
	require.NoError(t, err)
	require.ErrorIs(t, other.Check(e.db), gormfield.ErrUnsealed)
	require.NoError(t, e.plugin.Check(e.db.Session(&gorm.Session{PrepareStmt: true})))
	require.NoError(t, e.db.Callback().Update().Remove("crmguard:seal"))
	require.ErrorIs(t, e.plugin.Check(e.db), gormfield.ErrUnsealed)
}

// A guard is found where the definition names the schema, and has a name that every
// database takes.
func TestAGuardOfATableInASchemaWithALongName(t *testing.T) {
	asks := map[testdb.Name]string{testdb.SQLite: "SELECT 'main'", testdb.MariaDB: "SELECT DATABASE()", testdb.PostgresC: "SELECT current_schema()", testdb.PostgresICU: "SELECT current_schema()"}
	long := "contacts_of_the_customers_of_the_branches_in_the_south"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		var schema string
		require.NoError(t, d.Open(t).QueryRowContext(t.Context(), asks[d.Name]).Scan(&schema))
		e := newEnvWith(t, d, gormfield.Config{Tables: []encryption.Table{
			{Name: "contacts", SQL: schema + ".contacts", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}, {Name: "notes"}, {Name: "phone"}, {Name: "street"}}},
			{Name: long, Columns: []encryption.Column{{Name: "first_long_column"}, {Name: "second_long_column"}}},
		}, Tenant: mainTenant})
		cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)"}[d.Name]
		if cell == "" {
			cell = "BYTEA"
		}
		e.exec(t, "CREATE TABLE "+long+" (id BIGINT PRIMARY KEY, person VARCHAR(60), first_long_column "+cell+", second_long_column "+cell+")")
		require.ErrorIs(t, e.plugin.Check(e.db), gormfield.ErrUnguarded)
		e.guard(t)
		require.NoError(t, e.plugin.Check(e.db))
		_, err := e.raw.ExecContext(t.Context(), "INSERT INTO "+long+" (id, second_long_column) VALUES (1, 'in the clear in the clear in the clear in the clear')")
		require.Error(t, err)
	})
}

// Check is for the account of the application, which has rights on rows only.
func TestCheckAsTheAccountOfTheApplication(t *testing.T) {
	for _, name := range testdb.Names() {
		if name == testdb.SQLite {
			continue // which has no accounts
		}
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			e := guarded(t, d)
			role, as := d.Role(t)
			for _, table := range []string{"contacts", "calls", "letters"} {
				e.exec(t, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+table+" TO "+role)
			}
			dialector, _ := dialect(t, as)
			db, err := gorm.Open(dialector, &gorm.Config{Logger: silent()})
			require.NoError(t, err)
			require.NoError(t, db.Use(e.plugin))
			require.ErrorIs(t, e.plugin.Check(db.WithContext(t.Context())), gormfield.ErrUnguarded)
			e.guard(t)
			require.NoError(t, e.plugin.Check(db.WithContext(t.Context())))
		})
	}
}

// Two columns whose names read alike behind one another have each a guard.
func TestNoTwoGuardsHaveOneName(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvWith(t, d, gormfield.Config{Tables: []encryption.Table{
			{Name: "contact", Columns: []encryption.Column{{Name: "notes_text"}}},
			{Name: "contact_notes", Columns: []encryption.Column{{Name: "text", Text: true}}},
		}, Tenant: mainTenant})
		cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)", testdb.PostgresC: "BYTEA", testdb.PostgresICU: "BYTEA"}[d.Name]
		e.exec(t, "CREATE TABLE contact (id BIGINT PRIMARY KEY, person VARCHAR(60), notes_text "+cell+")",
			"CREATE TABLE contact_notes (id BIGINT PRIMARY KEY, person VARCHAR(60), text VARCHAR(600))")
		e.guard(t)
		require.NoError(t, e.plugin.Check(e.db))
	})
}

// A guard is found however the session has names quoted, and whatever stands beside it.
func TestCheckUnderEverySpellingOfNames(t *testing.T) {
	e := guarded(t, testdb.New(t, testdb.MariaDB))
	e.guard(t)
	e.raw.SetMaxOpenConns(1)
	const name = "crmguard_contacts_notes_0f26140d"
	e.exec(t, "ALTER TABLE contacts ADD COLUMN `x\nCONSTRAINT "+name+" CHECK (1)` INT COMMENT ', CONSTRAINT "+name+" CHECK (1)'",
		"ALTER TABLE contacts ADD CONSTRAINT `a``,(` CHECK (name <> ')' AND - - company_id <> 3)")
	for _, set := range []string{"SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')", "SET sql_quote_show_create = 0", "SET sql_mode = 'NO_BACKSLASH_ESCAPES'", "SET sql_mode = ''"} {
		e.exec(t, set)
		require.NoError(t, e.plugin.Check(e.db), set)
	}
	e.exec(t, "ALTER TABLE contacts DROP CONSTRAINT "+name)
	require.ErrorIs(t, e.plugin.Check(e.db), gormfield.ErrUnguarded, "a text that looks like it is none")
}
