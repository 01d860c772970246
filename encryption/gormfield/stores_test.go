package gormfield_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Visit is met by columns that do not store all that they are given.
type Visit struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	At     *time.Time
	Amount *string
	Code   *string
	Raw    []byte
	Notes  *string `gorm:"serializer:crmguard"`
}

// Draft has a key that the database makes.
type Draft struct {
	ID     int64 `gorm:"primaryKey;default:(-)"`
	Person string
	Notes  *string `gorm:"serializer:crmguard"`
}

func newVisits(t *testing.T, d testdb.Database) *env {
	t.Helper()
	return newEnvWith(t, d, gormfield.Config{Tenant: mainTenant, Tables: []encryption.Table{
		{Name: "visits", Columns: []encryption.Column{{Name: "notes"}}}, {Name: "drafts", Columns: []encryption.Column{{Name: "notes"}}},
	}})
}

// breaks makes the notes of a row those of another person.
func (e *env) breaks(t *testing.T, table string, id int) {
	t.Helper()
	e.exec(t, "UPDATE "+table+" SET notes = (SELECT notes FROM (SELECT notes FROM "+table+" WHERE person = 'p2') other) WHERE id = "+fmt.Sprint(id), "DELETE FROM "+table+" WHERE person = 'p2'")
}

// Where a type rounds, cuts or fills up what it is given, or a trigger writes
// something else, the row that is met is not the one that holds what was given: a
// value that did not open is not emptied there.
func TestAnUpsertEmptiesNoCellThatItMeetsByWhatTheDatabaseStores(t *testing.T) {
	when := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	later := when.Add(123456789 * time.Nanosecond)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newVisits(t, d)
		postgres := d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU
		columns := "INTEGER PRIMARY KEY, person VARCHAR(60), at DATETIME UNIQUE, amount NUMERIC UNIQUE, code VARCHAR(6) UNIQUE, raw BLOB UNIQUE, notes BLOB"
		switch {
		case postgres:
			columns = "BIGSERIAL PRIMARY KEY, person VARCHAR(60), at TIMESTAMPTZ(0) UNIQUE, amount NUMERIC(10,2) UNIQUE, code VARCHAR(6) UNIQUE, raw BYTEA UNIQUE, notes BYTEA, new_code TEXT"
		case d.Name == testdb.MariaDB:
			columns = "BIGINT AUTO_INCREMENT PRIMARY KEY, person VARCHAR(60), at DATETIME UNIQUE, amount DECIMAL(10,2) UNIQUE, code VARCHAR(6) UNIQUE, raw BINARY(4) UNIQUE, notes VARBINARY(600)"
		}
		e.exec(t, "CREATE TABLE visits (id "+columns+")")
		upsert := func(t *testing.T, by string, row Visit, refused bool) {
			t.Helper()
			e.exec(t, "DELETE FROM visits")
			require.NoError(t, e.db.Create([]*Visit{
				{ID: 1, Person: "p1", At: &when, Amount: new("12.50"), Code: new("ABC 12"), Raw: []byte("ab"), Notes: new("secret notes")}, {ID: 3, Person: "p2", Notes: new("secret too")},
			}).Error)
			e.breaks(t, "visits", 1)
			require.ErrorIs(t, e.db.First(&Visit{}).Error, encryption.ErrOpen)
			before := e.cells(t, "SELECT * FROM visits")
			row.Person = "p1"
			err := e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: by}}, DoUpdates: clause.AssignmentColumns([]string{"person", "notes"})}).Create(&row).Error
			after := e.cells(t, "SELECT * FROM visits ORDER BY id")
			require.Equal(t, before[0], after[0], "emptied, and said: %v", err)
			if refused {
				require.ErrorIs(t, err, gormfield.ErrLost)
				return
			}
			require.NoError(t, err)
			require.Len(t, after, 2)
		}
		lossy := d.Name != testdb.SQLite
		upsert(t, "at", Visit{ID: 2, At: &later}, lossy)
		upsert(t, "amount", Visit{ID: 2, Amount: new("12.501")}, lossy)
		upsert(t, "raw", Visit{ID: 2, Raw: []byte("ab\x00\x00")}, d.Name == testdb.MariaDB)
		upsert(t, "raw", Visit{ID: 2, Raw: []byte("abc")}, d.Name == testdb.MariaDB)
		upsert(t, "code", Visit{ID: 2, Code: new("ABC 12 ")}, lossy)
		upsert(t, "code", Visit{ID: 2, Code: new("ABC 12")}, true)
		upsert(t, "code", Visit{ID: 2, Code: new("ABC 13")}, false)
		if d.Name == testdb.SQLite {
			return
		}
		trigger := func(writes string) {
			if d.Name == testdb.MariaDB {
				e.exec(t, "DROP TRIGGER IF EXISTS norm", "CREATE TRIGGER norm BEFORE INSERT ON visits FOR EACH ROW BEGIN SET "+writes+"; END")
				return
			}
			e.exec(t, "CREATE OR REPLACE FUNCTION norm() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "+writes+"; RETURN NEW; END$$",
				"DROP TRIGGER IF EXISTS norm ON visits", "CREATE TRIGGER norm BEFORE INSERT ON visits FOR EACH ROW EXECUTE FUNCTION norm()")
		}
		trigger("NEW.code = upper(NEW.code)")
		upsert(t, "code", Visit{ID: 2, Code: new("abc 12")}, true)
		trigger("NEW.person = trim(NEW.person)") // which has nothing to do with it
		upsert(t, "code", Visit{ID: 2, Code: new("ABC 13")}, false)
		if postgres {
			trigger("NEW := jsonb_populate_record(NEW, '{}')")
			upsert(t, "code", Visit{ID: 2, Code: new("ABC 13")}, true)
			trigger("NEW.new_code := 'x'; IF TG_OP = 'DELETE' THEN RETURN OLD; END IF")
			upsert(t, "code", Visit{ID: 2, Code: new("ABC 13")}, false)
		}
	})
}

// A key that was left out is new only where the database is known to make a new one.
func TestAnUpsertEmptiesNoCellOfARowWhoseKeyIsDrawnAgain(t *testing.T) {
	keyed := func(of string) string {
		return "CREATE TABLE drafts (id BIGINT PRIMARY KEY DEFAULT " + of + ", person VARCHAR(60), notes BYTEA)"
	}
	for _, one := range []struct {
		name    testdb.Name
		what    string
		sql     []string
		refused bool
	}{
		{testdb.PostgresC, "a sequence", []string{"CREATE SEQUENCE s START 9", keyed("nextval('s')"), "SELECT nextval('s')"}, false},
		{testdb.PostgresC, "a sequence with a cache", []string{"CREATE SEQUENCE s CACHE 50", keyed("nextval('s')"), "SELECT nextval('s')"}, true},
		{testdb.PostgresC, "a sequence that goes down", []string{"CREATE SEQUENCE s INCREMENT -1 MAXVALUE 9 START 9", keyed("nextval('s')"), "SELECT nextval('s')"}, true},
		{testdb.PostgresC, "a sequence that begins again", []string{"CREATE SEQUENCE s MAXVALUE 12 START 12 CYCLE", keyed("nextval('s')"), "SELECT nextval('s')"}, true},
		{testdb.PostgresC, "a part of a sequence", []string{"CREATE SEQUENCE s START 17", keyed("nextval('s') % 10"), "SELECT setval('s', 16)"}, true},
		{testdb.PostgresC, "a function", []string{"CREATE FUNCTION next_id() RETURNS bigint LANGUAGE sql AS 'SELECT CAST(7 AS bigint)'", keyed("next_id()")}, true},
		{testdb.PostgresC, "a constant", []string{keyed("7")}, true},
		{testdb.PostgresC, "a domain", []string{"CREATE DOMAIN seven AS bigint DEFAULT 7", "CREATE TABLE drafts (id seven PRIMARY KEY, person VARCHAR(60), notes BYTEA)"}, true},
		{testdb.PostgresC, "a trigger", []string{
			keyed("0"), "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.id := 7; RETURN NEW; END$$",
			"CREATE TRIGGER f BEFORE INSERT ON drafts FOR EACH ROW WHEN (NEW.id = 0) EXECUTE FUNCTION f()",
		}, true},
		{testdb.MariaDB, "a number that is counted", []string{"CREATE TABLE drafts (id BIGINT AUTO_INCREMENT PRIMARY KEY, person VARCHAR(60), notes VARBINARY(600))"}, false},
		{testdb.MariaDB, "a sequence", []string{"CREATE SEQUENCE s START 7", "CREATE TABLE drafts (id BIGINT PRIMARY KEY DEFAULT NEXT VALUE FOR s, person VARCHAR(60), notes VARBINARY(600))"}, true},
		{testdb.MariaDB, "a constant", []string{"CREATE TABLE drafts (id BIGINT PRIMARY KEY DEFAULT 7, person VARCHAR(60), notes VARBINARY(600))"}, true},
		{testdb.SQLite, "a rowid", []string{"CREATE TABLE drafts (id INTEGER PRIMARY KEY, person VARCHAR(60), notes BLOB)"}, false},
		{testdb.SQLite, "a constant", []string{"CREATE TABLE drafts (id BIGINT PRIMARY KEY DEFAULT 7, person VARCHAR(60), notes BLOB)"}, true},
	} {
		t.Run(string(one.name)+" "+one.what, func(t *testing.T) {
			e := newVisits(t, testdb.New(t, one.name))
			e.exec(t, one.sql...)
			require.NoError(t, e.db.Create([]*Draft{{ID: 7, Person: "p1", Notes: new("secret notes")}, {ID: 8, Person: "p2", Notes: new("secret too")}}).Error)
			e.breaks(t, "drafts", 7)
			require.ErrorIs(t, e.db.First(&Draft{}).Error, encryption.ErrOpen)
			before := e.cells(t, "SELECT * FROM drafts")
			err := e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"person", "notes"})}).Create(&Draft{Person: "p1"}).Error
			require.Equal(t, before[0], e.cells(t, "SELECT * FROM drafts ORDER BY id")[0])
			if one.refused {
				require.ErrorIs(t, err, gormfield.ErrLost)
			} else {
				require.NoError(t, err)
			}
		})
	}
}
