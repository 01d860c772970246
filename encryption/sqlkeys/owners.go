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

// ownersQuery asks for keys, owners and aliases, each table for itself: a key or an
// alias whose owner row is lost is there all the same, and must be found by whoever
// takes it away. Keys and owners come first, because PostgreSQL takes the types of
// the columns from the first two.
func ownersQuery(d sqldb.Dialect, tenant string, owners []string) (query string, args []any, err error) {
	asked, args, err := askedOwners(d, owners)
	if err != nil {
		return "", nil, err
	}
	query = asked.with
	for i, part := range []struct{ columns, table, owner string }{
		{"r.owner, NULL, NULL, NULL, r.generation, r.wrapped, r.seals", "crmguard_encryption_key", "r.owner"},
		{"r.owner, r.state, r.sequence, NULL, NULL, NULL, NULL", "crmguard_encryption_owner", "r.owner"},
		{"r.alias, NULL, NULL, r.owner, NULL, NULL, NULL", "crmguard_encryption_alias", "r.alias"},
	} {
		if i > 0 {
			query += " UNION ALL "
		}
		query += "SELECT " + part.columns + " FROM " + asked.from + part.table + " r WHERE r.tenant = ? AND " + part.owner + " " + asked.among
		args = append(append(args, tenant), asked.each...)
	}
	if d.Kind == sqldb.Postgres {
		query += hiding
	}
	return d.Bind(query), args, nil
}

// asking is how a statement names the owners that it asks for.
type asking struct {
	with  string // before it
	from  string // before each table
	among string // behind the owner of each
	each  []any  // the arguments of among
}

// askedOwners names one owner by itself. Several are a table, called asked.
//
// PostgreSQL compares each row of the tenant with one after the other of a list
// behind IN as soon as it keeps a plan for several executions, and each owner with
// each key where it joins without statistics, as on a fresh import: 3,000 persons
// took three to six seconds. SQLite spends its time on reading a long list, once
// here; CROSS says what comes first. MariaDB takes the width of a table of values
// from the first one, and cuts the others: there it is a list.
func askedOwners(d sqldb.Dialect, owners []string) (a asking, args []any, err error) {
	if len(owners) == 1 {
		return asking{among: "= ?", each: []any{owners[0]}}, nil, nil
	}
	switch d.Kind {
	case sqldb.Postgres:
		args = padded(owners)
		return asking{
			with:  "WITH asked (owner) AS (VALUES (CAST(? AS text))" + strings.Repeat(", (?)", len(args)-1) + ") ",
			among: "IN (SELECT a.owner FROM asked a)",
		}, args, nil
	case sqldb.SQLite:
		list, err := json.Marshal(owners) // ids are UTF-8
		return asking{
			with: "WITH asked (owner) AS MATERIALIZED (SELECT j.value FROM json_each(?) j) ",
			from: "asked a CROSS JOIN ", among: "= a.owner",
		}, []any{string(list)}, err
	case sqldb.MariaDB, sqldb.MySQL:
	}
	list := padded(owners)
	return asking{among: "IN (" + sqldb.Marks(len(list)) + ")", each: list}, nil, nil
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
