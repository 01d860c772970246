package encryption

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
)

// FindConditions returns what to search for to find rows by what is known of a
// person, by the name of each table in SQL: her e-mail addresses or telephone
// numbers, in the sealed columns of every table that the vault declares. An access
// request, and an erasure, must also reach rows which name no person.
//
// identities are values by the family of a normaliser, its name without the
// version ("email", "acme.e164"), which searches each index of every version of it
// in every table, or by one index ("contacts.member_idx", both logical).
//
// Narrow indexes collide: FindRows opens what is found and compares. An index that
// is not searched yet is ErrIncomplete, and an identity that no index is declared
// for ErrDefinition: both would find nothing and look like an answer.
func (v *Vault) FindConditions(ctx context.Context, tenant string, identities map[string][]string) (map[string]Conditions, error) {
	searches, err := v.searches(ctx, tenant, identities)
	if err != nil {
		return nil, err
	}
	out := map[string]Conditions{}
	for _, s := range searches {
		out[s.table.def.SQL] = append(out[s.table.def.SQL], s.conditions...)
	}
	return out, nil
}

// FindRows searches the tables in the database for the identities of
// [Vault.FindConditions], opens what is found and lists it, each row once for each
// index that found it. An error is the last answer. Tables of other databases are
// searched by FindConditions.
func (v *Vault) FindRows(ctx context.Context, db *sql.DB, tenant string, identities map[string][]string) iter.Seq2[jobs.FoundRow, error] {
	return func(yield func(jobs.FoundRow, error) bool) {
		searches, err := v.searches(ctx, tenant, identities)
		if err != nil {
			yield(jobs.FoundRow{}, err)
			return
		}
		for _, s := range searches {
			more, err := s.rows(ctx, db, tenant, func(row jobs.FoundRow) bool { return yield(row, nil) })
			if err != nil {
				yield(jobs.FoundRow{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// identitySearch looks for some values by one index.
type identitySearch struct {
	table      *SealedTable
	index      string
	values     []string
	conditions Conditions
}

func (v *Vault) searches(ctx context.Context, tenant string, identities map[string][]string) (out []identitySearch, err error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	tables := v.declared.all()
	for _, kind := range slices.Sorted(maps.Keys(identities)) {
		known := false
		for _, t := range tables {
			for _, index := range t.identifiedBy(kind) {
				known = true
				s := identitySearch{table: t, index: index, values: identities[kind]}
				for _, value := range s.values {
					conditions, err := t.Lookup(ctx, tenant, index, value)
					if err != nil {
						return nil, err
					}
					s.conditions = append(s.conditions, conditions...)
				}
				if len(s.conditions) > 0 {
					out = append(out, s)
				}
			}
		}
		if !known {
			return nil, fmt.Errorf("%w: no declared table has an index for the identity %q: it is the family of a normaliser (email) or table.index, both logical", ErrDefinition, kind)
		}
	}
	return out, nil
}

// all lists the declared tables, in the order of their names.
func (d *declared) all() []*SealedTable {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*SealedTable
	for _, name := range slices.Sorted(maps.Keys(d.tables)) {
		out = append(out, d.tables[name])
	}
	return out
}

// identifiedBy lists the indexes, by logical name, that an identity is looked for
// by.
func (t *SealedTable) identifiedBy(kind string) (out []string) {
	for _, x := range t.indexes {
		if (kind == blindindex.Family(string(x.As)) || kind == t.def.Name+"."+x.Name) && !slices.Contains(out, x.Name) {
			out = append(out, x.Name)
		}
	}
	return out
}

func (s identitySearch) rows(ctx context.Context, db *sql.DB, tenant string, yield func(jobs.FoundRow) bool) (more bool, err error) {
	stored, err := s.table.counted(ctx, db, tenant)
	if err != nil {
		return false, err
	}
	condition, args, col := s.where(stored)
	var after []any
	for {
		rows, err := stored.page(ctx, tenant, after, condition, args, rebuildBatch)
		if err != nil || len(rows) == 0 {
			return err == nil, err
		}
		if _, _, err := s.table.vault.ring.Owners(ctx, tenant, stored.ownersOf(rows), true); err != nil {
			return false, err // one key query for the page
		}
		for _, row := range rows {
			value, there, err := stored.openedCell(ctx, tenant, col, row)
			if err != nil {
				return false, err
			}
			hers := slices.ContainsFunc(s.values, func(wanted string) bool { return s.table.Match(s.index, value, wanted) })
			if there && !hers {
				continue // another value, which is equal in so many bits
			}
			if !yield(jobs.FoundRow{Table: s.table.def.SQL, Key: row.id, Owner: ownerText(row.stored), Confirmed: there}) {
				return false, nil
			}
		}
		after = rows[len(rows)-1].cursor
	}
}

// where is the condition with the names as this database quotes them.
func (s identitySearch) where(stored *storedTable) (condition string, args []any, col *Column) {
	parts := make([]string, len(s.conditions))
	for i, probe := range s.conditions {
		at := slices.IndexFunc(s.table.indexes, func(x tableIndex) bool { return x.Column == probe.Column })
		parts[i] = stored.indexes[at].Name + " = ?"
		args = append(args, probe.Value)
		col = &s.table.def.Columns[s.table.indexes[at].column]
	}
	return strings.Join(parts, " OR "), args, col
}
