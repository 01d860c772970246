package sqlkeys

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// mode says what a transaction may write.
type mode int

const (
	reading  mode = iota // nothing
	creating             // owners and keys that are not there yet
	updating             // everything
)

// keyTx is the inside of one transaction.
type keyTx struct {
	tx      *sql.Tx
	dialect sqldb.Dialect
	mode    mode
	state   *keystore.State // while creating: as it stands until the end

	// While updating.
	sequence int64 // that the update has raised the store to
	mark     string
	narrows  string // of its mark
	wrote    bool
}

func (t *keyTx) exec(ctx context.Context, query string, args ...any) error {
	if _, err := t.tx.ExecContext(ctx, t.dialect.Bind(query), args...); err != nil {
		return fmt.Errorf("sqlkeys: write: %w", sqldb.Safe(err))
	}
	return nil
}

// State reads the state row.
func (t *keyTx) State(ctx context.Context) (keystore.State, error) {
	if t.state != nil {
		return *t.state, nil
	}
	return readState(ctx, t.tx, "")
}

// readState reads the state row; lock is what the statement ends with.
func readState(ctx context.Context, q sqldb.Querier, lock string) (keystore.State, error) {
	var s keystore.State
	var retiring string
	var lease, wait, longest int64
	err := sqldb.One(ctx, q, []any{&s.Store, &s.Epoch, &s.Sequence, &s.Mark, &s.Barrier, &s.Taken, &s.Returned, &s.KEK, &retiring, &lease, &wait, &s.LeaseSince, &longest},
		`SELECT store, epoch, sequence, mark, barrier, taken, returned, kek, retiring, lease, lease_wait, lease_since, longest FROM crmguard_encryption_store WHERE one = 1`+lock)
	if err != nil {
		return s, fmt.Errorf("sqlkeys: read state: %w", err)
	}
	if retiring != "" {
		s.Retiring = strings.Split(retiring, "\n")
	}
	s.Lease, s.LeaseWait, s.LongestTransaction = time.Duration(lease)*time.Microsecond, time.Duration(wait)*time.Microsecond, time.Duration(longest)*time.Microsecond
	return s, nil
}

// Tenant returns keysets, key versions and index versions of one tenant.
func (t *keyTx) Tenant(ctx context.Context, tenant string) (keystore.Rows, error) {
	var out keystore.Rows
	for _, kind := range []keystore.Kind{keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindIndex} {
		if err := t.rows(ctx, &out, kind, "tenant = ?", tenant); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Merged returns the aliases that point to the owner.
func (t *keyTx) Merged(ctx context.Context, tenant, owner string) ([]keystore.AliasRow, error) {
	var out keystore.Rows
	err := t.rows(ctx, &out, keystore.KindAlias, "tenant = ? AND owner = ?", tenant, owner)
	return out.Aliases, err
}

// table describes one kind of rows: its columns in the order of encode, the
// primary key first.
type table struct {
	name    string
	key     []string
	columns []string
}

func tableOf(kind keystore.Kind) (table, bool) {
	switch kind {
	case keystore.KindKeyset:
		return table{"crmguard_encryption_keyset", []string{"tenant", "purpose"}, []string{"tenant", "purpose", "epoch", "kek", "version", "former", "wrapped"}}, true
	case keystore.KindKeyVersion:
		return table{"crmguard_encryption_generation", []string{"tenant", "generation"}, []string{"tenant", "generation", "state", "created"}}, true
	case keystore.KindOwner:
		return table{"crmguard_encryption_owner", []string{"tenant", "owner"}, []string{"tenant", "owner", "state", "sequence"}}, true
	case keystore.KindKey:
		return table{"crmguard_encryption_key", []string{"tenant", "owner", "generation"}, []string{"tenant", "owner", "generation", "wrapped", "seals"}}, true
	case keystore.KindAlias:
		return table{"crmguard_encryption_alias", []string{"tenant", "alias"}, []string{"tenant", "alias", "owner"}}, true
	case keystore.KindIndex:
		return table{"crmguard_encryption_index", []string{"tenant", "tab", "idx", "version"}, []string{"tenant", "tab", "idx", "version", "root", "normaliser", "bits", "state"}}, true
	case keystore.KindMark:
		return table{"crmguard_encryption_mark", []string{"sequence"}, []string{"sequence", "mark", "created", "position", "narrows"}}, true
	}
	return table{}, false
}

// Page returns rows of one kind in the order of their primary key.
func (t *keyTx) Page(ctx context.Context, page keystore.Page) (keystore.Rows, error) {
	var out keystore.Rows
	tab, ok := tableOf(page.Kind)
	if !ok {
		return out, fmt.Errorf("sqlkeys: unknown kind of rows")
	}
	var where []string
	var args []any
	if page.Tenant != "" && page.Kind != keystore.KindMark {
		where, args = append(where, "tenant = ?"), append(args, page.Tenant)
	}
	if page.KeyVersion != 0 && page.Kind == keystore.KindKey {
		where, args = append(where, "generation = ?"), append(args, int64(page.KeyVersion))
	}
	query, args := t.dialect.Page(sqldb.Page{
		Table: tab.name, Columns: tab.columns, Key: tab.key,
		Where: strings.Join(where, " AND "), Args: args, After: page.After, Limit: page.Limit,
	})
	err := t.read(ctx, &out, page.Kind, query, args)
	return out, err
}

// rows reads all rows that meet the condition, in the order of their key.
func (t *keyTx) rows(ctx context.Context, out *keystore.Rows, kind keystore.Kind, where string, args ...any) error {
	tab, _ := tableOf(kind)
	query := `SELECT ` + strings.Join(tab.columns, ", ") + ` FROM ` + tab.name + ` WHERE ` + where + ` ORDER BY ` + strings.Join(tab.key, ", ")
	return t.read(ctx, out, kind, t.dialect.Bind(query), args)
}

func (t *keyTx) read(ctx context.Context, out *keystore.Rows, kind keystore.Kind, query string, args []any) (err error) {
	rows, err := t.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("sqlkeys: read %s: %w", kind, sqldb.Safe(err))
	}
	defer func() { err = errors.Join(err, sqldb.Safe(rows.Close())) }()
	for rows.Next() {
		if err := scan(rows, out, kind); err != nil {
			return fmt.Errorf("sqlkeys: read %s: %w", kind, sqldb.Safe(err))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("sqlkeys: read %s: %w", kind, sqldb.Safe(err))
	}
	return nil
}

func scan(rows *sql.Rows, out *keystore.Rows, kind keystore.Kind) error {
	switch kind {
	case keystore.KindKeyset:
		var r keystore.KeysetRow
		var former []byte
		if err := rows.Scan(&r.Tenant, &r.Purpose, &r.Epoch, &r.KEK, &r.Version, &former, &r.Wrapped); err != nil {
			return err
		}
		for ; len(former) >= 4; former = former[4:] {
			r.Former = append(r.Former, binary.BigEndian.Uint32(former))
		}
		out.Keysets = append(out.Keysets, r)
	case keystore.KindKeyVersion:
		var r keystore.KeyVersionRow
		var keyVersion, created int64
		if err := rows.Scan(&r.Tenant, &keyVersion, &r.State, &created); err != nil {
			return err
		}
		r.KeyVersion, r.Unfit = keystore.Fit(keyVersion)
		r.Created = time.UnixMicro(created).UTC()
		out.KeyVersions = append(out.KeyVersions, r)
	case keystore.KindOwner:
		var r keystore.OwnerRow
		if err := rows.Scan(&r.Tenant, &r.Owner, &r.State, &r.Sequence); err != nil {
			return err
		}
		out.Owners = append(out.Owners, r)
	case keystore.KindKey:
		var r keystore.KeyRow
		var keyVersion int64
		if err := rows.Scan(&r.Tenant, &r.Owner, &keyVersion, &r.Wrapped, &r.Seals); err != nil {
			return err
		}
		r.KeyVersion, r.Unfit = keystore.Fit(keyVersion)
		out.Keys = append(out.Keys, r)
	case keystore.KindAlias:
		var r keystore.AliasRow
		if err := rows.Scan(&r.Tenant, &r.Alias, &r.Owner); err != nil {
			return err
		}
		out.Aliases = append(out.Aliases, r)
	case keystore.KindIndex:
		var r keystore.IndexRow
		var version, root int64
		if err := rows.Scan(&r.Tenant, &r.Table, &r.Index, &version, &root, &r.Normaliser, &r.Bits, &r.State); err != nil {
			return err
		}
		r.Version, r.UnfitVersion = keystore.Fit(version)
		r.Root, r.UnfitRoot = keystore.Fit(root)
		out.Indexes = append(out.Indexes, r)
	case keystore.KindMark:
		var r keystore.MarkRow
		var created int64
		var position int
		if err := rows.Scan(&r.Sequence, &r.Mark, &created, &position, &r.Narrows); err != nil {
			return err
		}
		r.Created, r.Position = time.UnixMicro(created).UTC(), position != 0
		out.Marks = append(out.Marks, r)
	}
	return nil
}
