package encryption

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/frame"
)

// normalise applies a rule; false says that the rule is unknown.
func normalise(as Normaliser, value string) (string, bool) {
	switch as {
	case Exact:
		return value, true
	case Email:
		value = norm.NFC.String(strings.Trim(value, " \t\r\n"))
		if strings.IndexFunc(value, func(r rune) bool { return r >= 'A' && r <= 'Z' }) < 0 {
			return value, true
		}
		lower := []byte(value)
		for i, c := range lower {
			if c >= 'A' && c <= 'Z' {
				lower[i] = c + 'a' - 'A'
			}
		}
		// A small letter may compose with a mark where the capital does not
		// (T and U+0308 against U+1E97): only now are both spellings one.
		return norm.NFC.String(string(lower)), true
	}
	return "", false
}

// indexKey derives the key of one index version.
func indexKey(root []byte, tenant, table, index string, version uint32, as Normaliser, bits int) ([]byte, error) {
	info := frame.Join(indexDomain, tenant, table, index)
	info = binary.BigEndian.AppendUint32(info, version)
	info = frame.Append(info, as)
	info = binary.BigEndian.AppendUint16(info, uint16(bits))
	return derive(root, info)
}

// tenantIndexes holds the keys and states of a table's index versions in one
// tenant.
type tenantIndexes struct {
	macs   []*indexMAC // by position in SealedTable.indexes; nil when retired
	states []keystore.IndexState
}

// tenantIndexes returns the keys of all declared index versions, registering
// those that the tenant does not have yet.
func (t *SealedTable) tenantIndexes(ctx context.Context, tenant string) (*tenantIndexes, error) {
	k, err := t.vault.registered(ctx, tenant)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	known := k.indexes[t]
	k.mu.Unlock()
	if known != nil {
		return known, nil
	}
	open, err := t.vault.keysetOf(ctx, k, purposeIndex)
	if err != nil {
		return nil, err
	}
	keys, err := t.derived(tenant, k.rows.Indexes, open)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.indexes) >= maxDerived {
		clear(k.indexes) // whoever declares a table again for each use gets no profit of it
	}
	k.indexes[t] = keys
	return keys, nil
}

// maxDerived bounds the tables whose index keys a tenant keeps in memory.
const maxDerived = 256

func (t *SealedTable) derived(tenant string, rows []keystore.IndexRow, open *openKeyset) (*tenantIndexes, error) {
	out := &tenantIndexes{macs: make([]*indexMAC, len(t.indexes)), states: make([]keystore.IndexState, len(t.indexes))}
	for i, index := range t.indexes {
		at := slices.IndexFunc(rows, func(r keystore.IndexRow) bool {
			return r.Table == t.def.Name && r.Index == index.Name && r.Version == index.Version
		})
		if at < 0 {
			return nil, &KeyError{Op: "index", Table: t.def.Name, Column: index.Name, Err: ErrIncomplete} // registered a moment ago
		}
		row := rows[at]
		if row.Normaliser != string(index.As) || row.Bits != index.Bits {
			return nil, &KeyError{Op: "another normaliser or width is a new version", Table: t.def.Name, Column: index.Name, Err: ErrDefinition}
		}
		out.states[i] = row.State
		if row.State == keystore.IndexRetired {
			continue
		}
		root, ok := open.root(row.Root)
		if !ok {
			return nil, &KeyError{Op: "root of the index", Table: t.def.Name, Column: index.Name, Err: ErrNoKey}
		}
		key, err := indexKey(root, tenant, t.def.Name, index.Name, index.Version, index.As, index.Bits)
		if err != nil {
			return nil, err
		}
		out.macs[i] = newIndexMAC(key, index.Bits)
	}
	return out, nil
}

// value computes what index i holds for an opened value: NULL when it
// normalises to empty or the version is retired.
func (x *tenantIndexes) value(t *SealedTable, i int, value string) IndexValue {
	normal, _ := normalise(t.indexes[i].As, value)
	if normal == "" || x.macs[i] == nil {
		return IndexValue{}
	}
	return x.macs[i].value(normal)
}

// Index returns the value for an index column (its SQL name). A value that
// normalises to empty is NULL, and so is a retired version.
func (w *Writer) Index(index, value string) IndexValue {
	i := slices.IndexFunc(w.table.indexes, func(x tableIndex) bool { return x.Column == index })
	if i < 0 {
		return IndexValue{err: &KeyError{Op: "no such index is declared:", Table: w.table.def.Name, Column: index, Err: ErrDefinition}}
	}
	return w.indexKeys().value(w.table, i, value)
}

// Int64 is Index for widths up to 63 bits; a wider one fails.
func (w *Writer) Int64(index, value string) IndexValue {
	x := w.Index(index, value)
	if x.wide != nil {
		return IndexValue{err: &KeyError{Op: "the index is wider than 63 bits", Table: w.table.def.Name, Column: index, Err: ErrDefinition}}
	}
	return x
}

// Probe is one value to look for.
type Probe struct {
	Column  string     // SQL column
	Version uint32     // of the index
	Value   IndexValue // to compare with
}

// Conditions is one Probe for each live version of an index.
type Conditions []Probe

// Where returns "(alias.column = ? OR …)" and its arguments, for SQLite and
// MariaDB; alias may be "". On PostgreSQL take [Conditions.Postgres].
func (p Conditions) Where(alias string) (where string, args []any) {
	return p.where(alias, func(int) string { return "?" })
}

// Postgres is Where with the placeholders of PostgreSQL, from $first on, so that
// it fits into a statement with arguments of its own before it.
func (p Conditions) Postgres(alias string, first int) (where string, args []any) {
	return p.where(alias, func(i int) string { return "$" + strconv.Itoa(first+i) })
}

func (p Conditions) where(alias string, placeholder func(i int) string) (where string, args []any) {
	parts := make([]string, 0, len(p))
	for i, probe := range p {
		column := probe.Column
		if alias != "" {
			column = alias + "." + column
		}
		parts = append(parts, column+" = "+placeholder(i))
		args = append(args, probe.Value)
	}
	return "(" + strings.Join(parts, " OR ") + ")", args
}

// Lookup returns what to search for: one value for each live version of the
// index, which is named by its logical name or by one of its columns. Narrow
// indexes collide on purpose: open what is found and compare it with Match.
// No live version is an error (ErrIncomplete, with the call that is missing),
// and so is a value that normalises to empty (ErrDefinition): both would find
// nothing and look like an answer.
func (t *SealedTable) Lookup(ctx context.Context, tenant, index, value string) (Conditions, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	name := t.indexName(index)
	if name == "" {
		return nil, &KeyError{Op: "no such index is declared:", Table: t.def.Name, Column: index, Err: ErrDefinition}
	}
	keys, err := t.tenantIndexes(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var out Conditions
	var states []keystore.IndexState
	for i, x := range t.indexes {
		if x.Name != name {
			continue
		}
		if states = append(states, keys.states[i]); keys.states[i] != keystore.IndexLive {
			continue
		}
		v := keys.value(t, i, value)
		if v.IsNull() {
			return nil, &KeyError{Op: "lookup of a value that normalises to empty, by", Table: t.def.Name, Column: index, Err: ErrDefinition}
		}
		out = append(out, Probe{Column: x.Column, Version: x.Version, Value: v})
	}
	if len(out) == 0 {
		return nil, t.notLive(index, states)
	}
	return out, nil
}

func (t *SealedTable) indexName(index string) string {
	for _, x := range t.indexes {
		if x.Name == index || x.Column == index {
			return x.Name
		}
	}
	return ""
}

// Match reports whether an opened value is what was looked for: the
// confirmation after a Lookup, by the rule of the index.
func (t *SealedTable) Match(index, opened, wanted string) bool {
	name := t.indexName(index)
	for _, x := range t.indexes {
		if x.Name == name {
			a, _ := normalise(x.As, opened)
			b, _ := normalise(x.As, wanted)
			return a == b && a != ""
		}
	}
	return false
}

// RetireIndex retires a version of an index: it is neither written nor asked
// any more. Another version must be live, unless the index is declared here no
// longer: then it is given up, and nobody searches by it.
func (t *SealedTable) RetireIndex(ctx context.Context, tenant, index string, version uint32) error {
	return t.setIndexStates(ctx, tenant, func(rows []keystore.IndexRow) ([]keystore.IndexRow, error) {
		name := t.indexName(index)
		live := name == ""
		if live {
			name = index
		}
		var put []keystore.IndexRow
		for _, row := range rows {
			switch {
			case row.Table != t.def.Name || row.Index != name:
			case row.Version == version:
				row.State = keystore.IndexRetired
				put = append(put, row)
			case row.State == keystore.IndexLive:
				live = true
			}
		}
		if len(put) == 0 || !live {
			return nil, &KeyError{Op: "retire: unknown version, or no other one is live", Table: t.def.Name, Column: index, Err: ErrDefinition}
		}
		return put, nil
	})
}

func (t *SealedTable) setIndexStates(ctx context.Context, tenant string, next func([]keystore.IndexRow) ([]keystore.IndexRow, error)) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	_, err := t.vault.update(ctx, func(tx keystore.Tx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		put, err := next(now.Indexes)
		if err != nil || len(put) == 0 {
			return err
		}
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Indexes: put}, Narrows: true, Of: keystore.Scope{Tenant: tenant}})
	})
	return err
}
