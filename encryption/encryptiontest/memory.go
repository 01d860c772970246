// Package encryptiontest helps to test what uses package encryption: Vault
// gives a vault that lives in memory, Keys a key store in memory, and Run
// judges other key stores.
//
// Nothing here protects anything: keys are lost with the process. It is safe
// for concurrent use.
package encryptiontest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Memory is a key store in memory. Fail, when set, is asked before each
// operation and makes it fail with what it answers.
type Memory struct {
	// Fail is called with the name of the operation.
	Fail func(operation string) error

	mu   sync.Mutex
	now  content
	asks map[string]int
}

type content struct {
	state       keystore.State
	keysets     map[[2]string]keystore.KeysetRow
	keyVersions map[genID]keystore.KeyVersionRow
	owners      map[[2]string]keystore.OwnerRow
	keys        map[keyID]keystore.KeyRow
	aliases     map[[2]string]keystore.AliasRow
	indexes     map[indexID]keystore.IndexRow
	marks       map[int64]keystore.MarkRow
}

type genID struct {
	tenant     string
	keyVersion int64
}

type keyID struct {
	tenant, owner string
	keyVersion    int64
}

type indexID struct {
	tenant, table, index string
	version              int64
}

// Keys returns an empty key store in memory.
func Keys() *Memory {
	return &Memory{asks: map[string]int{}, now: content{
		keysets: map[[2]string]keystore.KeysetRow{}, keyVersions: map[genID]keystore.KeyVersionRow{}, owners: map[[2]string]keystore.OwnerRow{},
		keys: map[keyID]keystore.KeyRow{}, aliases: map[[2]string]keystore.AliasRow{}, indexes: map[indexID]keystore.IndexRow{}, marks: map[int64]keystore.MarkRow{},
	}}
}

func (c content) clone() content {
	return content{
		c.state, maps.Clone(c.keysets), maps.Clone(c.keyVersions), maps.Clone(c.owners), maps.Clone(c.keys), maps.Clone(c.aliases), maps.Clone(c.indexes), maps.Clone(c.marks),
	}
}

// Asked returns how often an operation was called: "State", "Tenant",
// "Owners", "Create", "Update", "Snapshot".
func (m *Memory) Asked(operation string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asks[operation]
}

func (m *Memory) begin(operation string) error {
	m.mu.Lock()
	m.asks[operation]++
	m.mu.Unlock()
	if m.Fail != nil {
		return m.Fail(operation)
	}
	return nil
}

func (m *Memory) view() content {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.clone()
}

// State reads the state row.
func (m *Memory) State(context.Context) (keystore.State, error) {
	if err := m.begin("State"); err != nil {
		return keystore.State{}, err
	}
	return m.view().state, nil
}

// Tenant returns keysets, key versions and index versions of one tenant.
func (m *Memory) Tenant(ctx context.Context, tenant string) (keystore.Rows, error) {
	if err := m.begin("Tenant"); err != nil {
		return keystore.Rows{}, err
	}
	c := m.view()
	return (&memoryTx{now: &c}).Tenant(ctx, tenant)
}

// Owners returns owner rows, key rows and aliases of the owners.
func (m *Memory) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	if err := m.begin("Owners"); err != nil {
		return keystore.Rows{}, err
	}
	c := m.view()
	return (&memoryTx{now: &c}).Owners(ctx, tenant, owners)
}

// Create runs f over a copy that replaces the content when f succeeds. Here
// one runs after the other.
func (m *Memory) Create(_ context.Context, f func(keystore.Tx) error) error {
	if err := m.begin("Create"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.now.clone()
	if err := f(&memoryTx{now: &next, create: true}); err != nil {
		return err
	}
	m.now = next
	return nil
}

// Update runs f over a copy that replaces the content when f succeeds.
func (m *Memory) Update(_ context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	if err := m.begin("Update"); err != nil {
		return keystore.State{}, err
	}
	mark := keystore.NewMark()
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.now.clone()
	next.state.Sequence++
	next.state.Mark = mark
	next.marks[next.state.Sequence] = keystore.MarkRow{Sequence: next.state.Sequence, Mark: mark, Created: time.Now().UTC().Truncate(time.Microsecond), Narrows: keystore.NarrowsNothing}
	tx := &memoryTx{now: &next, write: true}
	if err := f(tx); err != nil {
		return keystore.State{}, err
	}
	if tx.wrote {
		m.now = next
	}
	return m.now.state, nil
}

// Snapshot runs f over one unchanging view.
func (m *Memory) Snapshot(_ context.Context, f func(keystore.Tx) error) error {
	if err := m.begin("Snapshot"); err != nil {
		return err
	}
	c := m.view()
	return f(&memoryTx{now: &c})
}

type memoryTx struct {
	now                  *content
	create, write, wrote bool
}

func (t *memoryTx) State(context.Context) (keystore.State, error) { return t.now.state, nil }

func (t *memoryTx) Tenant(ctx context.Context, tenant string) (keystore.Rows, error) {
	var out keystore.Rows
	for _, kind := range []keystore.Kind{keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindIndex} {
		rows, err := t.Page(ctx, keystore.Page{Kind: kind, Tenant: tenant, Limit: len(t.now.keysets) + len(t.now.keyVersions) + len(t.now.indexes)})
		if err != nil {
			return out, err
		}
		for _, row := range rows.Keysets {
			if row.Tenant == tenant { // a page for "" lists every tenant
				out.Keysets = append(out.Keysets, row)
			}
		}
		if tenant != "" {
			out.KeyVersions, out.Indexes = append(out.KeyVersions, rows.KeyVersions...), append(out.Indexes, rows.Indexes...)
		}
	}
	return out, nil
}

func (t *memoryTx) Owners(_ context.Context, tenant string, owners []string) (keystore.Rows, error) {
	var out keystore.Rows
	asked := map[string]bool{}
	for _, owner := range slices.Compact(slices.Sorted(slices.Values(owners))) {
		asked[owner] = true
		if row, ok := t.now.owners[[2]string{tenant, owner}]; ok {
			out.Owners = append(out.Owners, row)
		}
		if alias, ok := t.now.aliases[[2]string{tenant, owner}]; ok {
			out.Aliases = append(out.Aliases, alias)
		}
	}
	for _, key := range t.now.keys {
		if key.Tenant == tenant && asked[key.Owner] {
			out.Keys = append(out.Keys, key)
		}
	}
	slices.SortFunc(out.Keys, func(a, b keystore.KeyRow) int {
		return compare([]any{a.Owner, a.Number()}, []any{b.Owner, b.Number()})
	})
	return out, nil
}

func (t *memoryTx) Merged(_ context.Context, tenant, owner string) ([]keystore.AliasRow, error) {
	var out []keystore.AliasRow
	for _, row := range t.now.aliases {
		if row.Tenant == tenant && row.Owner == owner {
			out = append(out, row)
		}
	}
	slices.SortFunc(out, func(a, b keystore.AliasRow) int { return compare([]any{a.Alias}, []any{b.Alias}) })
	return out, nil
}

func (t *memoryTx) Write(_ context.Context, change keystore.Change) error {
	switch {
	case t.create:
		return t.now.create(change)
	case !t.write:
		return errors.New("encryptiontest: a snapshot is not written")
	}
	t.wrote = true
	t.now.apply(change)
	return nil
}
