package rowjob

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// storedTable is a declared table as one database has it. Its names and types are
// asked for at each call: an application may change both while it runs.
type storedTable struct {
	*Table
	db      *sqldb.DB
	sql     string         // quoted
	columns []sqldb.Column // what a row is read by: owner first if there is one, then cells and indexes
	owner   *sqldb.Column
	tenant  *sqldb.Column
	cells   []sqldb.Column // by column of the definition; those of streams are empty
	indexes []sqldb.Column // by index

	key   sqldb.Keyset
	named []int // which of the key's columns name a row, in the order of the definition

	singly bool // rows are changed one by one: the database does not take them together
	places bool // a version of a row is named by its place: hasPlaces
}

// KeyColumns are the columns of Table.Key, which name a row.
func KeyColumns(key string) []string {
	names := strings.Split(key, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}

// stored asks the database for the table's columns, without its key.
func (t *Table) stored(ctx context.Context, db *sql.DB) (*storedTable, error) {
	if db == nil {
		return nil, fmt.Errorf("%w: no database was handed in: it is the one that has table %s", keyring.ErrDefinition, t.Name)
	}
	open, err := sqldb.Open(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	t.Vault.Met(db)
	s := &storedTable{Table: t, cells: make([]sqldb.Column, len(t.Columns))}
	if s.sql, err = open.Quote(t.SQL); err != nil {
		return nil, fmt.Errorf("%w: table %s: %w", keyring.ErrDefinition, t.Name, err)
	}
	s.db = open.For(s.sql)
	if err := s.whole(ctx, s.db); err != nil {
		return nil, err
	}
	return s, s.describe(ctx)
}

// whole refuses a table of which this user is shown some rows only. It is asked
// before the first page and behind the last one: a policy may come into force
// meanwhile. In a transaction that has changed the table it is asked after the
// change, whose lock keeps policies out from then on. (Transactions with row_security
// off would not do: hooks and triggers of the application touch tables of which it
// may be meant to see some rows.)
func (s *storedTable) whole(ctx context.Context, q sqldb.Querier) error {
	hidden, err := s.db.Hides(ctx, q, s.SQL)
	if err != nil {
		return fmt.Errorf("encryption: table %s: %w", s.Name, err)
	}
	if hidden {
		return fmt.Errorf("%w: table %s: row security hides rows from this user, and what is not seen is neither resealed nor counted: use one with BYPASSRLS, or the owner of the table", keyring.ErrDefinition, s.Name)
	}
	return nil
}

// describe asks for the types of all columns that the definition names.
func (s *storedTable) describe(ctx context.Context) error {
	def := s.Table
	var names []string
	for _, name := range []string{def.Owner, def.Tenant} {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, col := range def.Columns {
		if !col.Stream {
			names = append(names, col.SQL)
		}
	}
	for _, index := range s.Indexes {
		names = append(names, index.Column)
	}
	all, err := s.db.Columns(ctx, s.db, def.SQL, names...)
	if err != nil {
		return s.schemaError(err)
	}
	next := func() *sqldb.Column {
		c := all[0]
		all = all[1:]
		return &c
	}
	if def.Owner != "" {
		s.owner = next()
		s.columns = append(s.columns, *s.owner)
	}
	if def.Tenant != "" {
		s.tenant = next()
	}
	for i, col := range def.Columns {
		if col.Stream {
			continue
		}
		s.cells[i] = *next()
		if s.cells[i].Generated() {
			return &keyring.KeyError{Op: "the database makes the column itself, nobody can write a sealed value into it:", Table: def.Name, Column: col.Name, Err: keyring.ErrDefinition}
		}
		if _, ok := s.db.Bytes(s.cells[i]); !ok {
			return &keyring.KeyError{Op: "the type of the column holds neither bytes nor text:", Table: def.Name, Column: col.Name, Err: keyring.ErrDefinition}
		}
		s.columns = append(s.columns, s.cells[i])
	}
	s.indexes = all
	s.columns = append(s.columns, all...)
	return nil
}

// indexable refuses columns that do not hold every value of their index. What a
// database cuts, and says nothing, is found by no search.
func (s *storedTable) indexable() error {
	for i, index := range s.Indexes {
		op := ""
		switch {
		case s.indexes[i].Generated():
			op = "the database makes the index column itself, nobody can write its value:"
		case !s.indexes[i].Takes(index.Bits, index.Bits > 63):
			op = "the type of the index column does not hold every value of its Bits (up to 63 BIGINT, from 64 on bytes, of just that length where it is fixed):"
		}
		if op != "" {
			return &keyring.KeyError{Op: op, Table: s.Name, Column: index.Column, Err: keyring.ErrDefinition}
		}
	}
	return nil
}

// keyed is stored with the table's key, by which pages are read. A key that
// begins with the tenant is taken before one without it: its pages hold the rows
// of one tenant and nothing else.
func (t *Table) keyed(ctx context.Context, db *sql.DB) (*storedTable, error) {
	s, err := t.stored(ctx, db)
	if err != nil {
		return nil, err
	}
	names := KeyColumns(t.Key)
	refused := errors.New("")
	if t.Tenant != "" && !slices.Contains(names, t.Tenant) {
		s.key, refused = s.db.Keyset(ctx, s.db, t.SQL, append([]string{t.Tenant}, names...)...)
		if refused != nil && !isSchemaError(refused) {
			return nil, s.schemaError(refused)
		}
	}
	if refused != nil {
		if s.key, err = s.db.Keyset(ctx, s.db, t.SQL, names...); err != nil {
			return nil, s.schemaError(err)
		}
	}
	for _, name := range names {
		quoted, err := s.db.Quote(name)
		if err != nil {
			return nil, s.schemaError(err)
		}
		s.named = append(s.named, slices.IndexFunc(s.key.Columns, func(c sqldb.Column) bool { return c.Name == quoted }))
	}
	return s, nil
}

func isSchemaError(err error) bool {
	_, ok := errors.AsType[*sqldb.KeyError](err)
	return ok
}

// schemaError says of a table that is not as it was declared that it is the
// definition's fault.
func (s *storedTable) schemaError(err error) error {
	if isSchemaError(err) {
		return fmt.Errorf("%w: table %s: %w", keyring.ErrDefinition, s.Name, err)
	}
	return fmt.Errorf("encryption: table %s: %w", s.Name, err)
}

// failed names the table in an error of the database, and takes values out.
func (s *storedTable) failed(doing string, err error) error {
	if isSchemaError(err) {
		return s.schemaError(err)
	}
	return fmt.Errorf("encryption: %s %s: %w", doing, s.Name, sqldb.Safe(err))
}

// write runs f in a transaction of the application's database. f may run again,
// where the database ended it for the sake of another transaction.
func (s *storedTable) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	var own error
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		own = f(tx)
		return own
	})
	if err != nil && own == nil {
		err = doubtOf(s.failed("write", err)) // at the end a database looks at what it was to look at then
	}
	return s.resolved(ctx, err)
}

// ofTenant is the condition that keeps to one tenant.
func (s *storedTable) ofTenant(tenant string) (where string, args []any) {
	if s.tenant == nil {
		return "1 = 1", nil
	}
	return s.db.Named(*s.tenant, tenant)
}

// spelt refuses a name that the column writes otherwise, 007 in a column of
// numbers, a UUID in capitals: the application's own comparison finds its rows,
// one by text does not, and what is not found is neither counted nor cleared. A
// name that the type does not take is the name of no row.
func (s *storedTable) spelt(ctx context.Context, c sqldb.Column, name string) error {
	text := s.db.Text(c)
	condition, args := c.Name+" = ?", []any{name}
	_, exact := s.db.Bytes(c)
	switch {
	case s.db.Kind == sqldb.SQLite: // where each value has a class of its own
		condition, args = "typeof("+c.Name+") <> 'text' AND ("+c.Name+" = ?) <> (CAST("+c.Name+" AS TEXT) COLLATE BINARY = ?)", []any{name, name}
	case exact:
		return nil // text: what differs is another name there
	case s.db.Kind != sqldb.Postgres:
		text = "CONCAT(" + c.Name + ")" // as Named compares
	}
	var stored sql.NullString
	err := sqldb.Each(ctx, s.db, func(rows *sql.Rows) error { return rows.Scan(&stored) },
		s.db.Bind(`SELECT `+text+` FROM `+s.sql+` WHERE `+condition+` LIMIT 1`), args...)
	if err == nil && stored.Valid && (s.db.Kind == sqldb.SQLite || stored.String != name) {
		return &keyring.KeyError{Op: "the column writes a tenant or owner otherwise than it was named: name it as the database does:", Table: s.Name, Err: keyring.ErrDefinition}
	}
	return nil
}

// place reads ResealOptions.After: the values of the key's columns, as the cursor
// of a page takes them.
func (s *storedTable) place(tenant, after string) ([]any, error) {
	if after == "" {
		return nil, nil
	}
	parts, ok := splitKey(after, len(s.named))
	if !ok {
		return nil, fmt.Errorf("%w: After is no place of table %s: hand in what ResealReport.Last said, or nothing", keyring.ErrDefinition, s.Name)
	}
	cursor := make([]any, len(s.key.Columns))
	for i := range cursor {
		cursor[i] = tenant // the only column that names no row
	}
	for i, at := range s.named {
		v, err := placeOf(parts[i], s.db.Kind == sqldb.SQLite)
		if err != nil {
			return nil, err
		}
		cursor[at] = v
	}
	return cursor, nil
}

// placeText is the way back.
func (s *storedTable) placeText(cursor []any) string {
	parts := make([]string, len(s.named))
	for i, at := range s.named {
		parts[i] = placeText(cursor[at])
	}
	return joinKey(parts)
}
