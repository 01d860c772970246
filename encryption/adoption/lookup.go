package adoption

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/encryption"
)

// Condition finds the rows that hold a value, by what the stage reads.
type Condition struct {
	parts []part // joined by OR
}

// part is SQL with {column} and {value}, about one column, or only about NULL.
type part struct {
	text   string
	column string
	also   string // a second column that must be NULL, "" for none
	value  any
}

// Lookup returns what to search for, by the logical name of an adopted column that
// has an index. At Plain and WriteBoth the column in the clear is compared, as
// Column.Compare has it. From ReadSealed on the index is, and beside it the column
// in the clear of rows that have no sealed value: no row is missed at any stage.
// Open what is found, and compare it with [encryption.SealedTable.Match].
//
// An index finds what its normaliser takes for equal. Where Compare takes less for
// equal, more is found from ReadSealed on. A value that normalises to nothing is
// refused at each stage (encryption.ErrDefinition).
func (a *Adoption) Lookup(ctx context.Context, tenant, column, value string) (Condition, error) {
	c, ok := a.columns[column]
	if !ok {
		return Condition{}, a.noColumn(column)
	}
	if len(c.indexes) == 0 {
		return Condition{}, fmt.Errorf("%w: %s.%s has no index (Column.Find): sealed values cannot be searched without", ErrDefinition, a.def.Name, column)
	}
	index := cmp.Or(c.Index, c.indexes[0].Name)
	if !a.cfg.Table.Match(index, value, value) {
		return Condition{}, fmt.Errorf("%w: lookup of a value that normalises to nothing, in %s.%s", encryption.ErrDefinition, a.def.Name, column)
	}
	at, err := a.at(ctx, tenant)
	if err != nil {
		return Condition{}, err
	}
	clear := part{text: c.Compare, column: c.Plain, value: value}
	if !at.stage.readsSealed() {
		return Condition{[]part{clear}}, nil
	}
	probes, err := a.cfg.Table.Lookup(ctx, tenant, index, value)
	if err != nil {
		return Condition{}, err
	}
	var out Condition
	for _, probe := range probes {
		out.parts = append(out.parts, part{text: "{column} = {value}", column: probe.Column, value: probe.Value})
	}
	clear.also = c.sealed.SQL
	out.parts = append(out.parts, clear)
	return out, nil
}

// Where returns the condition and its arguments, for SQLite and MariaDB; alias of
// the table may be "". On PostgreSQL take [Condition.Postgres].
func (c Condition) Where(alias string) (where string, args []any) {
	return c.where(alias, func(int) string { return "?" })
}

// Postgres is Where with the placeholders of PostgreSQL, from $first on.
func (c Condition) Postgres(alias string, first int) (where string, args []any) {
	return c.where(alias, func(i int) string { return "$" + strconv.Itoa(first+i) })
}

func (c Condition) where(alias string, placeholder func(int) string) (string, []any) {
	name := func(column string) string {
		if alias == "" {
			return column
		}
		return alias + "." + column
	}
	parts := make([]string, len(c.parts))
	args := make([]any, len(c.parts))
	for i, p := range c.parts {
		parts[i] = strings.NewReplacer("{column}", name(p.column), "{value}", placeholder(i)).Replace(p.text)
		if p.also != "" {
			parts[i] = "(" + name(p.also) + " IS NULL AND " + parts[i] + ")"
		}
		args[i] = p.value
	}
	return "(" + strings.Join(parts, " OR ") + ")", args
}
