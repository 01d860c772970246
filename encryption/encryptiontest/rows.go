package encryptiontest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

func (c *content) apply(change keystore.Change) {
	for _, r := range change.Remove.Keysets {
		delete(c.keysets, [2]string{r.Tenant, r.Purpose})
	}
	for _, r := range change.Remove.KeyVersions {
		delete(c.keyVersions, genID{r.Tenant, r.Number()})
	}
	for _, r := range change.Remove.Owners {
		delete(c.owners, [2]string{r.Tenant, r.Owner})
	}
	for _, r := range change.Remove.Keys {
		delete(c.keys, keyID{r.Tenant, r.Owner, r.Number()})
	}
	for _, r := range change.Remove.Aliases {
		delete(c.aliases, [2]string{r.Tenant, r.Alias})
	}
	for _, r := range change.Remove.Indexes {
		delete(c.indexes, indexID{r.Tenant, r.Table, r.Index, r.Number()})
	}
	for _, r := range change.Remove.Marks {
		delete(c.marks, r.Sequence)
	}
	c.put(change.Put)
	if s := change.Store; s != nil {
		next := keystore.State{Store: s.Store, Epoch: s.Epoch, Sequence: c.state.Sequence, Mark: c.state.Mark, Barrier: c.state.Barrier, Taken: c.state.Taken, Returned: c.state.Returned, KEK: s.KEK, Retiring: s.Retiring, Lease: s.Lease, LeaseWait: s.LeaseWait, LeaseSince: s.LeaseSince, LongestTransaction: s.LongestTransaction}
		if s.Sequence != 0 {
			if c.marks[c.state.Sequence].Mark == c.state.Mark {
				delete(c.marks, c.state.Sequence)
			}
			next.Sequence, next.Mark = s.Sequence, c.marks[s.Sequence].Mark
		}
		c.state = next
	}
	if change.Narrows {
		c.state.Barrier = c.state.Sequence
		if !change.Keeps {
			c.state.Taken = c.state.Sequence
		}
		if change.Returns {
			c.state.Returned = c.state.Sequence
		}
		mark := c.marks[c.state.Sequence]
		mark.Narrows = change.Narrowed(mark.Narrows)
		c.marks[c.state.Sequence] = mark
	}
}

// create takes owners that are live, and keys, where none is.
func (c *content) create(change keystore.Change) error {
	rows := change.Put
	if !change.Creates() {
		return errors.New("encryptiontest: Create takes live owners and keys only")
	}
	for _, r := range rows.Owners {
		if _, ok := c.owners[[2]string{r.Tenant, r.Owner}]; !ok {
			c.owners[[2]string{r.Tenant, r.Owner}] = r
		}
	}
	for _, r := range rows.Keys {
		if _, ok := c.keys[keyID{r.Tenant, r.Owner, r.Number()}]; !ok {
			c.keys[keyID{r.Tenant, r.Owner, r.Number()}] = r
		}
	}
	return nil
}

func (c *content) put(rows keystore.Rows) {
	for _, r := range rows.Keysets {
		c.keysets[[2]string{r.Tenant, r.Purpose}] = r
	}
	for _, r := range rows.KeyVersions {
		c.keyVersions[genID{r.Tenant, r.Number()}] = r
	}
	for _, r := range rows.Owners {
		c.owners[[2]string{r.Tenant, r.Owner}] = r
	}
	for _, r := range rows.Keys {
		c.keys[keyID{r.Tenant, r.Owner, r.Number()}] = r
	}
	for _, r := range rows.Aliases {
		c.aliases[[2]string{r.Tenant, r.Alias}] = r
	}
	for _, r := range rows.Indexes {
		c.indexes[indexID{r.Tenant, r.Table, r.Index, r.Number()}] = r
	}
	for _, r := range rows.Marks {
		c.marks[r.Sequence] = r
	}
}

// Page returns rows of one kind in the order of their primary key.
func (t *memoryTx) Page(_ context.Context, page keystore.Page) (keystore.Rows, error) {
	var out keystore.Rows
	switch page.Kind {
	case keystore.KindKeyset:
		out.Keysets = select1(t.now.keysets, page, func(r keystore.KeysetRow) (string, []any) { return r.Tenant, []any{r.Tenant, r.Purpose} })
	case keystore.KindKeyVersion:
		out.KeyVersions = select1(t.now.keyVersions, page, func(r keystore.KeyVersionRow) (string, []any) {
			return r.Tenant, []any{r.Tenant, r.Number()}
		})
	case keystore.KindOwner:
		out.Owners = select1(t.now.owners, page, func(r keystore.OwnerRow) (string, []any) { return r.Tenant, []any{r.Tenant, r.Owner} })
	case keystore.KindKey:
		keys := t.now.keys
		if page.KeyVersion != 0 {
			keys = maps.Clone(keys)
			maps.DeleteFunc(keys, func(id keyID, _ keystore.KeyRow) bool { return id.keyVersion != int64(page.KeyVersion) })
		}
		out.Keys = select1(keys, page, func(r keystore.KeyRow) (string, []any) {
			return r.Tenant, []any{r.Tenant, r.Owner, r.Number()}
		})
	case keystore.KindAlias:
		out.Aliases = select1(t.now.aliases, page, func(r keystore.AliasRow) (string, []any) { return r.Tenant, []any{r.Tenant, r.Alias} })
	case keystore.KindIndex:
		out.Indexes = select1(t.now.indexes, page, func(r keystore.IndexRow) (string, []any) {
			return r.Tenant, []any{r.Tenant, r.Table, r.Index, r.Number()}
		})
	case keystore.KindMark:
		out.Marks = select1(t.now.marks, page, func(r keystore.MarkRow) (string, []any) { return "", []any{r.Sequence} })
	}
	return out, nil
}

// select1 sorts the rows of one kind and cuts the page out of them.
func select1[K comparable, R any](rows map[K]R, page keystore.Page, key func(R) (string, []any)) []R {
	var out []R
	for _, row := range rows {
		tenant, primary := key(row)
		if (page.Tenant == "" || page.Tenant == tenant) && (len(page.After) == 0 || compare(primary, page.After) > 0) {
			out = append(out, row)
		}
	}
	slices.SortFunc(out, func(a, b R) int {
		_, ka := key(a)
		_, kb := key(b)
		return compare(ka, kb)
	})
	return out[:min(len(out), page.Limit)]
}

func compare(a, b []any) int {
	for i := range a {
		order := 0
		switch x := a[i].(type) {
		case string:
			y, _ := b[i].(string)
			order = cmp.Compare(x, y)
		case int64:
			y, _ := b[i].(int64)
			order = cmp.Compare(x, y)
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

var _ keystore.Store = (*Memory)(nil)
