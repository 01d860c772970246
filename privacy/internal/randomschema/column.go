package randomschema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A kind is the type of a column, whatever a database calls it.
type kind string

const (
	serial kind = "serial" // a number that the database gives out: key
	number kind = "number"
	id     kind = "uuid"
	name   kind = "name" // a text that may be a key
	long   kind = "text"
	day    kind = "date"
	money  kind = "money"
	object kind = "json"
	binary kind = "bytes"
	moment kind = "time"
	stamp  kind = "timestamp" // without a zone
	sealed kind = "sealed"    // bytes that only the application opens
	folded kind = "folded"    // a text that the database compares without regard to case
	grade  kind = "grade"     // one of a, b and c
)

// grades are the values of a grade.
var grades = []string{"a", "b", "c"}

var typeNames = map[testdb.Name]map[kind]string{
	testdb.SQLite: {
		serial: "INTEGER PRIMARY KEY AUTOINCREMENT", number: "INTEGER", id: "TEXT", name: "VARCHAR(190)", long: "TEXT",
		day: "DATE", money: "NUMERIC(14,2)", object: "TEXT", binary: "BLOB", moment: "INTEGER",
		stamp: "DATETIME", sealed: "BLOB", folded: "VARCHAR(190) COLLATE NOCASE", grade: "TEXT",
	},
	testdb.PostgresC: {
		serial: "bigserial PRIMARY KEY", number: "bigint", id: "uuid", name: "varchar(190)", long: "text",
		day: "date", money: "numeric(14,2)", object: "jsonb", binary: "bytea", moment: "timestamptz",
		stamp: "timestamp", sealed: "bytea", folded: "citext", grade: "random_grade",
	},
	testdb.MariaDB: {
		serial: "BIGINT AUTO_INCREMENT PRIMARY KEY", number: "BIGINT", id: "UUID", name: "VARCHAR(190)", long: "LONGTEXT",
		day: "DATE", money: "DECIMAL(14,2)", object: "JSON", binary: "LONGBLOB", moment: "DATETIME(6)",
		stamp: "DATETIME(6)", sealed: "VARBINARY(200)", folded: "VARCHAR(190) COLLATE utf8mb4_unicode_ci", grade: "ENUM('a', 'b', 'c')",
	},
}

// A column of a table. Personal ones have a category and say what happens to them
// in rows that stay.
type column struct {
	name    string
	kind    kind
	notNull bool
	unique  bool
	check   string // a condition
	refers  string // a foreign key, as SQL
	map_    []datamap.Column
}

func (c column) personal() bool { return len(c.map_) > 0 && c.map_[len(c.map_)-1].Category != "" }

func (c column) sql(on testdb.Name) string {
	out := c.name + " " + typeName(on, c.kind)
	if c.notNull && c.kind != serial {
		out += " NOT NULL"
	}
	if c.unique {
		out += " UNIQUE"
	}
	if c.check != "" {
		out += " CHECK (" + c.check + ")"
	}
	return out + c.refers
}

func typeName(on testdb.Name, k kind) string {
	if on == testdb.PostgresICU {
		on = testdb.PostgresC
	}
	return typeNames[on][k]
}

// token is the same each time, and of no other place.
func token(parts ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return hex.EncodeToString(sum[:7])
}

func uuidOf(parts ...any) string {
	b := sha256.Sum256(fmt.Append(nil, parts...))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
