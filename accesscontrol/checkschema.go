package accesscontrol

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// CheckSchema compares the bound tables with the live database, SQLite,
// PostgreSQL, MariaDB or MySQL: they exist, are STRICT where there is such a
// thing, required attributes are NOT NULL and optional ones are not, types fit,
// text compares byte by byte, and what is joined is found by one key. The
// filter agrees with Check only on such tables, so call it at start and after
// migrations. It answers [*SchemaError]; another database is an error that
// matches errors.ErrUnsupported.
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
	lives := map[*table]liveTable{}
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		if t.Name == "" {
			continue
		}
		live, err := readTable(ctx, dialect, db, t.Name)
		if err != nil {
			return fmt.Errorf("accesscontrol: check schema of table %s: %w", t.Name, err)
		}
		lives[t] = live
		for _, text := range t.differences(dialect.Kind, live) {
			problems = append(problems, "table "+t.Name+": "+text)
		}
		behind, err := t.checkSets(ctx, dialect, db)
		if err != nil {
			return err
		}
		problems = append(problems, behind...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		found, err := t.joinDifferences(ctx, dialect, db, lives)
		if err != nil {
			return fmt.Errorf("accesscontrol: check schema of table %s: %w", t.Name, err)
		}
		for _, text := range found {
			problems = append(problems, "table "+t.Name+": "+text)
		}
	}
	if len(problems) > 0 {
		return &SchemaError{once(problems)}
	}
	return nil
}

// once leaves each text where it stands first: several bindings may look at one
// table.
func once(texts []string) (out []string) {
	for _, text := range texts {
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// differences says in words where the live table is not what the binding needs.
func (t *table) differences(kind sqldb.Kind, live liveTable) (out []string) {
	return differences(kind, live, t.wanted())
}

func differences(kind sqldb.Kind, live liveTable, wanted []column) (out []string) {
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
	for _, want := range wanted {
		got, exists := live.columns[want.Name]
		switch {
		case !exists:
			report("column %s does not exist", want.Name)
			continue
		case want.unmaskable(kind, got) != "":
			report("column %s %s", want.Name, want.unmaskable(kind, got))
			continue
		case want.opaque || want.typ.Kind == 0:
			continue // never in a condition
		case want.required && !got.required:
			report("column %s may be NULL, but %s is required", want.Name, want.attr)
		case !want.required && got.required:
			report("column %s is NOT NULL, but %s is optional", want.Name, want.attr)
		}
		fits, compared := want.fits(kind)
		switch {
		case !compared:
		case len(fits) == 0:
			report("column %s: %s has no column type %q, leave it out", want.Name, kind, string(want.as()))
		case !slices.Contains(fits, got.kind):
			report("column %s is %s, %s needs %s%s", want.Name, got.kind, want.attr, fits[0], want.instead(got.kind, kind))
		case got.inexact != "":
			report("column %s has %s", want.Name, got.inexact)
		}
	}
	return out
}

// What the findings call the key and the tenant.
const (
	keyAttr    = "the key"
	tenantAttr = "the tenant"
)

// wanted lists the columns that filters use: tenant, key, attributes.
func (t *table) wanted() []column {
	out := []column{*t.key}
	if t.Tenant != "" {
		out = append(out, *t.tenant)
	}
	for _, source := range t.Columns {
		out = append(out, t.columns[source.Attr])
	}
	return out
}
