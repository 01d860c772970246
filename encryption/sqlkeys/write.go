package sqlkeys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Write removes and puts rows, each kind in as few statements as the database
// takes: the keys of 3,000 persons are one change.
func (t *keyTx) Write(ctx context.Context, change encryption.Change) error {
	if !t.write {
		return errors.New("sqlkeys: a snapshot is not written")
	}
	t.wrote = true
	for kind, rows := range valuesOf(change.Remove) {
		tab, _ := tableOf(kind)
		for i, row := range rows {
			rows[i] = row[:len(tab.key)]
		}
		if err := t.dialect.Delete(ctx, t.tx, tab.name, tab.key, rows); err != nil {
			return fmt.Errorf("sqlkeys: delete %s: %w", kind, err)
		}
	}
	for kind, rows := range valuesOf(change.Put) {
		tab, _ := tableOf(kind)
		if err := t.dialect.Insert(ctx, t.tx, sqldb.Insert{Table: tab.name, Columns: tab.columns, Key: tab.key, Replace: true}, rows); err != nil {
			return fmt.Errorf("sqlkeys: put %s: %w", kind, err)
		}
	}
	if s := change.Store; s != nil {
		if err := t.exec(ctx, `UPDATE crmguard_encryption_store SET store = ?, epoch = ?, kek = ?, retiring = ? WHERE one = 1`, s.Store, s.Epoch, s.KEK, strings.Join(s.Retiring, "\n")); err != nil {
			return err
		}
		if s.Sequence != 0 {
			if err := t.exec(ctx, `UPDATE crmguard_encryption_store SET sequence = ? WHERE one = 1`, s.Sequence); err != nil {
				return err
			}
		}
	}
	if change.Narrows {
		return t.exec(ctx, `UPDATE crmguard_encryption_store SET barrier = sequence WHERE one = 1`)
	}
	return nil
}

// valuesOf are the rows by kind, each the values of all columns, the primary
// key first.
func valuesOf(rows encryption.Rows) map[encryption.Kind][][]any {
	out := map[encryption.Kind][][]any{}
	add := func(kind encryption.Kind, values ...any) { out[kind] = append(out[kind], values) }
	for _, r := range rows.Keysets {
		former := make([]byte, 0, 4*len(r.Former))
		for _, id := range r.Former {
			former = binary.BigEndian.AppendUint32(former, id)
		}
		add(encryption.KindKeyset, r.Tenant, r.Purpose, r.Epoch, r.KEK, r.Version, former, r.Wrapped)
	}
	for _, r := range rows.Generations {
		add(encryption.KindGeneration, r.Tenant, int64(r.Generation), string(r.State), r.Created.UnixMicro())
	}
	for _, r := range rows.Owners {
		add(encryption.KindOwner, r.Tenant, r.Owner, string(r.State), r.Sequence)
	}
	for _, r := range rows.Keys {
		add(encryption.KindKey, r.Tenant, r.Owner, int64(r.Generation), r.Wrapped)
	}
	for _, r := range rows.Aliases {
		add(encryption.KindAlias, r.Tenant, r.Alias, r.Owner)
	}
	for _, r := range rows.Indexes {
		add(encryption.KindIndex, r.Tenant, r.Table, r.Index, int64(r.Version), int64(r.Root), r.Normaliser, r.Bits, string(r.State))
	}
	return out
}
