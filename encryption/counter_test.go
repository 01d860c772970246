package encryption_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/primitives"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// counting is an installation whose key store can be made to fail.
type counting struct {
	t     *testing.T
	keys  *encryptiontest.Memory
	clock *clock
	cfg   encryption.Config
	vault *encryption.Vault
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	c := &counting{t: t, keys: encryptiontest.Keys(), clock: &clock{}}
	c.clock.Move(1 << 60)
	kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
	c.cfg = encryption.Config{Keys: c.keys, KEK: kms.get, Now: c.clock.Now, Wait: c.clock.Wait}
	var err error
	c.vault, err = encryption.Create(t.Context(), c.cfg)
	require.NoError(t, err)
	require.NoError(t, c.vault.AddTenant(t.Context(), tenant))
	return c
}

func (c *counting) another() *encryption.Vault {
	c.t.Helper()
	vault, err := encryption.Open(c.t.Context(), c.cfg)
	require.NoError(c.t, err)
	return vault
}

func (c *counting) settings(vault *encryption.Vault) *encryption.SealedTable {
	c.t.Helper()
	table, err := vault.Table(encryption.Table{Name: "settings", Shared: true, Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "token"}}})
	require.NoError(c.t, err)
	return table
}

func (c *counting) notes(vault *encryption.Vault) *encryption.SealedTable {
	c.t.Helper()
	table, err := vault.Table(encryption.Table{Name: "notes", Columns: []encryption.Column{{Name: "text"}}})
	require.NoError(c.t, err)
	return table
}

func (c *counting) active() uint32 {
	c.t.Helper()
	all, err := c.vault.KeyVersions(c.t.Context(), tenant)
	require.NoError(c.t, err)
	for _, g := range all {
		if g.State == keystore.Active {
			return g.KeyVersion
		}
	}
	c.t.Fatal("no key version is active")
	return 0
}

// allotted is what the key row says.
func (c *counting) allotted(owner string, keyVersion uint32) int64 {
	c.t.Helper()
	rows, err := c.keys.Owners(c.t.Context(), tenant, []string{owner})
	require.NoError(c.t, err)
	for _, row := range rows.Keys {
		if row.KeyVersion == keyVersion {
			return row.Seals
		}
	}
	return -1
}

func (c *counting) setAllotted(owner string, n int64) {
	c.t.Helper()
	_, err := c.keys.Update(c.t.Context(), func(tx keystore.Tx) error {
		rows, err := tx.Owners(c.t.Context(), tenant, []string{owner})
		if err != nil {
			return err
		}
		for i := range rows.Keys {
			rows.Keys[i].Seals = n
		}
		return tx.Write(c.t.Context(), keystore.Change{Put: keystore.Rows{Keys: rows.Keys}})
	})
	require.NoError(c.t, err)
}

// The tenant's own key is busy from the first day: what it seals is counted in
// the key store before it is sealed, by all processes together, and no erasure,
// no lease and no new start makes it begin at nothing.
func TestWhatTheTenantsKeySealsIsCountedInTheKeyStore(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	undo := c.vault.PersonSealer("undo")
	seal := func(s primitives.PersonSealer, n int) {
		for range n {
			_, err := s.Seal(ctx, tenant, "", []byte("x"), nil)
			require.NoError(t, err)
		}
	}
	seal(undo, 5000)
	keyVersion := c.active()
	require.EqualValues(t, encryption.FirstBlock, c.allotted("t:", keyVersion))
	require.EqualValues(t, encryption.FirstBlock-5000, c.vault.SealsLeft(tenant, "t:", keyVersion))
	_, err := c.vault.Erase(ctx, tenant, "someone else")
	require.NoError(t, err)
	c.clock.Move(2 * encryption.DefaultLease)
	seal(undo, 1)
	require.EqualValues(t, encryption.FirstBlock-5001, c.vault.SealsLeft(tenant, "t:", keyVersion))
	inventory, err := c.vault.Inventory(ctx)
	require.NoError(t, err)
	require.EqualValues(t, encryption.FirstBlock, inventory.Tenants[0].MostSeals)

	other := c.another().PersonSealer("undo")
	sealed, err := undo.Seal(ctx, tenant, "", []byte("x"), nil)
	require.NoError(t, err)
	_, err = other.Open(ctx, tenant, "", sealed, nil) // so its key is in memory
	require.NoError(t, err)
	seal(other, 1)
	require.EqualValues(t, 2*encryption.FirstBlock, c.allotted("t:", keyVersion), "another process has a block of its own")
	seal(undo, encryption.FirstBlock)
	require.EqualValues(t, 4*encryption.FirstBlock, c.allotted("t:", keyVersion), "the next block is twice as large")
	inventory, err = c.vault.Inventory(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 4*encryption.FirstBlock, inventory.Tenants[0].MostSeals)
}

// A person's key counts for itself as long as it seals little, and is allotted
// what it seals from then on.
func TestAPersonsKeyThatSealsMuchIsCountedInTheKeyStore(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	notes := c.notes(c.vault)
	w, err := notes.Writer(ctx, tenant, "p1")
	require.NoError(t, err)
	keyVersion := c.active()
	updates := c.keys.Asked("Update")
	_, err = w.Seal("text", []byte("x"))
	require.NoError(t, err)
	require.Equal(t, updates, c.keys.Asked("Update"), "costs nothing")

	c.vault.HasSealed(tenant, "p1", keyVersion, encryption.FreeSeals-1)
	_, err = w.Seal("text", []byte("x"))
	require.NoError(t, err)
	_, err = w.Seal("text", []byte("x"))
	require.ErrorIs(t, err, encryption.ErrLease, "a Writer that was taken before knows of no block")
	require.Zero(t, c.allotted("p1", keyVersion))
	w, err = notes.Writer(ctx, tenant, "p1")
	require.NoError(t, err)
	require.EqualValues(t, encryption.FirstBlock, c.allotted("p1", keyVersion))
	for range 3 {
		_, err = w.Seal("text", []byte("x"))
		require.NoError(t, err)
	}
	require.EqualValues(t, encryption.FirstBlock-3, c.vault.SealsLeft(tenant, "p1", keyVersion))
	_, err = c.vault.Erase(ctx, tenant, "someone else") // the key is read afresh
	require.NoError(t, err)
	w, err = notes.Writer(ctx, tenant, "p1")
	require.NoError(t, err)
	_, err = w.Seal("text", []byte("x"))
	require.NoError(t, err)
	require.EqualValues(t, encryption.FirstBlock-4, c.vault.SealsLeft(tenant, "p1", keyVersion))

	c.vault.UseUp(tenant, "p1", keyVersion, 0)
	_, err = w.Seal("text", []byte("x"))
	require.ErrorIs(t, err, encryption.ErrLease)
	require.ErrorContains(t, err, "another Writer")
	sealed, err := c.vault.PersonSealer("undo").Seal(ctx, tenant, "p1", []byte("x"), nil)
	require.NoError(t, err, "whoever may ask the key store goes on")
	require.NotEmpty(t, sealed)

	c.vault.HasSealed(tenant, "p2", keyVersion, encryption.FreeSeals/2)
	_, err = notes.Writer(ctx, tenant, "p2")
	require.NoError(t, err)
	require.EqualValues(t, encryption.FirstBlock, c.allotted("p2", keyVersion), "asked early, so that a Writer lasts")
}

// Half of the bound ends the key version, once, however many processes see it,
// and what was sealed before opens.
func TestAWornKeyEndsItsKeyVersionByItself(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	settings := c.settings(c.vault)
	w, err := settings.TenantWriter(ctx, tenant)
	require.NoError(t, err)
	before, err := w.Seal("token", []byte("old"))
	require.NoError(t, err)
	first := c.active()
	c.setAllotted("t:", encryption.WornSeals-encryption.FirstBlock)
	_, err = c.settings(c.another()).TenantWriter(ctx, tenant)
	require.NoError(t, err)
	require.Equal(t, first, c.active(), "the last block")
	require.EqualValues(t, encryption.WornSeals, c.allotted("t:", first))

	var wg sync.WaitGroup
	for range 4 {
		table := c.settings(c.another())
		wg.Go(func() {
			w, err := table.TenantWriter(ctx, tenant)
			if err == nil {
				_, err = w.Seal("token", []byte("new"))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keyVersions, err := c.vault.KeyVersions(ctx, tenant)
	require.NoError(t, err)
	require.Len(t, keyVersions, 2, "one new key version for all")
	require.NotEqual(t, first, c.active())
	require.EqualValues(t, 4*encryption.FirstBlock, c.allotted("t:", c.active()))
	require.EqualValues(t, encryption.WornSeals, c.allotted("t:", first))

	c.vault.UseUp(tenant, "t:", first, 0) // a process that follows late
	w, err = settings.TenantWriter(ctx, tenant)
	require.NoError(t, err)
	after, err := w.Seal("token", []byte("new"))
	require.NoError(t, err)
	keyVersion, err := sealedvalue.KeyVersion(after)
	require.NoError(t, err)
	require.Equal(t, c.active(), keyVersion)
	keyVersions, err = c.vault.KeyVersions(ctx, tenant)
	require.NoError(t, err)
	require.Len(t, keyVersions, 2)
	r, err := settings.Reader(ctx, tenant)
	require.NoError(t, err)
	text, err := r.Row("", "").Text(ctx, "token", before)
	require.NoError(t, err)
	require.Equal(t, "old", text)
}

// Restored from a key copy, nobody knows what was sealed since it was written:
// keys that are counted end with their key version before they seal again.
func TestARestoredKeyStoreCountsItsKeysAsWorn(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	_, err := c.settings(c.vault).TenantWriter(ctx, tenant)
	require.NoError(t, err)
	w, err := c.notes(c.vault).Writer(ctx, tenant, "p1")
	require.NoError(t, err)
	sealed, err := w.Seal("text", []byte("kept"))
	require.NoError(t, err)
	first := c.active()
	written, err := c.vault.WriteCopy(ctx, t.TempDir())
	require.NoError(t, err)
	c.keys = encryptiontest.Keys()
	c.cfg.Keys = c.keys
	c.vault, err = encryption.RestoreCopy(ctx, c.cfg, written.Path)
	require.NoError(t, err)
	require.EqualValues(t, encryption.WornSeals, c.allotted("t:", first))
	require.Zero(t, c.allotted("p1", first), "a person's key that has sealed little")
	findings, err := c.vault.Status(ctx)
	require.NoError(t, err)
	levels := []string{}
	for _, f := range findings {
		if f.Name == "encryption.key.seals" {
			levels = append(levels, f.Subject+" "+f.Level.String())
		}
	}
	require.Equal(t, []string{" notice", tenant + " notice"}, levels)
	w, err = c.settings(c.vault).TenantWriter(ctx, tenant)
	require.NoError(t, err)
	require.NotEqual(t, first, c.active())
	_, err = w.Seal("token", []byte("x"))
	require.NoError(t, err)
	r, err := c.notes(c.vault).Reader(ctx, tenant, "p1")
	require.NoError(t, err)
	text, err := r.Row("p1", "").Text(ctx, "text", sealed)
	require.NoError(t, err)
	require.Equal(t, "kept", text)
}

// However many goroutines of however many processes seal at once, no seal is
// made that the key row does not know of.
func TestNoSealIsMadeThatWasNotAllotted(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	vaults := []*encryption.Vault{c.vault, c.another()}
	var made atomic.Int64
	var wg sync.WaitGroup
	for _, vault := range vaults {
		table := c.settings(vault)
		for range 4 {
			wg.Go(func() {
				for range 3 {
					w, err := table.TenantWriter(ctx, tenant)
					if err != nil {
						t.Error(err)
						return
					}
					for range encryption.FirstBlock / 4 {
						if _, err := w.Seal("token", nil); err == nil {
							made.Add(1)
						} else if !errors.Is(err, encryption.ErrLease) {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	keyVersion := c.active()
	left := vaults[0].SealsLeft(tenant, "t:", keyVersion) + vaults[1].SealsLeft(tenant, "t:", keyVersion)
	require.Equal(t, c.allotted("t:", keyVersion), made.Load()+left)
}

// What is left is sealed while the key store is away, and not one value more.
func TestWithoutTheKeyStoreOnlyWhatIsAllottedIsSealed(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	table := c.settings(c.vault)
	_, err := table.TenantWriter(ctx, tenant)
	require.NoError(t, err)
	keyVersion := c.active()
	c.vault.UseUp(tenant, "t:", keyVersion, 2)
	down := errors.New("away")
	c.keys.Fail = func(operation string) error {
		if operation == "Update" {
			return down
		}
		return nil
	}
	w, err := table.TenantWriter(ctx, tenant)
	require.NoError(t, err)
	for range 2 {
		_, err = w.Seal("token", []byte("x"))
		require.NoError(t, err)
	}
	_, err = w.Seal("token", []byte("x"))
	require.ErrorIs(t, err, encryption.ErrLease)
	_, err = table.TenantWriter(ctx, tenant)
	require.ErrorIs(t, err, encryption.ErrStore)
	_, err = c.vault.PersonSealer("undo").Seal(ctx, tenant, "", []byte("x"), nil)
	require.ErrorIs(t, err, encryption.ErrStore)
	c.keys.Fail = nil
	w, err = table.TenantWriter(ctx, tenant)
	require.NoError(t, err, "asked again when it is back")
	_, err = w.Seal("token", []byte("x"))
	require.NoError(t, err)
}

// An epoch wraps keys anew that were read a moment before: what was allotted in
// that moment stays counted.
func TestAnEpochKeepsWhatWasAllottedMeanwhile(t *testing.T) {
	c := newCounting(t)
	ctx := t.Context()
	table := c.settings(c.vault)
	_, err := table.TenantWriter(ctx, tenant)
	require.NoError(t, err)
	keyVersion := c.active()
	var rewrapping bool
	want := c.allotted("t:", keyVersion)
	c.keys.Fail = func(operation string) error {
		// Between the page that is read and the change that swaps it.
		if operation == "Update" && rewrapping {
			rewrapping = false
			c.vault.UseUp(tenant, "t:", keyVersion, 0)
			before := c.allotted("t:", keyVersion)
			_, err := table.TenantWriter(ctx, tenant)
			want += c.allotted("t:", keyVersion) - before
			return err
		}
		if operation == "Snapshot" {
			rewrapping = true
		}
		return nil
	}
	_, err = c.vault.RewrapKeys(ctx, keycopy.Rewrap{KEK: "kek-2", Copy: c.vault.Copier(t.TempDir())})
	require.NoError(t, err)
	c.keys.Fail = nil
	require.Greater(t, want, int64(encryption.FirstBlock))
	require.Equal(t, want, c.allotted("t:", keyVersion))
}
