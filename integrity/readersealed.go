package integrity

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
)

// sealedTable is a sealed table in a result.
type sealedTable struct {
	Table
	key, version, schema, event, seal *bound
	only                              string // the layout where the query names none
	layouts                           map[string][]bound
}

func (s *resultSet) sealed(sealer *Sealer, table Table) (*sealedTable, error) {
	if err := sealer.check(); err != nil {
		return nil, err
	}
	t := &sealedTable{Table: table, layouts: map[string][]bound{}}
	if table.Key == "" || table.Seal == "" {
		return nil, configErr("a Table without the name of its column of keys or seals")
	}
	for _, role := range []struct {
		name string
		of   Type
		to   **bound
	}{{table.Key, Text, &t.key}, {table.Version, Integer, &t.version}, {table.SchemaID, Text, &t.schema}, {table.Event, Text, &t.event}, {table.Seal, Bytes, &t.seal}} {
		if role.name == "" {
			continue
		}
		b, there, err := s.find(Column{Name: role.name, Type: role.of})
		if err != nil {
			return nil, err
		}
		if !there {
			return nil, configErr("the query lacks %q", role.name)
		}
		*role.to = &b
	}
	if t.schema == nil && len(sealer.layouts) > 1 {
		return nil, configErr("a Table without the name of its column of schema ids, and a sealer of %d layouts", len(sealer.layouts))
	}
	return t, t.bind(s, sealer.layouts)
}

// bind finds the layouts that the result can hold; that it can hold none is a
// mistake, and that it lacks one may be its age.
func (t *sealedTable) bind(s *resultSet, layouts map[string][]Column) error {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(layouts)) {
		bound, err := s.bind(layouts[id])
		if err != nil {
			errs = append(errs, fmt.Errorf("%w (layout %q)", err, id))
			continue
		}
		t.layouts[id] = bound
		t.only = id
	}
	if len(t.layouts) == 0 {
		return errors.Join(errs...)
	}
	return nil
}

// row reads the row at hand. goesOn says that an error is about this row alone.
func (t *sealedTable) row(s *resultSet) (row SealedRow, goesOn bool, err error) {
	row.Ref = Ref{Tenant: t.Tenant, Table: t.Name, SchemaID: t.only}
	var faults []error
	note := func(err error) { faults = append(faults, err) }
	row.Ref.Key, err = s.keyOf(t.key)
	note(err)
	if t.version != nil {
		row.Ref.Version, err = cellOf[int64](s, t.version, false)
		note(err)
	}
	if t.schema != nil {
		row.Ref.SchemaID, err = cellOf[string](s, t.schema, true)
		note(err)
	}
	if t.event != nil {
		row.Ref.Event, err = cellOf[string](s, t.event, true)
		note(err)
	}
	row.Seal, err = cellOf[[]byte](s, t.seal, true)
	note(err)
	if row.Values, err = s.values(t.layouts[row.Ref.SchemaID]); err != nil {
		return row, false, err
	}
	for _, err := range faults {
		if err != nil {
			return row, true, err
		}
	}
	return row, true, nil
}

// cellOf converts nothing that the database tells apart.
func cellOf[T any](s *resultSet, b *bound, mayBeNull bool) (T, error) {
	v, err := s.value(*b)
	cell, ok := v.(T)
	if err != nil || !ok && (v != nil || !mayBeNull) {
		return cell, b.isNone(v)
	}
	return cell, nil
}

func (b *bound) isNone(v any) error {
	return &tamperError{column: b.Name, what: fmt.Sprintf("column %q: a %T", b.Name, v)}
}

// keyOf is the text of a key. A column of SQLite that converts nothing may hold
// 7 and '7', which are two keys to a WHERE: there a key is text.
func (s *resultSet) keyOf(b *bound) (string, error) {
	v, err := s.value(*b)
	if err != nil || v == nil {
		return "", b.isNone(v)
	}
	if s.kind == sqldb.SQLite {
		declared := s.types[b.index]
		_, isText := v.(string)
		_, isInteger := v.(int64)
		if !isText && (!isInteger || declared == "" || strings.Contains(declared, "BLOB") || declared == "ANY") {
			return "", b.isNone(v)
		}
	}
	read, err := value.Scanned(v)
	if err != nil {
		return "", b.isNone(v)
	}
	key, err := read.ID()
	if err != nil {
		return "", b.isNone(v)
	}
	return key, nil
}
