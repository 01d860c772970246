package sqlkeys

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Owners returns owner rows, key rows and aliases of the owners.
func (t *keyTx) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	return readOwners(ctx, t.dialect, t.tx, tenant, owners)
}

// readOwners reads everything about one owner in one statement, so that it is
// of one state.
func readOwners(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, tenant string, owners []string) (out keystore.Rows, err error) {
	owners = slices.Clone(owners)
	slices.Sort(owners)
	owners = slices.Compact(owners)
	for len(owners) > 0 {
		n := min(len(owners), ownersAStatement(d))
		if err := readSome(ctx, d, q, &out, tenant, owners[:n]); err != nil {
			return out, fmt.Errorf("sqlkeys: read owners: %w", sqldb.Safe(err))
		}
		owners = owners[n:]
	}
	slices.SortFunc(out.Owners, func(a, b keystore.OwnerRow) int { return cmp.Compare(a.Owner, b.Owner) })
	slices.SortFunc(out.Aliases, func(a, b keystore.AliasRow) int { return cmp.Compare(a.Alias, b.Alias) })
	// A join has them once for each key.
	out.Owners, out.Aliases = slices.Compact(out.Owners), slices.Compact(out.Aliases)
	slices.SortFunc(out.Keys, func(a, b keystore.KeyRow) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Number(), b.Number()))
	})
	return out, nil
}

// ownersAStatement bounds the owners of one statement: longer lists take
// MariaDB more than their share of time, and placeholders are limited.
func ownersAStatement(d sqldb.Dialect) int {
	if d.Kind == sqldb.MariaDB || d.Kind == sqldb.MySQL {
		return 512
	}
	return 4096
}

func readSome(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, out *keystore.Rows, tenant string, owners []string) (err error) {
	query, args, err := ownersQuery(d, tenant, owners)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var owner string // the variables are Scan's for all rows: it makes none of its own
	var state, into sql.NullString
	var sequence, keyVersion, seals sql.NullInt64
	var wrapped []byte // but for these, which are new ones with each row
	dest := []any{&owner, &state, &sequence, &into, &keyVersion, &wrapped, &seals}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if !state.Valid && !into.Valid && !keyVersion.Valid {
			return hidden()
		}
		if state.Valid {
			out.Owners = append(out.Owners, keystore.OwnerRow{Tenant: tenant, Owner: owner, State: keystore.OwnerState(state.String), Sequence: sequence.Int64})
		}
		if into.Valid {
			out.Aliases = append(out.Aliases, keystore.AliasRow{Tenant: tenant, Alias: owner, Owner: into.String})
		}
		if keyVersion.Valid {
			row := keystore.KeyRow{Tenant: tenant, Owner: owner, Wrapped: wrapped, Seals: seals.Int64}
			row.KeyVersion, row.Unfit = keystore.Fit(keyVersion.Int64)
			out.Keys = append(out.Keys, row)
		}
	}
	return rows.Err()
}

// ownersQuery asks for owners, each with its alias and its keys. Every owner is
// looked up in the index, and from there its alias and keys.
func ownersQuery(d sqldb.Dialect, tenant string, owners []string) (query string, args []any, err error) {
	const columns = `SELECT o.owner, o.state, o.sequence, a.owner, k.generation, k.wrapped, k.seals FROM `
	const joins = `
		LEFT JOIN crmguard_encryption_alias a ON a.tenant = o.tenant AND a.alias = o.owner
		LEFT JOIN crmguard_encryption_key k ON k.tenant = o.tenant AND k.owner = o.owner`
	switch d.Kind {
	case sqldb.Postgres:
		query, args = united(d, tenant, owners)
		return query, args, nil
	case sqldb.SQLite: // spends its time on reading a long list; CROSS says what comes first
		list, err := json.Marshal(owners) // ids are UTF-8
		return columns + `json_each(?) j CROSS JOIN crmguard_encryption_owner o ON o.tenant = ? AND o.owner = j.value` + joins, []any{string(list), tenant}, err
	case sqldb.MariaDB, sqldb.MySQL: // a table of values takes its width from the first one in MariaDB, and cuts the others
	}
	list := padded(owners)
	return d.Bind(columns + `crmguard_encryption_owner o` + joins + ` WHERE o.tenant = ? AND o.owner IN (` + sqldb.Marks(len(list)) + `)`),
		append([]any{tenant}, list...), nil
}

// united is the statement of PostgreSQL: keys, owners and aliases, in this
// order, because it takes the types of the columns from the first two.
//
// Several owners are a table, called asked. PostgreSQL compares each row of the
// tenant with one after the other of a list behind IN as soon as it keeps a plan
// for several executions, and each owner with each key where it joins without
// statistics, as on a fresh import: 3,000 persons took three to six seconds.
func united(d sqldb.Dialect, tenant string, owners []string) (query string, args []any) {
	among := "= ?"
	if len(owners) > 1 {
		among, args = "IN (SELECT a.owner FROM asked a)", padded(owners)
		query = "WITH asked (owner) AS (VALUES (CAST(? AS text))" + strings.Repeat(", (?)", len(args)-1) + ") "
	}
	for i, part := range []struct{ columns, table, owner string }{
		{"r.owner, NULL, NULL, NULL, r.generation, r.wrapped, r.seals", "crmguard_encryption_key", "r.owner"},
		{"r.owner, r.state, r.sequence, NULL, NULL, NULL, NULL", "crmguard_encryption_owner", "r.owner"},
		{"r.alias, NULL, NULL, r.owner, NULL, NULL, NULL", "crmguard_encryption_alias", "r.alias"},
	} {
		if i > 0 {
			query += " UNION ALL "
		}
		query, args = query+"SELECT "+part.columns+" FROM "+part.table+" r WHERE r.tenant = ? AND "+part.owner+" "+among, append(args, tenant)
		if len(owners) == 1 {
			args = append(args, owners[0])
		}
	}
	return d.Bind(query + hiding), args
}

// padded rounds the number of owners up to one of a few, so that drivers and
// servers that keep statements have few to keep and not thousands. No owner is
// called "".
func padded(owners []string) []any {
	size := 1
	for size < len(owners) {
		size *= 8
	}
	out := make([]any, size)
	for i := range out {
		out[i] = ""
		if i < len(owners) {
			out[i] = owners[i]
		}
	}
	return out
}
