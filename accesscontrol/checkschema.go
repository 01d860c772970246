package accesscontrol

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// CheckSchema compares the bound tables with the live database, SQLite,
// PostgreSQL, MariaDB or MySQL: they exist, are STRICT where there is such a
// thing, required attributes are NOT NULL and optional ones are not, types fit,
// and text compares byte by byte. The filter agrees with Check only on such
// tables, so call it at start and after migrations. It answers [*SchemaError];
// another database is an error that matches errors.ErrUnsupported.
func (p *Policy) CheckSchema(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) (err error) {
	s, err := p.snapshot()
	if err != nil {
		return err
	}
	defer func() { p.past.compared(s, err) }()
	if v := reflect.ValueOf(db); db == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("%w: check schema: no database was handed in", ErrRequest)
	}
	dialect, err := sqldb.Ask(ctx, db)
	if err != nil {
		return fmt.Errorf("accesscontrol: check schema: %w", err)
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		if t.Name == "" {
			continue
		}
		live, err := readTable(ctx, dialect, db, t.Name)
		if err != nil {
			return fmt.Errorf("accesscontrol: check schema of table %s: %w", t.Name, err)
		}
		for _, text := range t.differences(dialect.Kind, live) {
			problems = append(problems, "table "+t.Name+": "+text)
		}
	}
	if len(problems) > 0 {
		return &SchemaError{problems}
	}
	return nil
}

// differences says in words where the live table is not what the binding needs.
func (t *table) differences(kind sqldb.Kind, live liveTable) (out []string) {
	report := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case live.kind == "":
		report("does not exist")
		return out
	case live.kind != "table":
		report("is a %s, whose columns cannot be checked", live.kind)
		return out
	case live.loose:
		report("is not STRICT, so a column may hold values of any type: make it anew as STRICT")
	}
	for _, want := range t.wanted() {
		got, exists := live.columns[want.Name]
		switch {
		case !exists:
			report("column %s does not exist", want.Name)
			continue
		case want.opaque || want.typ.Kind == 0:
			continue // never in a condition
		case want.required && !got.required:
			report("column %s may be NULL, but %s is required", want.Name, want.attr)
		case !want.required && got.required:
			report("column %s is NOT NULL, but %s is optional", want.Name, want.attr)
		}
		fits, exact := want.fits(kind)
		switch {
		case len(fits) > 0 && !slices.Contains(fits, got.kind):
			report("column %s is %s, %s needs %s%s", want.Name, got.kind, want.attr, fits[0], want.instead(got.kind, kind))
		case exact && !got.exact:
			report("column %s has a collation that is not %s", want.Name, exactly(kind))
		}
	}
	return out
}

// keyAttr is what the findings call the key.
const keyAttr = "the key"

// wanted lists the columns that filters use: tenant, key, attributes.
func (t *table) wanted() []column {
	out := []column{*t.key}
	if t.Tenant != "" {
		out = append(out, column{Column: sqlcond.Column{Name: t.Tenant}, attr: "the tenant", required: true, typ: cedarx.Type{Kind: cedarx.String}})
	}
	for _, source := range t.Columns {
		out = append(out, t.columns[source.Attr])
	}
	return out
}

// fits lists the types of a column that hold the attribute's values and
// compare as the checks do, the usual one first; exact says that text must
// compare by its bytes, too. No type listed is no type compared.
func (col *column) fits(kind sqldb.Kind) (types []string, exact bool) {
	const number, flag, text = 0, 1, 2
	fitting := map[sqldb.Kind][3][]string{
		sqldb.SQLite: {{"INTEGER", "INT"}, {"INTEGER", "INT"}, {"TEXT"}},
		// uuid, enum, numeric and char(n) compare with a text argument otherwise
		// than the checks compare texts, or not at all.
		sqldb.Postgres: {{"bigint", "integer", "smallint"}, {"boolean"}, {"text", "character varying"}},
		sqldb.MariaDB:  {{"bigint", "int", "mediumint", "smallint", "tinyint"}, {"tinyint"}, {"varchar", "varbinary", "text", "tinytext", "mediumtext"}},
	}
	fitting[sqldb.MySQL] = fitting[sqldb.MariaDB]
	switch {
	case col.typ.Kind == cedarx.Bool:
		return fitting[kind][flag], false
	case col.typ.Kind == cedarx.Long, col.Integer:
		return fitting[kind][number], false
	case col.typ.Kind == cedarx.String, col.typ.Kind == cedarx.EntityRef:
		return fitting[kind][text], true
	default:
		return nil, false
	}
}

// instead says how a column of another type may stay as it is.
func (col *column) instead(got string, kind sqldb.Kind) string {
	if texts, exact := col.fits(kind); exact && kind == sqldb.Postgres && got == "uuid" {
		return fmt.Sprintf(": bind one that is GENERATED ALWAYS AS (%s::%s) STORED", col.Name, texts[0])
	}
	return col.orInteger(got, kind)
}

// orInteger names the field of the binding that takes a reference in a column
// of integers, which is how most tables keep their keys.
func (col *column) orInteger(got string, kind sqldb.Kind) string {
	whole := column{Column: sqlcond.Column{Integer: true}}
	if numbers, _ := whole.fits(kind); col.typ.Kind != cedarx.EntityRef || !slices.Contains(numbers, got) {
		return ""
	}
	if col.attr == keyAttr {
		return ", or set Table.IntegerKey"
	}
	return ", or set Column.Integer"
}

// exactly is what a collation that compares by bytes is called.
func exactly(kind sqldb.Kind) string {
	switch kind {
	case sqldb.SQLite:
		return "BINARY"
	case sqldb.Postgres:
		return "deterministic"
	case sqldb.MariaDB:
		return "utf8mb4_nopad_bin, nor the column VARBINARY"
	default:
		return "utf8mb4_0900_bin, nor the column VARBINARY"
	}
}
