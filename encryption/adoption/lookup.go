package adoption

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/encryption"
)

// Condition finds the rows that hold a value, by what the stage reads.
type Condition struct {
	parts []part // joined by OR
	over  func() bool
}

// part is SQL with {column} and {value}, about one column, or only about NULL.
type part struct {
	text   string
	column string // quoted
	also   string // a second column that must be NULL, quoted; "" for none
	value  driver.Valuer
}

// Lookup returns what to search for, by the logical name of an adopted column that
// has an index. At Plain and WriteBoth the column in the clear is compared, as
// Column.Compare has it. From ReadSealed on the index is, and beside it the column
// in the clear of rows that have no sealed value: no row is missed at any stage.
// Open what is found, and compare it with [encryption.SealedTable.Match].
//
// A Condition is for a query at once: it knows the stage of now, and its arguments
// are ErrLease when the lease of the stage has passed, since kept over two moves it
// would find nothing.
//
// An index finds what its normaliser takes for equal. Where Compare takes less for
// equal, more is found from ReadSealed on; where it takes more, less is: a column
// whose collation has no regard to case (MariaDB's, citext, NOCASE) wants a
// normaliser without it. [Adoption.Obstacles] and the move to ReadSealed find rows of
// which that is true. A value that normalises to nothing is refused at each stage
// (encryption.ErrDefinition).
//
// The value itself is among the arguments at every stage, since somebody may have
// written it in the clear, which is to be noticed (ErrInClear): what writes arguments
// of statements down, as GORM's logger does unless it is ParameterizedQueries, writes
// it down.
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
	clear := part{text: c.Compare, value: Value{func() (driver.Value, error) { return value, nil }}}
	if clear.column, err = a.db.Quote(c.Plain); err != nil {
		return Condition{}, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	out := Condition{over: func() bool { return at.over(a.terms.Now()) }}
	if !at.stage.readsSealed() {
		out.parts = []part{clear}
		return out, nil
	}
	probes, err := a.cfg.Table.Lookup(ctx, tenant, index, value)
	if err != nil {
		return Condition{}, err
	}
	for _, probe := range probes {
		quoted, err := a.db.Quote(probe.Column)
		if err != nil {
			return Condition{}, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		out.parts = append(out.parts, part{text: "{column} = {value}", column: quoted, value: probe.Value})
	}
	if clear.also, err = a.db.Quote(c.sealed.SQL); err != nil {
		return Condition{}, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	out.parts = append(out.parts, clear)
	return out, nil
}

// String never shows the value.
func (c Condition) String() string { return "condition(masked)" }

// Format is String for every verb of package fmt.
func (c Condition) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String for log/slog.
func (c Condition) LogValue() slog.Value { return slog.StringValue(c.String()) }

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
		args[i] = c.arg(p.value)
	}
	return "(" + strings.Join(parts, " OR ") + ")", args
}

// arg is a value of the condition while the lease of its stage runs.
func (c Condition) arg(value driver.Valuer) Value {
	return Value{func() (driver.Value, error) {
		if c.over() {
			return nil, ErrLease
		}
		return value.Value()
	}}
}
