package sqlkeys

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/crmguard/crmguard/encryption"
)

// Write removes and puts rows. A put is a removal and an insertion, which every
// SQL database knows; the transaction is serial, so nothing comes between.
func (t *keyTx) Write(ctx context.Context, change encryption.Change) error {
	if !t.write {
		return errors.New("sqlkeys: a snapshot is not written")
	}
	t.wrote = true
	if err := t.each(ctx, change.Remove, t.remove); err != nil {
		return err
	}
	if err := t.each(ctx, change.Put, t.put); err != nil {
		return err
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

// each encodes rows by kind: the values of all columns, primary key first.
func (t *keyTx) each(ctx context.Context, rows encryption.Rows, f func(context.Context, encryption.Kind, []any) error) error {
	for _, r := range rows.Keysets {
		former := make([]byte, 0, 4*len(r.Former))
		for _, id := range r.Former {
			former = binary.BigEndian.AppendUint32(former, id)
		}
		if err := f(ctx, encryption.KindKeyset, []any{r.Tenant, r.Purpose, r.Epoch, r.KEK, r.Version, former, r.Wrapped}); err != nil {
			return err
		}
	}
	for _, r := range rows.Generations {
		if err := f(ctx, encryption.KindGeneration, []any{r.Tenant, int64(r.Generation), string(r.State), r.Created.UnixMicro()}); err != nil {
			return err
		}
	}
	for _, r := range rows.Owners {
		if err := f(ctx, encryption.KindOwner, []any{r.Tenant, r.Owner, string(r.State), r.Sequence}); err != nil {
			return err
		}
	}
	for _, r := range rows.Keys {
		if err := f(ctx, encryption.KindKey, []any{r.Tenant, r.Owner, int64(r.Generation), r.Wrapped}); err != nil {
			return err
		}
	}
	for _, r := range rows.Aliases {
		if err := f(ctx, encryption.KindAlias, []any{r.Tenant, r.Alias, r.Owner}); err != nil {
			return err
		}
	}
	for _, r := range rows.Indexes {
		if err := f(ctx, encryption.KindIndex, []any{r.Tenant, r.Table, r.Index, int64(r.Version), int64(r.Root), r.Normaliser, r.Bits, string(r.State)}); err != nil {
			return err
		}
	}
	return nil
}

func (t *keyTx) remove(ctx context.Context, kind encryption.Kind, values []any) error {
	tab, _ := tableOf(kind)
	return t.exec(ctx, `DELETE FROM `+tab.name+` WHERE `+strings.Join(tab.key, ` = ? AND `)+` = ?`, values[:len(tab.key)]...)
}

func (t *keyTx) put(ctx context.Context, kind encryption.Kind, values []any) error {
	if err := t.remove(ctx, kind, values); err != nil {
		return err
	}
	tab, _ := tableOf(kind)
	return t.exec(ctx, `INSERT INTO `+tab.name+` (`+strings.Join(tab.columns, ", ")+`) VALUES (`+marks(len(values))+`)`, values...)
}
