package encryption

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/normalise"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Normaliser names a rule that turns a value into what is indexed: two spellings
// that it makes one are found by each other. Any change of a rule is a new name,
// and so a new version of the index; both are searched together until the old
// one is retired. Config.Normalisers adds the application's own.
type Normaliser string

// The normalisers of the library; formats.md has them exactly.
const (
	// Exact takes the bytes as they are.
	Exact Normaliser = normalise.Exact
	// Email makes one of what looks the same: nothing invisible anywhere, no blanks
	// at the ends, no points at the end of the domain, full-width letters as others,
	// and no difference of case in any script. So ann@straße.example and
	// ANN@STRASSE.EXAMPLE. are one, which they need not be for a mail server: write
	// to the address that is stored, never to the one that was searched for.
	Email Normaliser = normalise.Email2
	// EmailV1 is the rule before: space, tab, CR and LF at the ends, NFC, A to Z.
	EmailV1 Normaliser = normalise.Email1
	// EmailDomain takes what stands behind the last @ by the rule of Email. One may
	// search by an address or by the domain alone.
	EmailDomain Normaliser = normalise.Domain
)

// LastDigits takes the last n decimal digits of any script, n from 2 to 15, for a
// telephone or a card number of which somebody names the end. A value with fewer
// is not indexed; an extension at the end is taken for a part of the number.
func LastDigits(n int) Normaliser { return Normaliser(normalise.LastDigits(n)) }

// ErrValue says that a normaliser of the application refused a value.
var ErrValue = blindindex.ErrValue

// rule returns the rule of that name.
func (v *Vault) rule(as Normaliser) (blindindex.Rule, error) {
	var there []string
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Normalisers)) {
		there = append(there, string(name))
	}
	return blindindex.RuleOf(string(as), v.cfg.Normalisers[as], there)
}

// tenantIndexes are a table's index versions in one tenant, by position in
// SealedTable.indexes.
type tenantIndexes []blindindex.Version

// tenantIndexes returns the keys of all declared index versions, registering
// those that the tenant does not have yet.
func (t *SealedTable) tenantIndexes(ctx context.Context, tenant string) (*tenantIndexes, error) {
	k, err := t.vault.registered(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if known, _ := k.Derived(t.indexPlace).(*tenantIndexes); known != nil {
		return known, nil
	}
	open, err := t.vault.ring.KeysetOf(ctx, k, keyring.PurposeIndex)
	if err != nil {
		return nil, err
	}
	keys, err := t.derived(tenant, k.Rows.Indexes, open)
	if err != nil {
		return nil, err
	}
	k.KeepDerived(t.indexPlace, keys)
	return keys, nil
}

func (t *SealedTable) derived(tenant string, rows []keystore.IndexRow, open *keyring.Keyset) (*tenantIndexes, error) {
	out := make(tenantIndexes, len(t.indexes))
	for i, index := range t.indexes {
		at := slices.IndexFunc(rows, func(r keystore.IndexRow) bool {
			return r.Table == t.def.Name && r.Index == index.Name && r.Version == index.Version
		})
		if at < 0 {
			return nil, &KeyError{Op: "index", Table: t.def.Name, Column: index.Name, Err: ErrIncomplete} // registered a moment ago
		}
		row := rows[at]
		if row.Normaliser != string(index.As) || row.Bits != index.Bits {
			return nil, &KeyError{
				Op:    fmt.Sprintf("the key store has it as %q of %d bits, and it is declared as %q of %d: a change of either is a new Version; where nobody changed the declaration, the row of the key store was changed, and RepairFromCopy brings it back:", row.Normaliser, row.Bits, index.As, index.Bits),
				Table: t.def.Name, Column: index.Name, Err: ErrDefinition,
			}
		}
		if row.State == keystore.IndexRetired {
			out[i].State = row.State
			continue
		}
		root, ok := open.Root(row.Root)
		if !ok {
			return nil, &KeyError{Op: "an index whose root is none of the tenant's, so its row was changed: RepairFromCopy brings it back:", Table: t.def.Name, Column: index.Name, Err: ErrDamaged}
		}
		row.Tenant = tenant
		var err error
		if out[i], err = blindindex.NewVersion(row, index.rule, root); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// value computes what index i holds for an opened value: NULL when it
// normalises to empty or the version is retired.
func (x tenantIndexes) value(t *SealedTable, i int, value string) IndexValue {
	v, err := x[i].Value(value)
	if err != nil {
		return IndexValue{err: &KeyError{Op: "index", Table: t.def.Name, Column: t.indexes[i].Name, Err: err}}
	}
	return IndexValue{narrow: v.Narrow, wide: v.Wide}
}

// rebuilt is value for a row that is there already: what the rule refuses, no
// search has, because Lookup refuses it, too. Everything else stops the job.
func (x tenantIndexes) rebuilt(t *SealedTable, i int, value string) (any, error) {
	v := x.value(t, i, value)
	if errors.Is(v.err, ErrValue) {
		return nil, nil
	}
	return v.Value()
}

// Index returns the value for an index column (its SQL name). A value that
// normalises to empty is NULL, and so is a retired version. One that a normaliser
// of the application refuses stops the statement (ErrValue).
func (w *Writer) Index(index, value string) IndexValue {
	i := 0
	for i < len(w.table.indexes) && w.table.indexes[i].Column != index {
		i++
	}
	if i == len(w.table.indexes) {
		return IndexValue{err: w.table.noIndex(index)}
	}
	return (*w.indexKeys).value(w.table, i, value)
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
// and so is a value that normalises to empty (ErrDefinition) or is refused by a
// normaliser of the application (ErrValue): they would find nothing and look like
// an answer. Versions with other rules are searched together: what one of them
// makes one is found.
//
// Rows that are not sealed yet have no index value, and are not found: seal the
// column by stages (package adoption), which searches both, or declare the index
// once all rows are sealed.
func (t *SealedTable) Lookup(ctx context.Context, tenant, index, value string) (Conditions, error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	name := t.indexName(index)
	if name == "" {
		return nil, t.noIndex(index)
	}
	found, err := t.tenantIndexes(ctx, tenant)
	if err != nil {
		return nil, err
	}
	keys := *found
	var out Conditions
	var states []keystore.IndexState
	var nothing error
	for i, x := range t.indexes {
		if x.Name != name {
			continue
		}
		if states = append(states, keys[i].State); keys[i].State != keystore.IndexLive {
			continue
		}
		// A version has no row for a value that its rule makes empty or refuses: it is
		// left to those whose rules do not.
		switch v := keys.value(t, i, value); {
		case v.err != nil && !errors.Is(v.err, ErrValue):
			return nil, v.err
		case v.err != nil:
			nothing = v.err
		case v.IsNull():
			nothing = &KeyError{Op: "lookup of a value that normalises to empty, by", Table: t.def.Name, Column: index, Err: ErrDefinition}
		default:
			out = append(out, Probe{Column: x.Column, Version: x.Version, Value: v})
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if nothing != nil {
		return nil, nothing
	}
	return nil, t.notLive(index, states)
}

// noIndex lists what may be named instead.
func (t *SealedTable) noIndex(index string) error {
	op := "no such index is declared; there are none:"
	if len(t.indexes) > 0 {
		names := make([]string, len(t.indexes))
		for i, x := range t.indexes {
			names[i] = x.Column
			if x.Name != x.Column {
				names[i] += " (of " + x.Name + ")"
			}
		}
		op = "no such index is declared; there are " + strings.Join(names, ", ") + ":"
	}
	return &KeyError{Op: op, Table: t.def.Name, Column: index, Err: ErrDefinition}
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
// confirmation after a Lookup, by the rule of any version of the index that is
// declared, as Lookup finds by any of them.
func (t *SealedTable) Match(index, opened, wanted string) bool {
	name := t.indexName(index)
	return slices.ContainsFunc(t.indexes, func(x tableIndex) bool {
		if x.Name != name {
			return false
		}
		a, err := x.rule(opened)
		if err != nil || a == "" {
			return false
		}
		b, err := x.rule(wanted)
		return err == nil && a == b
	})
}

func (t *SealedTable) setIndexStates(ctx context.Context, tenant string, may func(keystore.State) error, next func([]keystore.IndexRow) ([]keystore.IndexRow, error)) error {
	if err := keyring.CheckTenant(tenant); err != nil {
		return err
	}
	_, err := t.vault.ring.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err == nil && may != nil {
			err = may(state)
		}
		if err != nil {
			return err
		}
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		put, err := next(now.Indexes)
		if err != nil || len(put) == 0 {
			return err
		}
		gone := slices.ContainsFunc(put, func(row keystore.IndexRow) bool {
			return row.State == keystore.IndexRetiring || row.State == keystore.IndexRetired
		})
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Indexes: put}, Narrows: true, Keeps: !gone, Of: keystore.Scope{Tenant: tenant}})
	})
	return err
}

// ErrExists says that a UNIQUE constraint on an index column refused a value that
// is there already, in the spelling of the index's normaliser.
var ErrExists = errors.New("encryption: value exists")

// Exists says what the error of an INSERT or UPDATE means: where a UNIQUE
// constraint on the column of an index of this table refused it, the answer is
// ErrExists with table and index, and without the values that databases and
// drivers quote; any other error, and nil, comes back as it is. Nothing is read.
//
// The constraint is known by its name where the database tells no column: it must
// be named as the index column, or hold its name between underscores, as the
// databases name it by themselves (contacts_email_idx_key).
func (t *SealedTable) Exists(err error) error {
	refused, ok := errors.AsType[*sqldb.DriverError](sqldb.Safe(err))
	if !ok || !slices.Contains([]string{"23505", "mysql 1062", "mysql 1586", "sqlite 1555", "sqlite 2067"}, refused.Code) {
		return err
	}
	for _, index := range t.indexes {
		if refused.Column == index.Column || blindindex.Names(refused.Constraint, index.Column) {
			return &KeyError{Op: "another row has it in", Table: t.def.Name, Column: index.Name, Err: fmt.Errorf("%w: %w", ErrExists, refused)}
		}
	}
	return err
}

// Normalise answers what an index, named by its SQL column, takes of a value: ""
// for nothing. An error that is ErrValue refuses the value, any other says that the
// rule itself is wrong. A measurement of the column needs it (package leakage).
func (t *SealedTable) Normalise(index, value string) (string, error) {
	for _, x := range t.indexes {
		if x.Column == index {
			return x.rule(value)
		}
	}
	return "", t.noIndex(index)
}
