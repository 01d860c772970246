package sqlkeys

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// now is the moment as the tables keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Write removes and puts rows, each kind in as few statements as the database
// takes: the keys of 3,000 persons are one change.
func (t *keyTx) Write(ctx context.Context, change keystore.Change) error {
	switch {
	case t.mode == reading:
		return errors.New("sqlkeys: a snapshot is not written")
	case t.mode == creating && !change.Creates():
		return errors.New("sqlkeys: Create takes live owners and keys only")
	}
	t.wrote = true
	if err := t.remove(ctx, change.Remove); err != nil {
		return err
	}
	if err := t.insert(ctx, change.Put, t.mode == updating); err != nil {
		return err
	}
	if s := change.Store; s != nil {
		if err := t.exec(ctx, `UPDATE crmguard_encryption_store SET store = ?, epoch = ?, kek = ?, retiring = ?, lease = ?, lease_wait = ?, lease_since = ?, longest = ? WHERE one = 1`,
			s.Store, s.Epoch, s.KEK, strings.Join(s.Retiring, "\n"), s.Lease.Microseconds(), s.LeaseWait.Microseconds(), s.LeaseSince, s.LongestTransaction.Microseconds()); err != nil {
			return err
		}
		if s.Sequence != 0 {
			if err := t.adopt(ctx, s.Sequence); err != nil {
				return err
			}
		}
	}
	if change.Narrows {
		return t.narrow(ctx, change)
	}
	return nil
}

// narrow moves the barrier to this update, and what else the change says of the
// state row, and says in its mark whose keys it narrowed.
func (t *keyTx) narrow(ctx context.Context, change keystore.Change) error {
	t.narrows = change.Narrowed(t.narrows)
	moved := "barrier = sequence"
	if !change.Keeps {
		moved += ", taken = sequence"
	}
	if change.Returns {
		moved += ", returned = sequence"
	}
	if err := t.exec(ctx, `UPDATE crmguard_encryption_store SET `+moved+` WHERE one = 1`); err != nil {
		return err
	}
	return t.exec(ctx, `UPDATE crmguard_encryption_mark SET narrows = ? WHERE sequence = (SELECT s.barrier FROM crmguard_encryption_store s WHERE s.one = 1)`, t.narrows)
}

func (t *keyTx) remove(ctx context.Context, rows keystore.Rows) error {
	values := valuesOf(rows)
	for _, kind := range kinds() {
		tab, _ := tableOf(kind)
		keys := values[kind]
		for i, row := range keys {
			keys[i] = row[:len(tab.key)]
		}
		if err := t.dialect.Delete(ctx, t.tx, tab.name, tab.key, keys); err != nil {
			return fmt.Errorf("sqlkeys: delete %s: %w", kind, err)
		}
	}
	return nil
}

// insert puts rows, kind by kind and each in the order of its key: creations
// that overlap then wait for each other in one order, and none for another
// that waits for it.
func (t *keyTx) insert(ctx context.Context, rows keystore.Rows, replace bool) error {
	if !replace {
		rows.Owners, rows.Keys = slices.Clone(rows.Owners), slices.Clone(rows.Keys)
		slices.SortFunc(rows.Owners, func(a, b keystore.OwnerRow) int {
			return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Owner, b.Owner))
		})
		slices.SortFunc(rows.Keys, func(a, b keystore.KeyRow) int {
			return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.KeyVersion, b.KeyVersion))
		})
	}
	values := valuesOf(rows)
	for _, kind := range kinds() {
		tab, _ := tableOf(kind)
		if err := t.dialect.Insert(ctx, t.tx, sqldb.Insert{Table: tab.name, Columns: tab.columns, Key: tab.key, Replace: replace}, values[kind]); err != nil {
			return fmt.Errorf("sqlkeys: put %s: %w", kind, err)
		}
	}
	return nil
}

// kinds are the kinds of rows in the order in which they are written: an owner
// before its keys.
func kinds() []keystore.Kind {
	return []keystore.Kind{
		keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindOwner, keystore.KindKey, keystore.KindAlias, keystore.KindIndex, keystore.KindMark,
	}
}

// valuesOf are the rows by kind, each the values of all columns, the primary
// key first.
func valuesOf(rows keystore.Rows) map[keystore.Kind][][]any {
	out := map[keystore.Kind][][]any{}
	add := func(kind keystore.Kind, values ...any) { out[kind] = append(out[kind], values) }
	for _, r := range rows.Keysets {
		former := make([]byte, 0, 4*len(r.Former))
		for _, id := range r.Former {
			former = binary.BigEndian.AppendUint32(former, id)
		}
		add(keystore.KindKeyset, r.Tenant, r.Purpose, r.Epoch, r.KEK, r.Version, former, r.Wrapped)
	}
	for _, r := range rows.KeyVersions {
		add(keystore.KindKeyVersion, r.Tenant, r.Number(), string(r.State), r.Created.UnixMicro())
	}
	for _, r := range rows.Owners {
		add(keystore.KindOwner, r.Tenant, r.Owner, string(r.State), r.Sequence)
	}
	for _, r := range rows.Keys {
		add(keystore.KindKey, r.Tenant, r.Owner, r.Number(), r.Wrapped, r.Seals)
	}
	for _, r := range rows.Aliases {
		add(keystore.KindAlias, r.Tenant, r.Alias, r.Owner)
	}
	for _, r := range rows.Indexes {
		add(keystore.KindIndex, r.Tenant, r.Table, r.Index, r.Number(), cmp.Or(r.UnfitRoot, int64(r.Root)), r.Normaliser, r.Bits, string(r.State))
	}
	for _, r := range rows.Marks {
		position := 0
		if r.Position {
			position = 1
		}
		add(keystore.KindMark, r.Sequence, r.Mark, r.Created.UnixMicro(), position, r.Narrows)
	}
	return out
}
