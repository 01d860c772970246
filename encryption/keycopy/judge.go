package keycopy

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
)

// judge says what is wrong with one row; stray, that it should not be there.
func (e *examiner) judge(one keystore.Rows, line copyRow, order []byte, ends map[ownerPlace]bool) (reason string, stray bool, err error) {
	switch line.Kind {
	case keystore.KindKeyset:
		row := one.Keysets[0]
		stray = !slices.Contains(keyring.PurposesOf(row.Tenant), row.Purpose)
		reason, err = e.judgeKeyset(row)
	case keystore.KindKeyVersion:
		row := one.KeyVersions[0]
		if row.Unfit != 0 {
			return unfit("key version", row.Unfit), true, nil
		}
		if row.KeyVersion == 0 {
			return "nobody draws the key version 0", true, nil
		}
		if !knownKeyVersion(row.State) {
			reason = "its state is unknown"
			break
		}
		if row.State != keystore.Destroyed && e.copies.ring.HasDestroyed(row.Tenant, row.KeyVersion) {
			reason = "this process has destroyed it, and it says that it is not: DestroyKeyVersion once more"
		}
		e.states[genKey{row.Tenant, row.KeyVersion}] = row.State
		if row.State == keystore.Active {
			e.active[row.Tenant]++
		}
	case keystore.KindOwner:
		switch row := one.Owners[0]; {
		case !knownOwner(row.State):
			reason = "its state is unknown"
		case row.State != keystore.Tombstone && e.copies.ring.HasErased(row.Tenant, row.Owner):
			reason = "this process has erased the owner, who lives again: Erase once more"
			e.revived[ownerPlace{row.Tenant, row.Owner}] = true
		}
	case keystore.KindKey:
		return e.judgeKey(one.Keys[0], order)
	case keystore.KindAlias:
		row := one.Aliases[0]
		if !ends[ownerPlace{row.Tenant, row.Alias}] || !ends[ownerPlace{row.Tenant, row.Owner}] {
			// A person of whom nothing else is left is named as lost by the copy that has
			// him: of one that no copy has nothing can be missing.
			reason, stray = "one of the two persons is unknown", e.before != nil && !e.before.at(order)
		}
	case keystore.KindIndex:
		row := one.Indexes[0]
		if reason = e.judgeIndex(row); reason != "" {
			// Nothing of it is used. Where no copy has it otherwise it goes, and is registered anew.
			return reason, !e.before.at(order), nil
		}
		if !knownIndex(row.State) {
			reason = "its state is unknown"
		}
	case keystore.KindMark: // only its form can be wrong
	}
	return reason, stray, err
}

// placed reports whether the ids of a line are such as this library gives out, so
// that the line has a place in the order.
func placed(line copyRow) bool {
	aboutPerson := line.Kind == keystore.KindOwner || line.Kind == keystore.KindKey || line.Kind == keystore.KindAlias
	switch {
	case line.Tenant != "" && keyring.CheckID("tenant", line.Tenant) != nil:
		return false
	case aboutPerson && (line.Tenant == "" || keyring.CheckOwner(line.Owner) != nil):
		return false
	}
	return line.Kind != keystore.KindAlias || keyring.CheckOwner(line.Alias) == nil
}

// readable returns the bytes of a line; false says that it does not come out of
// them as the row that it was.
func readable(line copyRow) ([]byte, bool) {
	if !placed(line) {
		return nil, false
	}
	data, err := canon.Marshal(line)
	if err != nil {
		return nil, false
	}
	back, err := line.rows()
	return data, err == nil && reflect.DeepEqual(copyRows(back), []copyRow{line})
}

// copyable reports whether a copy can hold a row.
func copyable(one keystore.Rows) bool {
	_, ok := readable(copyRows(one)[0])
	return ok
}

func (e *examiner) judgeKeyset(row keystore.KeysetRow) (string, error) {
	known, ok := e.keysets[[2]string{row.Tenant, row.Purpose}]
	if !ok || known.row.KEK != row.KEK || known.row.Version != row.Version || !bytes.Equal(known.row.Wrapped, row.Wrapped) {
		return "", errOvertaken // changed since its KEK was asked
	}
	return known.why, nil
}

func (e *examiner) judgeKey(row keystore.KeyRow, order []byte) (reason string, stray bool, err error) {
	owner, found, err := e.owners.find(row.Tenant, row.Owner)
	if err != nil {
		return "", false, err
	}
	state, known := e.states[genKey{row.Tenant, row.KeyVersion}]
	wrap := e.keysets[[2]string{row.Tenant, keyring.PurposeWrap}].open
	entombed := found && owner.State == keystore.Tombstone
	if entombed || state == keystore.Destroyed {
		return e.judgeBuried(row, order, wrap, entombed)
	}
	switch {
	case !found || !knownOwner(owner.State) || e.revived[ownerPlace{row.Tenant, row.Owner}]:
		return "its owner is unknown", false, nil
	case row.Unfit != 0:
		return unfit("key version", row.Unfit), false, nil
	case wrap == nil:
		return "its tenant's keyset does not open", false, nil
	}
	if _, _, err := wrap.UnwrapKey(row); err != nil {
		return "it does not unwrap", false, nil
	}
	if !known {
		e.found.versions[genKey{row.Tenant, row.KeyVersion}] = true
		return "its key version is unknown", false, nil
	}
	return "", false, nil
}

// judgeIndex says why nothing can be searched by an index version.
func (e *examiner) judgeIndex(row keystore.IndexRow) string {
	if !row.Fits() {
		return unfit("version or root", cmp.Or(row.UnfitVersion, row.UnfitRoot))
	}
	if blindindex.CheckBits(row.Bits, false) != "" {
		return fmt.Sprintf("its width is %d bits, which no index has", row.Bits)
	}
	if open := e.keysets[[2]string{row.Tenant, keyring.PurposeIndex}].open; open != nil {
		if _, ok := open.Root(row.Root); !ok {
			return "its root is none of the tenant's keyset"
		}
	}
	return ""
}

// judgeBuried judges a key under what says that it is gone for ever; see graves.
func (e *examiner) judgeBuried(row keystore.KeyRow, order []byte, wrap *keyring.Keyset, entombed bool) (reason string, stray bool, err error) {
	reason, living := "its key version is destroyed", "its key version says that it is destroyed, and no copy does, nor opens without the key: where it was, DestroyKeyVersion once more; else it is the row of the key version that is damaged: put its state right, then RebuildIndexes"
	settled := e.dead.destroyed(row.Tenant, row.KeyVersion)
	if entombed {
		reason, living = "it stands under a tombstone", "its owner's row is a tombstone, and no copy has one: where the owner was erased, Erase once more; else it is the tombstone that is damaged: put its state right, then RebuildIndexes"
		erased, err := e.dead.erased(row.Tenant, row.Owner)
		if err != nil {
			return "", false, err
		}
		settled = settled || erased
	}
	if !settled && !e.before.at(order) && wrap != nil {
		_, _, err := wrap.UnwrapKey(row)
		settled = err != nil // whoever wrote it, it opens nothing
	}
	if settled {
		return reason, true, nil
	}
	return living, false, nil
}

// unfit says that a number is none that anybody would have drawn. Key versions and
// index versions of such a number are strays: what they were before, if they were
// anything, is missed where it is missing. A key may be the only one of its values.
func unfit(what string, n int64) string {
	return fmt.Sprintf("its %s is %d, which is no number of 32 bits", what, n)
}

// excused says of a key that is not what the copy before has that it is none
// the less in order: it is the same one, or the other one was given up since.
func (e *examiner) excused(now keystore.KeyRow) (bool, error) {
	if e.sameKey(now) {
		return true, nil
	}
	owner, found, err := e.owners.find(now.Tenant, now.Owner)
	return found && owner.Sequence > e.before.read.header.Sequence, err
}

// sameKey reports whether the key of the copy before is the same one, wrapped
// once more, as RepairFromCopy does from an older copy.
func (e *examiner) sameKey(now keystore.KeyRow) bool {
	was, err := e.before.row.rows()
	wrap := e.keysets[[2]string{now.Tenant, keyring.PurposeWrap}].open
	if err != nil || len(was.Keys) != 1 || wrap == nil {
		return false
	}
	a, _, err := wrap.UnwrapKey(now)
	b, _, err2 := wrap.UnwrapKey(was.Keys[0])
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

// ownerPlace names an owner.
type ownerPlace struct{ tenant, owner string }

// aliasEnds says which persons of aliases there are.
func aliasEnds(ctx context.Context, tx keystore.Tx, aliases []keystore.AliasRow) (map[ownerPlace]bool, error) {
	asked := map[string][]string{}
	for _, row := range aliases {
		asked[row.Tenant] = append(asked[row.Tenant], row.Alias, row.Owner)
	}
	out := map[ownerPlace]bool{}
	for tenant, ids := range asked {
		rows, err := tx.Owners(ctx, tenant, ids)
		if err != nil {
			return nil, err
		}
		for _, row := range rows.Owners {
			out[ownerPlace{tenant, row.Owner}] = true
		}
	}
	return out, nil
}

func knownKeyVersion(state keystore.KeyVersionState) bool {
	return state == keystore.Active || state == keystore.Retired || state == keystore.Destroying || state == keystore.Deleting || state == keystore.Destroyed
}

func knownOwner(state keystore.OwnerState) bool {
	return state == keystore.Live || state == keystore.Tombstone
}

func knownIndex(state keystore.IndexState) bool {
	return state == keystore.IndexBuilding || state == keystore.IndexFencing || state == keystore.IndexFenced || state == keystore.IndexLive || state == keystore.IndexRetiring || state == keystore.IndexRetired
}
