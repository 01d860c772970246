package gormfield_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// exec changes the schema of a test.
func (e *env) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := e.raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

// Memo is sealed for its row, whose key is a text.
type Memo struct {
	ID     string `gorm:"primaryKey"`
	Person string
	Text   string `gorm:"serializer:crmguard"`
	Name   string
}

// loose is an environment whose columns take "P1" for "p1", as that of MariaDB do.
func loose(t *testing.T, d testdb.Database) *env {
	t.Helper()
	tables := append([]encryption.Table{{Name: "memos", Level: encryption.LevelRow, Columns: []encryption.Column{{Name: "text"}}}}, definitions...)
	e := newEnvWith(t, d, gormfield.Config{Tables: tables, Tenant: mainTenant})
	cell, collation := "BLOB", ""
	switch d.Name {
	case testdb.SQLite:
		collation = "COLLATE NOCASE"
		e.exec(t, "DROP TABLE contacts", strings.Replace(schemaFor(d.Name)[1], "person VARCHAR(60)", "person VARCHAR(60) COLLATE NOCASE", 1))
	case testdb.PostgresC, testdb.PostgresICU:
		cell, collation = "BYTEA", "COLLATE loose"
		e.exec(t, "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
			"ALTER TABLE contacts ALTER COLUMN person TYPE varchar(60) COLLATE loose")
	case testdb.MariaDB:
		collation = "COLLATE utf8mb4_general_ci"
	}
	e.exec(t, "CREATE TABLE memos (id VARCHAR(60) "+collation+" PRIMARY KEY, person VARCHAR(60) "+collation+", text "+cell+", name VARCHAR(60))")
	return e
}

// An owner that the database takes for the one of the row, spelled otherwise, is
// another owner: nothing is sealed for it in the row, and the row stays whose it is.
func TestAnOwnerThatIsSpelledOtherwiseIsAnother(t *testing.T) {
	partly := clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"email"})}
	ways := map[string]func(db *gorm.DB) *gorm.DB{
		"Update": func(db *gorm.DB) *gorm.DB { return db.Model(&Contact{ID: 1, Person: "P1"}).Update("email", newMail) },
		"Updates with a struct": func(db *gorm.DB) *gorm.DB {
			return db.Model(&Contact{ID: 1}).Updates(Contact{Person: "P1", Email: newMail})
		},
		"Updates with a map": func(db *gorm.DB) *gorm.DB {
			return db.Model(&Contact{}).Where("id = ?", 1).Updates(map[string]any{"person": "P1", "email": newMail})
		},
		"Updates of nothing sealed": func(db *gorm.DB) *gorm.DB {
			return db.Model(&Contact{ID: 1, Person: "P1"}).Updates(map[string]any{"person": "P1", "name": "x"})
		},
		"Save without a field": func(db *gorm.DB) *gorm.DB {
			return db.Omit("Email").Save(&Contact{ID: 1, Person: "P1", Name: "z"})
		},
		"an upsert of some": func(db *gorm.DB) *gorm.DB {
			return db.Clauses(partly).Create(&Contact{ID: 1, Person: "P1", Email: newMail})
		},
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := loose(t, d)
		for name, way := range ways {
			t.Run(name, func(t *testing.T) {
				e.clear(t)
				e.stored(t)
				if tx := way(e.db); tx.Error != nil {
					require.ErrorIs(t, tx.Error, gormfield.ErrOwner)
				} else {
					require.Zero(t, tx.RowsAffected)
				}
				var c Contact
				require.NoError(t, e.db.First(&c, 1).Error)
				whole(t, c)
				require.Equal(t, "Ann", c.Name)
				e.quiet(t)
			})
		}
		t.Run("blanks at the end", func(t *testing.T) {
			e.clear(t)
			e.stored(t)
			require.Zero(t, e.db.Model(&Contact{ID: 1, Person: "p1 "}).Update("email", newMail).RowsAffected)
			e.holds(t, 1, "email", "secret-ann@b.example")
		})
		t.Run("all goes over", func(t *testing.T) {
			e.clear(t)
			c := e.stored(t)
			c.Person = "P1"
			require.NoError(t, e.db.Save(c).Error)
			var back Contact
			require.NoError(t, e.db.First(&back, 1).Error)
			require.Equal(t, "P1", back.Person)
			e.holds(t, 1, "notes", "secret notes")
		})
		t.Run("keys", func(t *testing.T) {
			require.NoError(t, e.db.Create(&Memo{ID: "a", Person: "p1", Text: "secret"}).Error)
			e.db = e.db.Session(&gorm.Session{SkipDefaultTransaction: true}) // which would take back what is noticed late
			for _, tx := range []*gorm.DB{
				e.db.Model(&Memo{ID: "A", Person: "p1"}).Update("text", "secret new"),
				e.db.Model(&Memo{}).Where("id = ?", "a").Updates(map[string]any{"id": "A", "person": "p1", "text": "secret new"}),
				e.db.Model(&Memo{ID: "A", Person: "p1"}).Updates(map[string]any{"id": "A", "name": "x"}),
				e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, UpdateAll: true}).Create(&Memo{ID: "A", Person: "p1", Text: "secret new"}),
			} {
				if tx.Error != nil {
					require.ErrorIs(t, tx.Error, gormfield.ErrOwner)
				} else {
					require.Zero(t, tx.RowsAffected)
				}
				var memos []Memo
				require.NoError(t, e.db.Find(&memos).Error)
				require.Equal(t, []Memo{{ID: "a", Person: "p1", Text: "secret"}}, memos)
			}
		})
	})
}

// Bytes, numbers and texts that are equal to what the column gives back are the
// owner of the row, whatever the type of the column.
func TestAnOwnerOfAnyTypeIsFound(t *testing.T) {
	types := map[testdb.Name][]string{
		testdb.SQLite:      {"TEXT", "INTEGER", "BLOB"},
		testdb.PostgresC:   {"text", "bigint", "bytea", "uuid"},
		testdb.PostgresICU: {"text", "bigint", "bytea", "uuid"},
		testdb.MariaDB:     {"VARCHAR(60) CHARACTER SET latin1", "BIGINT", "VARBINARY(60)", "UUID"},
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, typ := range types[d.Name] {
			t.Run(typ, func(t *testing.T) {
				e := newEnvWith(t, testdb.New(t, d.Name), gormfield.Config{Tables: []encryption.Table{{Name: "owned", Columns: []encryption.Column{{Name: "text"}, {Name: "binary"}}}}, Tenant: mainTenant})
				cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)"}[d.Name]
				if cell == "" {
					cell = "BYTEA"
				}
				e.exec(t, "CREATE TABLE owned (id BIGINT PRIMARY KEY, person "+typ+", text "+cell+")")
				var owner any = "pü"
				switch strings.ToLower(typ) {
				case "integer", "bigint":
					owner = int64(7)
				case "blob", "bytea", "varbinary(60)":
					owner = []byte("pü")
				case "uuid":
					owner = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
				}
				table := func() *gorm.DB { return e.db.Table("owned") }
				require.NoError(t, table().Create(map[string]any{"id": 1, "person": owner, "text": "secret"}).Error)
				tx := table().Where("id = 1").Updates(map[string]any{"person": owner, "text": "secret new"})
				require.NoError(t, tx.Error)
				require.EqualValues(t, 1, tx.RowsAffected)
				require.Zero(t, table().Where("id = 1").Updates(map[string]any{"person": another(owner), "text": "secret other"}).RowsAffected)
				row := map[string]any{}
				require.NoError(t, table().Where("id = 1").Take(&row).Error)
				require.Equal(t, "secret new", row["text"])
			})
		}
	})
}

func another(owner any) any {
	switch v := owner.(type) {
	case int64:
		return v + 1
	case []byte:
		return append([]byte("x"), v...)
	}
	return "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
}

// What values are sealed for is what the column gives back; a row for which it is
// something else is not written.
func TestARowIsNotSealedForAnOwnerThatItDoesNotGiveBack(t *testing.T) {
	cases := map[testdb.Name][]struct {
		name, good, bad string
		schema          []string
	}{
		testdb.PostgresC: {
			{"numeric", "7.50", "7.5", []string{"ALTER TABLE contacts ALTER COLUMN person TYPE numeric(10, 2) USING NULL"}},
			{"char(n)", "p1 ", "p1", []string{"ALTER TABLE contacts ALTER COLUMN person TYPE char(3)"}},
			{"a trigger", "p1", "P1", []string{
				"CREATE FUNCTION fold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.person = lower(NEW.person); RETURN NEW; END'",
				"CREATE TRIGGER fold BEFORE INSERT OR UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION fold()",
			}},
		},
		testdb.SQLite: {
			{"integer", "7", "07", []string{"DROP TABLE contacts", strings.Replace(schemaFor(testdb.SQLite)[1], "person VARCHAR(60)", "person INTEGER", 1)}},
		},
		testdb.MariaDB: {
			{"char(n)", "p1", "p1 ", []string{"ALTER TABLE contacts MODIFY person CHAR(60)"}},
		},
	}
	cases[testdb.PostgresICU] = cases[testdb.PostgresC]
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, c := range cases[d.Name] {
			t.Run(c.name, func(t *testing.T) {
				e := newEnv(t, testdb.New(t, d.Name))
				e.exec(t, c.schema...)
				contact := func(id int64, person string) *Contact {
					a := ann()
					a.ID, a.Person = id, person
					return a
				}
				require.ErrorIs(t, e.db.Create(contact(1, c.bad)).Error, gormfield.ErrOwner)
				require.ErrorIs(t, e.db.Create([]*Contact{contact(1, c.good), contact(2, c.bad)}).Error, gormfield.ErrOwner)
				require.ErrorIs(t, e.db.Model(&Contact{}).Create(map[string]any{"id": 1, "person": c.bad, "email": newMail}).Error, gormfield.ErrOwner)
				require.Empty(t, e.cells(t, "SELECT * FROM contacts"))

				two := []*Contact{contact(0, c.good), contact(0, c.good)}
				require.NoError(t, e.db.Create(two).Error)
				require.Less(t, two[0].ID, two[1].ID, "each row has its id")
				first := two[0]
				first.Person = c.bad
				require.ErrorIs(t, e.db.Save(first).Error, gormfield.ErrOwner)
				tx := e.db.Model(&Contact{ID: first.ID, Person: c.bad}).Update("email", newMail)
				require.NoError(t, tx.Error)
				require.Zero(t, tx.RowsAffected)
				var back []Contact
				require.NoError(t, e.db.Find(&back).Error)
				require.Len(t, back, 2)
				for _, b := range back {
					require.Equal(t, c.good, b.Person)
					require.Equal(t, ann().Email, b.Email)
				}
				e.quiet(t)
			})
		}
	})
}
