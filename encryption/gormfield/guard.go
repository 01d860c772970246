package gormfield

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What is sealed begins with the byte 1 and has 32 bytes of key version, IV and
// tag behind it; in its text form it begins with cg1. and has 57 characters at
// least. The database can tell that much without a key.
const (
	sealedBytes = 33
	sealedText  = 57
)

// Check is for the start of an application, for each *gorm.DB that it opens: nil
// says that the plugin is in use there, and that the database refuses values in
// the clear for every sealed column, whoever writes them. Without the plugin GORM
// writes what comes from a map or as a single column as it is, and no serializer
// is asked: only the database is left to refuse it.
//
// The error is ErrUnsealed where db.Use was not called on this *gorm.DB, and
// ErrUnguarded for each column whose guard is missing or lets the clear through.
func (p *Plugin) Check(db *gorm.DB) error {
	if db.Plugins[p.Name()] != gorm.Plugin(p) {
		return &FieldError{Op: "Check", Table: "all sealed tables", Err: ErrUnsealed}
	}
	calls := db.Callback()
	for _, seal := range []func(string) func(*gorm.DB){calls.Create().Get, calls.Update().Get, calls.Delete().Get, calls.Query().Get, calls.Row().Get, calls.Raw().Get} {
		if seal("crmguard:seal") == nil {
			return &FieldError{Op: "Check: a callback was removed", Table: "all sealed tables", Err: ErrUnsealed}
		}
	}
	var failed []error
	err := p.eachGuard(db, func(g guardOf) error {
		says, err := g.check(db)
		if err != nil || says != "" {
			failed = append(failed, g.table.fail(g.column, says, errors.Join(ErrUnguarded, err)))
		}
		return nil
	})
	return errors.Join(append(failed, err)...)
}

// GuardSQL returns the statements that have the database refuse values in the
// clear in sealed columns: a CHECK for each, which on PostgreSQL binds what is
// written from then on at once and is validated by a statement of its own; two
// triggers on SQLite, which adds no CHECK to a table. Execute them as the owner of
// the tables, not through the plugin, once. [Plugin.Check] says whether they stand.
func (p *Plugin) GuardSQL(db *gorm.DB) ([]string, error) {
	var out []string
	err := p.eachGuard(db, func(g guardOf) error {
		out = append(out, g.statements()...)
		return nil
	})
	return out, err
}

// guardOf is the guard of one column.
type guardOf struct {
	dialect sqldb.Dialect
	table   *sealedTable
	column  string
	name    string // of the constraint, and the beginning of that of the triggers
	at      string // the table, quoted
	quoted  string // the column
	text    bool
}

func (p *Plugin) eachGuard(db *gorm.DB, do func(guardOf) error) error {
	kind, ok := map[string]sqldb.Kind{"postgres": sqldb.Postgres, "mysql": sqldb.MySQL, "sqlite": sqldb.SQLite}[db.Name()]
	if !ok {
		return &FieldError{Op: "no guard is known for " + db.Name(), Table: "all sealed tables", Err: ErrUnguarded}
	}
	d := sqldb.Dialect{Kind: kind}
	tables := make([]*sealedTable, 0, len(p.tables))
	for _, t := range p.tables {
		tables = append(tables, t)
	}
	slices.SortFunc(tables, func(a, b *sealedTable) int { return strings.Compare(a.name, b.name) })
	for _, t := range tables {
		name := t.def.SQL
		if name == "" {
			name = t.def.Name
		}
		at, err := d.Quote(name)
		if err != nil {
			return t.fail("", "its name", errors.Join(ErrModel, err))
		}
		for _, column := range t.order {
			col := t.columns[column]
			quoted, err := d.Quote(col.SQL)
			if err != nil {
				return t.fail(column, "its name", errors.Join(ErrModel, err))
			}
			if err := do(guardOf{dialect: d, table: t, column: column, name: guardName(t.name, column), at: at, quoted: quoted, text: col.Text}); err != nil {
				return err
			}
		}
	}
	return nil
}

// guardName is a name that every database takes, and that no other column has: some
// keep one name once a schema.
func guardName(table, column string) string {
	name := "crmguard_" + table + "_" + column
	h := fnv.New32a()
	_, _ = h.Write([]byte(table + "\x00" + column))
	short := strings.ToValidUTF8(name[:min(len(name), 40)], "")
	return short + "_" + hex.EncodeToString(h.Sum(nil))
}

// holds is the condition that a column holds what is sealed.
func (g guardOf) holds(column string) string {
	size, from := sealedBytes, "01"
	if g.text {
		size, from = sealedText, hex.EncodeToString([]byte("cg1."))
	}
	head := len(from) / 2
	switch {
	case g.dialect.Kind == sqldb.SQLite:
		return fmt.Sprintf("length(CAST(%[1]s AS BLOB)) >= %[2]d AND substr(CAST(%[1]s AS BLOB), 1, %[3]d) = x'%[4]s'", column, size, head, from)
	case g.dialect.Kind == sqldb.Postgres && g.text:
		return fmt.Sprintf(`octet_length(%[1]s) >= %[2]d AND left(%[1]s, %[3]d) COLLATE "C" = 'cg1.'`, column, size, head)
	case g.dialect.Kind == sqldb.Postgres:
		return fmt.Sprintf("octet_length(%[1]s) >= %[2]d AND substring(%[1]s from 1 for %[3]d) = decode('%[4]s', 'hex')", column, size, head, from)
	}
	return fmt.Sprintf("OCTET_LENGTH(%[1]s) >= %[2]d AND HEX(LEFT(%[1]s, %[3]d)) = '%[4]s'", column, size, head, from)
}

// statements make the guard.
func (g guardOf) statements() []string {
	if g.dialect.Kind == sqldb.SQLite {
		return []string{g.trigger("insert", "INSERT"), g.trigger("update", "UPDATE OF "+g.quoted)}
	}
	name, _ := g.dialect.Quote(g.name)
	add := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s)", g.at, name, g.holds(g.quoted))
	if g.dialect.Kind != sqldb.Postgres {
		return []string{add}
	}
	return []string{add + " NOT VALID", fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", g.at, name)}
}

func (g guardOf) trigger(suffix, of string) string {
	name, _ := g.dialect.Quote(g.name + "_" + suffix)
	column := "NEW." + g.quoted
	return fmt.Sprintf("CREATE TRIGGER %s BEFORE %s ON %s WHEN %s IS NOT NULL AND NOT (%s) BEGIN SELECT RAISE(ABORT, 'crmguard: a sealed column takes no value in the clear'); END",
		name, of, g.at, column, g.holds(column))
}

const (
	noGuard   = "it has no guard"
	weakGuard = "its guard is not the one of GuardSQL"
)

// check says what is wrong with the guard that stands.
func (g guardOf) check(db *gorm.DB) (says string, err error) {
	if g.dialect.Kind == sqldb.SQLite {
		for _, want := range g.statements() {
			var stands string
			err := g.ask(db, &stands, "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = ? AND sql = ?", g.table.name, want)
			if errors.Is(err, sql.ErrNoRows) {
				return noGuard, nil
			}
			if err != nil {
				return "", err
			}
		}
		return "", nil
	}
	var text string
	var validated bool
	if g.dialect.Kind == sqldb.Postgres {
		err = g.asks(db, []any{&text, &validated}, `SELECT pg_catalog.pg_get_expr(conbin, conrelid), convalidated FROM pg_catalog.pg_constraint
			WHERE contype = 'c' AND conrelid = pg_catalog.to_regclass($1) AND conname = $2`, g.at, g.name)
	} else {
		validated = true
		text, err = g.shown(db)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return noGuard, nil
	case err != nil:
		return "", err
	case !validated:
		return "its guard was not validated: rows of before may hold the clear", nil
	}
	// The database has written the condition anew, so it is asked what it makes of values.
	clear := strings.Repeat("in the clear ", 8)
	sealed := "\x01" + strings.Repeat("\x00", sealedBytes)
	if g.text {
		sealed = "cg1." + strings.Repeat("A", sealedText)
	}
	for value, want := range map[string]bool{clear: false, sealed: true, sealed[:sealedBytes-1]: false} {
		var takes bool
		if err := g.ask(db, &takes, "SELECT CASE WHEN "+text+" THEN 1=1 ELSE 1=0 END FROM (SELECT "+g.literal(value)+" AS "+g.quoted+") AS sample"); err != nil {
			return "", err
		}
		if takes != want {
			return weakGuard, nil
		}
	}
	return "", nil
}

// shown is the CHECK as MySQL and MariaDB show it to who may read the table: of
// their catalogue only its owner sees that part.
func (g guardOf) shown(db *gorm.DB) (string, error) {
	stmt := past(db)
	parts, err := g.dialect.Parts(stmt.Context, stmt.ConnPool, g.at)
	if err != nil {
		return "", err
	}
	for _, one := range parts {
		if one.Kind == sqldb.CheckPart && one.Name == g.name && !one.Idle {
			return one.In, nil
		}
	}
	return "", sql.ErrNoRows
}

// literal is a value of the column's kind in SQL.
func (g guardOf) literal(value string) string {
	digits := hex.EncodeToString([]byte(value))
	switch {
	case g.dialect.Kind == sqldb.Postgres && g.text:
		return "CAST('" + value + "' AS text)"
	case g.dialect.Kind == sqldb.Postgres:
		return "decode('" + digits + "', 'hex')"
	case g.text:
		return "CONVERT(x'" + digits + "' USING utf8mb4)"
	}
	return "x'" + digits + "'"
}

func (g guardOf) ask(db *gorm.DB, into any, query string, args ...any) error {
	return g.asks(db, []any{into}, query, args...)
}

// past is a statement past the plugin, which would take its SQL for the application's.
func past(db *gorm.DB) *gorm.Statement {
	return db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context}).Statement
}

// asks reads one row past the plugin.
func (g guardOf) asks(db *gorm.DB, into []any, query string, args ...any) error {
	stmt := past(db)
	err := stmt.ConnPool.QueryRowContext(stmt.Context, query, args...).Scan(into...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return sqldb.Safe(err)
	}
	return err
}
