package gormfield

import (
	"encoding/hex"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// exactly are the conditions that a column holds the owner, the tenant or the
// part of a key that values are sealed for: what is read of it later has this
// text, byte for byte. The comparison of the column itself takes more for equal
// (case, blanks at the end, another spelling of a UUID); it stands in front, for
// the sake of an index. A UUID is one id in capitals and in small letters, as it
// is to keys; a tenant is not.
func exactly(stmt *gorm.Statement, t *sealedTable, column string, value any) []clause.Expression {
	at := clause.Column{Table: clause.CurrentTable, Name: column}
	exprs := []clause.Expression{clause.Eq{Column: at, Value: value}}
	text, err := idText(value)
	if err != nil || text == "" {
		return exprs // finds nothing, or is an error of the database
	}
	raw, isBytes := target(value).([]byte)
	if isBytes && text != string(raw) {
		return exprs // bytes that are no text: no column compares them by a collation
	}
	said, ok := reads(stmt, at)
	if !ok {
		return exprs
	}
	if !isBytes && column != t.tenant && format.IsUUID(text) {
		small := format.Fold(text)
		named, args := said.folded().named(small)
		return []clause.Expression{
			clause.IN{Column: at, Values: []any{value, small, strings.ToUpper(text)}},
			ownSQL{clause.Expr{SQL: named, Vars: args}},
		}
	}
	named, args := said.named(text)
	if isBytes && said.kind == sqldb.Postgres {
		// A column of bytes is read as bytes, and written as their digits.
		digits := `\x` + hex.EncodeToString(raw)
		more, moreArgs := said.named(digits)
		return append(exprs, ownSQL{clause.Expr{SQL: "((" + named + ") OR (" + more + "))", Vars: append(args, moreArgs...)}})
	}
	return append(exprs, ownSQL{clause.Expr{SQL: named, Vars: args}})
}

// ownSQL is a condition of the plugin's own. Its words (text, binary) may be names
// of sealed columns, so the statement is looked at without it.
type ownSQL struct{ clause.Expr }

// Build writes it, and keeps what was written.
func (c ownSQL) Build(builder clause.Builder) {
	stmt, ok := builder.(*gorm.Statement)
	if !ok {
		c.Expr.Build(builder)
		return
	}
	from := stmt.SQL.Len()
	c.Expr.Build(builder)
	if r := recordOf(stmt); r != nil {
		r.ownText = append(r.ownText, stmt.SQL.String()[from:])
	}
}

// without is SQL without the conditions of the plugin's own.
func (r *record) without(sql string) string {
	for _, text := range r.ownText {
		sql = strings.ReplaceAll(sql, text, " ")
	}
	return sql
}

// allUUIDs says whether all rows of an INSERT have a UUID in a column.
func allUUIDs(values clause.Values, column string) bool {
	at := slices.IndexFunc(values.Columns, func(c clause.Column) bool { return bare(c.Name) == column })
	return at >= 0 && !slices.ContainsFunc(values.Values, func(row []any) bool {
		_, isBytes := target(row[at]).([]byte)
		text, err := idText(row[at])
		return isBytes || err != nil || !format.IsUUID(text)
	})
}

// sameAsInserted is exactly for the row of an INSERT that an upsert meets.
func sameAsInserted(stmt *gorm.Statement, column string, uuids bool) []clause.Expression {
	at := clause.Column{Table: clause.CurrentTable, Name: column}
	inserted := clause.Column{Table: "excluded", Name: column}
	exprs := []clause.Expression{clause.Expr{SQL: "? = ?", Vars: []any{at, inserted}}}
	said, ok := reads(stmt, at)
	if !ok {
		return exprs
	}
	other, _ := reads(stmt, inserted)
	if uuids {
		said, other, exprs = said.folded(), other.folded(), nil
	}
	named, args := said.named("")
	for i := range args {
		args[i] = clause.Expr{SQL: other.sql}
	}
	return append(exprs, ownSQL{clause.Expr{SQL: named, Vars: args}})
}

// reading is the text of a column as a driver hands it out.
type reading struct {
	kind sqldb.Kind
	sql  string
}

// reads says how a database writes a column as text. false says that it is none
// that is known here.
func reads(stmt *gorm.Statement, column clause.Column) (reading, bool) {
	quoted := stmt.Quote(column)
	switch stmt.Name() {
	case "postgres":
		return reading{sqldb.Postgres, "concat(" + quoted + ")"}, true // a cast to text would drop the blanks of char(n)
	case "mysql":
		return reading{sqldb.MySQL, "CONVERT(" + quoted + " USING utf8mb4)"}, true
	case "sqlite":
		return reading{sqldb.SQLite, "CAST(" + quoted + " AS TEXT)"}, true // of whatever class the value is
	}
	return reading{}, false
}

// folded is the text in small letters.
func (r reading) folded() reading { return reading{r.kind, "LOWER(" + r.sql + ")"} }

// named is the condition that the text is this one.
func (r reading) named(text string) (string, []any) {
	return sqldb.Dialect{Kind: r.kind}.Named(sqldb.Column{Name: r.sql}, text)
}
