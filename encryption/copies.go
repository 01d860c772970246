package encryption

import (
	"context"

	"github.com/crmguard/crmguard/encryption/keycopy"
)

// RestoreCopy verifies a key copy, loads it into an empty key store in one
// transaction and opens the vault. need are the key positions of the data
// snapshots that are to be read: a copy that does not cover one of them is
// refused (ErrNotCovered). A store that holds any row is not empty (ErrNotEmpty), whatever
// its state row says. The lease is the one of the copy, and Config.Lease is 0
// or the same. The store keeps its id, so keep one store only:
// what was left of the lost one must not be used beside it.
//
// Whoever was erased after the copy was written is back with it: erase them again
// (package privacy replays its ledger) before anybody reads. No index is searched
// (ErrIncomplete) before RebuildIndexes has shown that the rows of today have it.
func RestoreCopy(ctx context.Context, cfg Config, path string, need ...[]byte) (*Vault, error) {
	v, state, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if state.Store != "" {
		return nil, ErrNotEmpty
	}
	if err := v.copies.Restore(ctx, path, v.agree, need...); err != nil {
		return nil, err
	}
	return Open(ctx, cfg)
}

// GiveUp deletes damaged keys that no copy brings back, so that key copies and
// epochs go on: the values under them are lost for good. rows are those of a
// *DamagedError; one that has changed since, opens, or is no key that is there,
// is refused (ErrDamaged), and nothing is deleted then. So is one that opens in
// the newest key copy of the folders that this vault was told of (Copier, KeyCopy,
// WriteCopy), or under that one's keysets, and so are all of a tenant of whom a keyset
// is damaged or older than there: RepairFromCopy has it. Tell it of them first. What else is damaged
// has other ways: erase the person (Erase), destroy the key version once more
// (DestroyKeyVersion), or bring the row back by hand. A key that
// opens, and of whose key version nothing but the row is lost, is not given up:
// RepairFromCopy and RewrapKeys bring that row back. Keys of a tenant who has no
// keyset are given up only where there is such a copy, and it has none of them either.
//
// A key that is made afterwards under the same owner is no damage, though an older
// copy has another one: the values under that one are those that were given up.
func (v *Vault) GiveUp(ctx context.Context, rows ...keycopy.DamagedRow) error {
	return v.copies.GiveUp(ctx, rows...)
}

// RepairFromCopy brings rows of the key store back that are damaged or lost,
// from a key copy that has them, and leaves all others as they are. The copy
// must be of this store and of its history (ErrRewound otherwise). A key comes
// back only if it opens in the copy, its owner lives, and its key version is not
// destroyed, nor about to be; a key that opens is never replaced. A tombstone
// that the copy has comes back over an owner that somebody revived. Everything
// else whose going may have been meant (an owner, an alias, a key version) comes
// back only where nothing was erased, destroyed or rotated, no merge taken back and no
// index retired since the copy was written: repairs, new tenants, merges, indexes and
// epochs do not count, so that a repair that was interrupted is called again. What the newest
// copy in the folders that the vault knows of has as gone for ever does not come back
// out of an older one, nor what this process erased or destroyed since: that is put
// right. What another process did since no copy tells: write one after each. One key version comes back in any case, also without the copy, as one that
// seals no more: that of a key which opens in the store; and one that is
// destroyed in the copy is so for ever.
//
// A Rebuild while the keys were lost, or rows that were put back without their index
// values, leave indexes that lack what the keys open, and no copy tells. So no index of
// a tenant whose rows come back is searched (ErrIncomplete, RepairReport.Fenced) before
// RebuildIndexes. Where one is searched today it is taken out of the search first, and
// the keys come back a lease and the longest transaction later, when no process searches
// by what it has in memory: RepairFromCopy waits for that, once for all tenants as a
// rule. Interrupted, it may be called again.
//
// Also what is there in a state or with a number that nobody writes comes back, or is
// put right, whatever was taken away since: an owner of whom a key opens, a key
// version of which one does, an index, also one whose root, normaliser or width is
// another one than in the copy (its state stays), a keyset; and RepairReport.Numbers. A
// key that
// opens under a tombstone or a destroyed key version is named, and stays, unless a
// whole copy, this one or the newest that the vault knows of, has its owner erased or
// its key version destroyed, or this process did that: Erase or DestroyKeyVersion
// once more decide it. A copy with holes destroys and erases nothing that is there.
//
// A copy that is changed by others meanwhile is ErrCopy, and nothing is taken of the
// pages that changed; what was brought back before is what was verified.
//
// A *DamagedError says what is damaged still; a copy with holes may have some
// of it, or an older one, and GiveUp ends the rest.
func (v *Vault) RepairFromCopy(ctx context.Context, path string) (keycopy.RepairReport, error) {
	return v.copies.Repair(ctx, path)
}

// VerifyCopy reads a key copy in full: canonical lines in order, count,
// digest, mac, every branch key opened by its KEK, the other keysets by their
// branch key and every key row by its keyset. A damaged or forged one is ErrCopy, and so is one that is named
// keys-*.jsonl after another sequence than it holds: an old copy must not
// pass for the newest. A KEK that does not serve is ErrKEK.
func (v *Vault) VerifyCopy(ctx context.Context, path string) (keycopy.Copy, error) {
	return v.copies.Verify(ctx, path)
}

// WriteCopy writes a key copy into a folder, latest only: the file is
// complete, on disk and verified in full before it gets its name, and only
// when the name is on disk, too, all others in the folder are deleted: older
// copies, and what writers that were killed left unfinished (.keys-…). A
// disk that fails on the way costs no older copy. When it returns, the folder
// holds no older key copy, and no writer that began earlier can bring one: it
// finds its file gone and starts again. It returns the copy that stays, which
// is another writer's where that one is newer. The folder is a place of its
// own, apart from data backups, without versions of old files; one that holds a
// copy of another key store is refused (ErrCopy) and left as it is, for that
// may be the only one that store has, and so is one with a copy of a history that
// this store lost when it was put back (ErrRewound). The copy holds every key that was
// committed before the call: it begins with a mark of its own, as Position
// does. Where folders cannot be flushed (Windows, some network mounts) a power cut may still lose
// the name.
//
// Rows that are damaged do not keep the others from being copied: a copy without
// them is written as damaged-keys-*.jsonl, beside the newest whole copy, which
// stays and is the one to bring them back from (RepairFromCopy). The error is a
// *DamagedError then, which names them. A row that the newest copy in the folder
// has, and that is gone or was put back without a reason, is damaged, too. A key store
// that fails is ErrStore. No
// other call takes a copy with holes for one: NewestCopy does not see it, and
// it covers no position.
func (v *Vault) WriteCopy(ctx context.Context, dir string) (keycopy.Copy, error) {
	return v.copies.Write(ctx, dir)
}

// Copier returns a func that writes a verified key copy into the folder: what
// Epoch.Copy takes.
func (v *Vault) Copier(dir string) func(ctx context.Context) error {
	return v.copies.Copier(dir)
}

// KeyCopy returns a func that answers nil once a verified and durable key copy
// in the folder covers the position, and no other copy is left there; it writes
// a copy where that is not so yet. A data snapshot commits only after it. The
// folder must be there.
func (v *Vault) KeyCopy(dir string) func(ctx context.Context, position []byte) error {
	return v.copies.KeyCopy(dir)
}

// RepairFromCaches writes keys back that the key store has lost, and this process
// still has in memory: a failover to an asynchronous standby, or a recovery to a
// point in time, may lose the newest keys of rows that are committed elsewhere.
// Call it in every process that ran before, on the vault that it had: also on one
// that answers ErrRewound, which is when it is needed, and which opens and seals
// nothing all the same. Then Open afresh. It answers how many rows it wrote, and
// is nothing but a look where none is missing.
//
// It only adds: an owner, a key, and the key version of a key, as one that opens
// and does not seal. A key comes back under the wrap key that the store has now;
// never under a tombstone, never where this process or the store says that the
// key version is destroyed, or the store that it is about to be, never in place of a key that is there
// (RepairReport.Conflicts lists those that are other keys: what was sealed under
// the lost one does not open), and never into a store that holds nothing that
// this process saw committed (ErrRewound: restore a copy). A tenant whose keysets
// do not open is an error that names it, behind what the others got back.
//
// What was lost in other rows does not come back: tenants, merges, index
// versions, new keysets, and erasures: replay the erasure ledger before anybody
// reads, since whoever was both created and erased in the part that was lost may
// come back. No index is searched (ErrIncomplete, RepairReport.Fenced) before
// RebuildIndexes has shown that the rows of these keys have it; where one is searched
// today the keys come back a lease and the longest transaction later, as with
// RepairFromCopy. Interrupted, it may be called again: what this process had in memory
// it keeps for that until something is taken away. Nor do keys that no process has in memory (Config.CacheKeys), or
// that a change has narrowed meanwhile, for it may have been their erasure, also one that
// this process did not notice and the history of the store tells;
// RepairFromCopy may have those.
func (v *Vault) RepairFromCaches(ctx context.Context) (keycopy.RepairReport, error) {
	return v.copies.RepairFromCaches(ctx)
}
