package encryption

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/primitives"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// What rooms need that work on a declared table from outside: what is declared,
// keys for a page of rows, and a transaction that respects the destruction of key
// versions.

// Definition returns the table as it was declared, complete: what was left out
// has its default, and Column.Find stands as the first Index.
func (t *SealedTable) Definition() Table {
	def := t.def
	def.Columns = slices.Clone(def.Columns)
	for i := range def.Columns {
		def.Columns[i].Find = ""
		def.Columns[i].Index = nil
		for _, index := range t.indexes {
			if index.column == i {
				def.Columns[i].Index = append(def.Columns[i].Index, index.Index)
			}
		}
	}
	return def
}

// Terms returns those members of the vault's Config that a job over its tables
// keeps to, complete: LongestTransaction, Now, Wait and Observe. LongestTransaction is
// the longest that the key store knows of, as this process has read it last; who waits
// for others takes that of [SealedTable.LongestTransaction].
func (t *SealedTable) Terms() Config {
	cfg := t.vault.cfg
	return Config{LongestTransaction: t.vault.ring.LongestTransaction(), Now: cfg.Now, Wait: cfg.Wait, Observe: cfg.Observe}
}

// LongestTransaction reads how long whoever waits for the transactions of all
// processes waits: the longest Config.LongestTransaction that any was opened with.
func (t *SealedTable) LongestTransaction(ctx context.Context) (time.Duration, error) {
	state, err := t.vault.cfg.Keys.State(ctx)
	if err != nil {
		return 0, keyring.StoreError(err)
	}
	return t.vault.ring.LongestOf(state), nil
}

// Writers is Writer for a page of rows: one for each owner, as it stands in the
// row (a person, r:<uuid>, t:), at its position, with one query for all keys and
// one creation for those that are missing. Owners that get none are a
// [PersonsError], which names their positions: all others have theirs.
func (t *SealedTable) Writers(ctx context.Context, tenant string, owners ...string) ([]*Writer, error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	if _, err := t.vault.registered(ctx, tenant); err != nil {
		return nil, err
	}
	owners = keyring.FoldAll(owners)
	refused := map[int]error{}
	var good []string
	for i, owner := range owners {
		if err := keyring.CheckOwner(owner); err != nil {
			refused[i] = err
		} else if !slices.Contains(good, owner) {
			good = append(good, owner)
		}
	}
	for len(good) > 0 {
		found, keyVersion, _, err := t.vault.ring.SealKeys(ctx, tenant, good)
		if err == nil {
			break
		}
		if found == nil {
			return nil, err
		}
		before := len(good)
		good = slices.DeleteFunc(good, func(owner string) bool {
			why := keyring.Refusal(found, owner, keyVersion)
			for i := range owners {
				if why != nil && owners[i] == owner {
					refused[i] = why
				}
			}
			return why != nil
		})
		if len(good) == before {
			return nil, err // it is about none of them
		}
	}
	out := make([]*Writer, len(owners))
	for i, owner := range owners {
		if refused[i] != nil {
			continue
		}
		w, err := t.writer(ctx, tenant, owner)
		if err != nil {
			return nil, err
		}
		out[i] = w
	}
	if len(refused) > 0 {
		return out, &PersonsError{Persons: refused}
	}
	return out, nil
}

// PageReader is Reader for the owners of a page as they stand in its rows: what
// names nobody is left out, and fails where its row is opened. The tenant's own
// key is there where a column needs it.
func (t *SealedTable) PageReader(ctx context.Context, tenant string, owners ...string) (*Reader, error) {
	seen := map[string]bool{}
	owners = slices.DeleteFunc(slices.Clone(owners), func(owner string) bool {
		twice := seen[owner]
		seen[owner] = true
		return twice || keyring.CheckOwner(owner) != nil
	})
	if t.def.Shared {
		owners = append(owners, keyring.TenantOwner)
	}
	r, err := t.Reader(ctx, tenant, t.withTenant(owners)...)
	if err != nil {
		return nil, err
	}
	for _, owner := range keyring.FoldAll(owners) {
		if _, known := r.keys[owner]; !known {
			r.keys[owner] = nil // asked for, and unknown: Erased asks no more
		}
	}
	return r, nil
}

// CommitSealed runs f in a transaction that begin makes on db, and lets it commit
// only while the key versions of the sealed values that f writes are active: a
// job that waited for locks of others would else leave what nobody can open once
// the key version is destroyed. It is over after Config.LongestTransaction.
// ErrLease says that a key version was retired meanwhile: seal anew and try again.
func (t *SealedTable) CommitSealed(ctx context.Context, db *sql.DB, tenant string, sealed [][]byte, begin func(ctx context.Context, f func(tx *sql.Tx) error) error, f func(ctx context.Context, tx *sql.Tx) error) error {
	var under []uint32
	for _, cell := range sealed {
		keyVersion, err := sealedvalue.KeyVersion(cell)
		if err != nil {
			return fmt.Errorf("encryption: commit: %w", err)
		}
		if !slices.Contains(under, keyVersion) {
			under = append(under, keyVersion)
		}
	}
	return t.vault.jobs.Commit(ctx, db, tenant, under, begin, f)
}

// Searchable returns nil where Lookup answers for an index, named by its logical
// name or by one of its columns, and ErrIncomplete where it does not yet, with the
// call that is missing.
func (t *SealedTable) Searchable(ctx context.Context, tenant, index string) error {
	if err := keyring.CheckTenant(tenant); err != nil {
		return err
	}
	found, err := t.tenantIndexes(ctx, tenant)
	if err != nil {
		return err
	}
	keys := *found
	name := t.indexName(index)
	var states []keystore.IndexState
	for i, x := range t.indexes {
		if x.Name != name {
			continue
		}
		if keys[i].State == keystore.IndexLive {
			return nil
		}
		states = append(states, keys[i].State)
	}
	if states == nil {
		return &KeyError{Op: "no such index is declared:", Table: t.def.Name, Column: index, Err: ErrDefinition}
	}
	return t.notLive(index, states)
}

// Tagger returns Vault.Tagger for row seals ("seal"): for what a room keeps beside
// the table. Its data begin with a domain of their own.
func (t *SealedTable) Tagger() primitives.Tagger { return t.vault.Tagger(keyring.PurposeSeal) }
