package encryption_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// notOurs is the KEK of somebody who may write the key store.
const notOurs = "aws-kms://arn:aws:kms:eu-central-1:666666666666:key/planted"

// anyName is a KEK func as a KMS client makes one: every name has its KEK. It
// counts what it was asked for.
type anyName struct {
	mu    sync.Mutex
	asked map[string]int
}

func (a *anyName) get(_ context.Context, _, name string) (tink.AEADWithContext, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[string]int{}
	}
	a.asked[name]++
	key := sha256.Sum256([]byte(name))
	return insecurekeys.KEK(key[:])
}

func (a *anyName) count(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[name]
}

// installed makes an installation in memory with one tenant.
func installed(t *testing.T, change func(*encryption.Config)) (encryption.Config, *encryption.Vault, *clock, *anyName) {
	t.Helper()
	kms, c := &anyName{}, &clock{t: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)}
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get, Now: c.Now, Wait: c.Wait}
	if change != nil {
		change(&cfg)
	}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	return cfg, vault, c, kms
}

// keysetOf reads one keyset row as whoever can read the key store does.
func keysetOf(t *testing.T, store keystore.Store, of, purpose string) keystore.KeysetRow {
	t.Helper()
	rows, err := store.Tenant(t.Context(), of)
	require.NoError(t, err)
	for _, row := range rows.Keysets {
		if row.Purpose == purpose {
			return row
		}
	}
	t.Fatalf("no keyset %s", purpose)
	return keystore.KeysetRow{}
}

func overwrite(t *testing.T, store keystore.Store, change keystore.Change) {
	t.Helper()
	_, err := store.Update(t.Context(), func(tx keystore.Tx) error { return tx.Write(t.Context(), change) })
	require.NoError(t, err)
}

func stateOfStore(t *testing.T, store keystore.Store) keystore.State {
	t.Helper()
	state, err := store.State(t.Context())
	require.NoError(t, err)
	return state
}

// requireRefused takes the keyset for damaged where all rows are looked at.
func requireRefused(t *testing.T, call string, err error, because, what string) {
	t.Helper()
	require.True(t, errors.Is(err, encryption.ErrKeyset) || walks(call) && errors.Is(err, encryption.ErrDamaged), "%s: %s: %v", what, call, err)
	require.ErrorContains(t, err, because, "%s: %s", what, call)
}

// walks reports whether a call looks at every row.
func walks(call string) bool { return call == "WriteCopy" || call == "RewrapKeys" }

// uses is every way in which a keyset of the tenant is needed.
func uses(t *testing.T, vault *encryption.Vault, purpose string) map[string]func() error {
	t.Helper()
	contacts, err := vault.Table(contactsTable)
	require.NoError(t, err)
	out := map[string]func() error{
		"WriteCopy": func() error { _, err := vault.WriteCopy(t.Context(), t.TempDir()); return err },
		"RewrapKeys": func() error {
			_, err := vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(t.TempDir())})
			return err
		},
	}
	switch purpose {
	case "branch":
		for _, one := range []string{"wrap", "index", "seal", "suppression"} {
			for call, use := range uses(t, vault, one) {
				if !walks(call) {
					call += " of " + one
				}
				out[call] = use
			}
		}
	case "wrap":
		out["Writer"] = func() error { _, err := contacts.Writer(t.Context(), tenant, "new"); return err }
		out["Ensure"] = func() error { return vault.Ensure(t.Context(), tenant, "new") }
	case "index":
		out["Writer"] = func() error { _, err := contacts.Writer(t.Context(), tenant, "p1"); return err }
		out["Lookup"] = func() error { _, err := contacts.Lookup(t.Context(), tenant, "email_idx", "a@b.example"); return err }
	case "log":
		out["MACKeys"] = func() error { _, _, err := vault.AuditKeys().MACKeys(t.Context(), tenant, macInfo); return err }
		fallthrough
	case "seal":
		out["Ensure"] = func() error { return vault.Ensure(t.Context(), tenant, "p1") }
	case "suppression":
		out["Digests"] = func() error {
			_, _, err := vault.Digests("suppression")(t.Context(), tenant, nil, nil)
			return err
		}
	case "ledger":
		out["LedgerDigests"] = func() error { _, _, err := vault.LedgerDigests()(t.Context(), "l", nil); return err }
	}
	return out
}

// planted are the ways to put a keyset of somebody else into a key store, and
// what the refusal says: a branch key under a KEK of theirs, a keyset that it
// wraps, both, and the name alone.
func planted(t *testing.T, ours, theirs keystore.Store, of, purpose string) map[string]plant {
	t.Helper()
	foreign, renamed := keysetOf(t, theirs, of, purpose), keysetOf(t, ours, of, purpose)
	foreign.Version, renamed.KEK = 2, notOurs
	if purpose == "branch" {
		return map[string]plant{"another branch key": {[]keystore.KeysetRow{foreign}, "Config.KEKs"}, "the name alone": {[]keystore.KeysetRow{renamed}, "Config.KEKs"}}
	}
	branch := keysetOf(t, theirs, of, "branch")
	branch.Version = 2
	return map[string]plant{
		"another keyset": {[]keystore.KeysetRow{foreign}, "branch key"}, "with its branch key": {[]keystore.KeysetRow{branch, foreign}, "Config.KEKs"},
		"the name alone": {[]keystore.KeysetRow{renamed}, "branch key"},
	}
}

type plant struct {
	rows    []keystore.KeysetRow
	because string
}

// Whoever writes the key store can put a keyset there that they wrapped under a
// KEK of their own, and would read whatever is sealed under it. Its KEK is not
// asked, by a vault that is open nor by one that opens.
func TestAKeysetUnderAKEKThatIsNotPermittedIsRefused(t *testing.T) {
	for _, one := range []struct{ of, purpose string }{
		{tenant, "branch"}, {tenant, "wrap"}, {tenant, "index"}, {tenant, "seal"}, {tenant, "log"}, {tenant, "suppression"}, {"", "branch"}, {"", "ledger"}, {"", "manifest"},
	} {
		of, purpose := one.of, one.purpose
		theirs, _, _, _ := installed(t, func(c *encryption.Config) { c.NewKEK, c.KEKs = notOurs, []string{notOurs} })
		cfg, open, c, kms := installed(t, nil)
		require.NoError(t, open.Ensure(t.Context(), tenant, "p1"))
		genuine := keystore.Rows{Keysets: []keystore.KeysetRow{keysetOf(t, cfg.Keys, of, "branch"), keysetOf(t, cfg.Keys, of, purpose)}}
		for what, plant := range planted(t, cfg.Keys, theirs.Keys, of, purpose) {
			what = of + " " + purpose + ", " + what
			overwrite(t, cfg.Keys, keystore.Change{Put: genuine, Narrows: true})
			overwrite(t, cfg.Keys, keystore.Change{Put: keystore.Rows{Keysets: plant.rows}, Narrows: true})
			before := stateOfStore(t, cfg.Keys)
			c.Move(encryption.DefaultLease)
			if plant.rows[0].KEK == notOurs {
				f := found(t, open, "encryption.kek.refused", of)
				require.Equal(t, encryption.HealthAlarm, f.Level, what)
				require.EqualValues(t, 1, f.Value, what)
			}

			fresh, err := encryption.Open(t.Context(), cfg)
			if of == "" {
				require.ErrorIs(t, err, encryption.ErrKeyset, what)
				require.NotErrorIs(t, err, encryption.ErrKEK, what)
				require.ErrorContains(t, err, plant.because, what)
			} else {
				require.NoError(t, err, what)
				for call, use := range uses(t, fresh, purpose) {
					requireRefused(t, call, use(), plant.because, what)
				}
			}
			for call, use := range uses(t, open, purpose) {
				if purpose != "branch" || walks(call) { // it has what the genuine branch key wrapped
					requireRefused(t, call, use(), plant.because, what+", a vault that was open")
				}
			}
			require.Equal(t, before.Epoch, stateOfStore(t, cfg.Keys).Epoch, what)
			require.Zero(t, kms.count(notOurs), what)
		}
	}
}

// The name of the KEK for new keysets stands in the key store, too, and so do
// those that an epoch destroys in the end.
func TestTheKeyStoreChoosesNoKEKForNewTenantsNorForDestruction(t *testing.T) {
	cfg, vault, _, kms := installed(t, nil)
	state := stateOfStore(t, cfg.Keys)
	overwrite(t, cfg.Keys, keystore.Change{Store: &keystore.State{Store: state.Store, Lease: state.Lease, LeaseWait: state.LeaseWait, Epoch: 1, KEK: notOurs}})
	require.ErrorIs(t, vault.AddTenant(t.Context(), "t2"), encryption.ErrKeyset)
	tenants, err := vault.Tenants(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{tenant}, tenants, "nothing was written")
	require.Zero(t, kms.count(notOurs))
	require.Equal(t, encryption.HealthAlarm, found(t, vault, "encryption.kek.refused", "").Level)

	overwrite(t, cfg.Keys, keystore.Change{Store: &keystore.State{Store: state.Store, Lease: state.Lease, LeaseWait: state.LeaseWait, Epoch: 2, KEK: "kek-2", Retiring: []string{"kek-1", notOurs}}})
	require.Equal(t, encryption.HealthAlarm, found(t, vault, "encryption.kek.refused", "").Level)
	var destroyed []string
	epoch := keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(t.TempDir()), Destroy: func(_ context.Context, name string) error {
		destroyed = append(destroyed, name)
		return nil
	}}
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.ErrorIs(t, err, encryption.ErrKeyset)
	require.NotContains(t, destroyed, notOurs)
}

func TestAKeyCopyUnderAKEKThatIsNotPermittedIsRefused(t *testing.T) {
	theirs, attacker, _, _ := installed(t, func(c *encryption.Config) { c.NewKEK, c.KEKs = notOurs, []string{notOurs} })
	written, err := attacker.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	_, vault, _, kms := installed(t, nil)
	_, err = vault.VerifyCopy(t.Context(), written.Path)
	require.ErrorIs(t, err, encryption.ErrKeyset)
	empty := theirs
	empty.Keys, empty.KEK, empty.KEKs, empty.NewKEK = encryptiontest.Keys(), kms.get, nil, ""
	_, err = encryption.RestoreCopy(t.Context(), empty, written.Path)
	require.ErrorIs(t, err, encryption.ErrKeyset)
	require.Empty(t, stateOfStore(t, empty.Keys).Store)
	require.Zero(t, kms.count(notOurs))
	empty.KEKs = []string{strings.TrimSuffix(notOurs, "planted")}
	_, err = encryption.RestoreCopy(t.Context(), empty, written.Path)
	require.NoError(t, err, "permitted, it opens")
}

func TestOneMayOnlyBeginWithAPermittedKEK(t *testing.T) {
	kms := &anyName{}
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get, NewKEK: notOurs}
	_, err := encryption.Create(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.ErrorContains(t, err, "Config.KEKs")
	require.Empty(t, stateOfStore(t, cfg.Keys).Store)
	require.Zero(t, kms.count(notOurs))

	cfg.NewKEK, cfg.KEKs = "", []string{"gcp-kms://projects/p/locations/l/keyRings/crm/cryptoKeys/", notOurs}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, notOurs, stateOfStore(t, cfg.Keys).KEK, "the first whole name")
	before := stateOfStore(t, cfg.Keys)
	epoch := keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(t.TempDir())}
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.ErrorIs(t, err, encryption.ErrRewrap)
	require.ErrorContains(t, err, "Config.KEKs")
	require.Equal(t, before, stateOfStore(t, cfg.Keys))
	epoch.KEK = "gcp-kms://projects/p/locations/l/keyRings/crm/cryptoKeys/crm-2"
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.NoError(t, err)
	require.Equal(t, encryption.HealthOK, found(t, vault, "encryption.kek.refused", "").Level)

	// Whoever takes the name away from the configuration is told so.
	cfg.KEKs = []string{notOurs}
	_, err = encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrKeyset)
	require.True(t, errors.Is(err, encryption.ErrKeyset) && !errors.Is(err, encryption.ErrKEK))
}
