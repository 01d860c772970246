package accesscontrol

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// querier is what CheckSchema needs of *sql.DB, *sql.Tx or *sql.Conn.
type querier = interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// CheckSchema compares the bound tables with the live database: they exist,
// are STRICT, required attributes are NOT NULL and optional ones are not,
// types fit, and text compares byte by byte. The filter agrees with Check only
// on such tables, so call it at start and after migrations. It answers
// [*SchemaError]. SQLite only for now; elsewhere it answers an error that
// matches errors.ErrUnsupported.
func (p *Policy) CheckSchema(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) error {
	s, err := p.snapshot()
	if err != nil {
		return err
	}
	if v := reflect.ValueOf(db); db == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("%w: check schema: no database was handed in", ErrRequest)
	}
	var version string
	if err := one(ctx, db, &version, `SELECT sqlite_version()`); err != nil {
		return fmt.Errorf("accesscontrol: check schema of anything but SQLite: %w", errors.Join(errors.ErrUnsupported, ctx.Err()))
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		if t.Name == "" {
			continue
		}
		found, err := checkTable(ctx, db, t)
		if err != nil {
			return fmt.Errorf("accesscontrol: check schema of table %s: %w", t.Name, err)
		}
		problems = append(problems, found...)
	}
	if len(problems) > 0 {
		return &SchemaError{problems}
	}
	return nil
}

// live is a column as the database has it.
type live struct {
	kind     string
	required bool
}

func checkTable(ctx context.Context, db querier, t *table) (problems []string, err error) {
	report := func(format string, args ...any) {
		problems = append(problems, "table "+t.Name+": "+fmt.Sprintf(format, args...))
	}
	var kind string
	var strict bool
	if err := one(ctx, db, &kind, `SELECT coalesce(max(type), '') FROM pragma_table_list WHERE schema = 'main' AND name = ?`, t.Name); err != nil {
		return nil, err
	}
	if kind == "" {
		report("does not exist")
		return problems, nil
	}
	if err := one(ctx, db, &strict, `SELECT max(strict) FROM pragma_table_list WHERE schema = 'main' AND name = ?`, t.Name); err != nil {
		return nil, err
	}
	if kind != "table" {
		report("is a %s, whose columns cannot be checked", kind)
		return problems, nil
	}
	if !strict {
		report("is not STRICT, so a column may hold values of any type")
	}
	columns, err := liveColumns(ctx, db, t.Name)
	if err != nil {
		return nil, err
	}
	for _, want := range t.wanted() {
		got, exists := columns[want.name]
		switch {
		case !exists:
			report("column %s does not exist", want.name)
			continue
		case want.opaque || want.typ.Kind == 0:
			continue // never in a condition
		case want.required && !got.required:
			report("column %s may be NULL, but %s is required", want.name, want.attr)
		case !want.required && got.required:
			report("column %s is NOT NULL, but %s is optional", want.name, want.attr)
		}
		if expected := want.sqliteType(); expected != "" && got.kind != expected && (expected != "INTEGER" || got.kind != "INT") {
			report("column %s is %s, %s needs %s", want.name, got.kind, want.attr, expected)
			continue
		}
		if want.sqliteType() == "TEXT" {
			exact, err := comparesBytes(ctx, db, t.Name, want.name)
			if err != nil {
				return nil, err
			}
			if !exact {
				report("column %s has a collation that is not BINARY", want.name)
			}
		}
	}
	return problems, nil
}

// wanted lists the columns that filters use: tenant, key, attributes.
func (t *table) wanted() []column {
	out := []column{{attr: "the key", name: t.Key, required: true, typ: cedarx.Type{Kind: cedarx.EntityRef}, integer: t.IntegerKey}}
	if t.Tenant != "" {
		out = append(out, column{attr: "the tenant", name: t.Tenant, required: true, typ: cedarx.Type{Kind: cedarx.String}})
	}
	for _, source := range t.Columns {
		out = append(out, t.columns[source.Attr])
	}
	return out
}

// sqliteType is the type that a column of this kind has in a STRICT table, or
// "" where none is compared.
func (col *column) sqliteType() string {
	switch {
	case col.typ.Kind == cedarx.Long, col.typ.Kind == cedarx.Bool, col.integer:
		return "INTEGER"
	case col.typ.Kind == cedarx.String, col.typ.Kind == cedarx.EntityRef:
		return "TEXT"
	default:
		return ""
	}
}

func liveColumns(ctx context.Context, db querier, table string) (map[string]live, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, upper(type), "notnull" OR pk > 0 FROM pragma_table_info(?)`, table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]live{}
	for rows.Next() {
		var name string
		var c live
		if err := rows.Scan(&name, &c.kind, &c.required); err != nil {
			return nil, err
		}
		out[name] = c
	}
	return out, rows.Err()
}

// comparesBytes asks the column itself: a UNION takes the collation of its
// first part, and under anything but BINARY two of the probes are one.
func comparesBytes(ctx context.Context, db querier, table, column string) (bool, error) {
	quote := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
	var distinct int
	err := one(ctx, db, &distinct, `SELECT count(*) FROM (SELECT `+quote(column)+` FROM `+quote(table)+
		` WHERE FALSE UNION SELECT 'a' UNION SELECT 'A' UNION SELECT 'a ')`)
	return distinct == 3, err
}

// one reads a single value.
func one(ctx context.Context, db querier, dst any, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return errors.Join(rows.Err(), sql.ErrNoRows)
	}
	if err := rows.Scan(dst); err != nil {
		return err
	}
	return rows.Err()
}
