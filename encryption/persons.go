package encryption

import "context"

// AddAlias says that a person was merged into another: from keeps its keys,
// which old snapshots need, and seals no more; erasing either erases both. The
// application reseals the fields of from under into in its own transaction
// (a Reader for from, a Writer for into). It is idempotent, and Unmerge takes it
// back.
func (v *Vault) AddAlias(ctx context.Context, tenant, from, into string) error {
	return v.ring.AddAlias(ctx, tenant, from, into)
}

// Unmerge takes back what AddAlias said: from is a person of its own again,
// with the keys it had, and seals again, within the lease everywhere. Who was
// merged into from before stays so. It is idempotent.
//
// Nothing is resealed by it. What was moved under the keys of into, by the
// application or by Reseal, stays there until the application moves it back (a
// Reader for into, a Writer for from, in its own transaction; which rows those
// are, nobody else knows). Until then the erasure of into takes it along, and
// that of from does not reach it: so move first, then erase. A key copy of
// before brings the merge back with it.
//
// Erased persons are ErrErased: keys do not come back. ErrMerged says that from
// was merged into somebody else, ErrNoKey that it was never merged.
func (v *Vault) Unmerge(ctx context.Context, tenant, from, into string) error {
	return v.ring.Unmerge(ctx, tenant, from, into)
}

// Aliases lists the other ids of the same person: everyone that was merged
// with it, directly or not, into it or it into them, sorted. An erasure covers
// all of them, so whoever searches or clears rows for a person does it for
// these, too. A UUID is listed in small and in capital letters, the other spelling
// of the person's own, too: to the keys it is one id, to a column of text two. The
// list stays after the erasure.
func (v *Vault) Aliases(ctx context.Context, tenant, person string) ([]string, error) {
	return v.ring.Aliases(ctx, tenant, person)
}

// Ensure fetches or creates the keys of many persons in few transactions:
// before an import, and before a transaction in which keys must not be
// fetched. Persons that get no key are a [PersonsError], which names their
// positions: all others are ready.
func (v *Vault) Ensure(ctx context.Context, tenant string, persons ...string) error {
	return v.ring.Ensure(ctx, tenant, persons...)
}
