package encryption_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// kms serves every tenant until told otherwise: then ask says what comes of a
// call before it is carried out.
type kms struct {
	mu    sync.Mutex
	ask   func(ctx context.Context, step, tenant, name string) error
	calls map[string]int // by step and tenant
}

func (k *kms) set(ask func(ctx context.Context, step, tenant, name string) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ask, k.calls = ask, map[string]int{}
}

func (k *kms) did(ctx context.Context, step, tenant, name string) error {
	k.mu.Lock()
	ask := k.ask
	if k.calls == nil {
		k.calls = map[string]int{}
	}
	k.calls[step+" "+tenant]++
	k.mu.Unlock()
	if ask == nil {
		return nil
	}
	return ask(ctx, step, tenant, name)
}

func (k *kms) count(tenant string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls["func "+tenant]
}

func (k *kms) get(ctx context.Context, tenant, name string) (tink.AEADWithContext, error) {
	if err := k.did(ctx, "func", tenant, name); err != nil {
		return nil, err
	}
	key := sha256.Sum256([]byte(tenant + "\x00" + name))
	aead, err := insecurekeys.KEK(key[:])
	return asked{aead, k, tenant, name}, err
}

// asked is a KEK that looks at no context: there are such clients.
type asked struct {
	tink.AEADWithContext
	kms          *kms
	tenant, name string
}

func (a asked) EncryptWithContext(ctx context.Context, plaintext, ad []byte) ([]byte, error) {
	if err := a.kms.did(ctx, "encrypt", a.tenant, a.name); err != nil {
		return nil, err
	}
	return a.AEADWithContext.EncryptWithContext(context.WithoutCancel(ctx), plaintext, ad)
}

func (a asked) DecryptWithContext(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	if err := a.kms.did(ctx, "decrypt", a.tenant, a.name); err != nil {
		return nil, err
	}
	return a.AEADWithContext.DecryptWithContext(context.WithoutCancel(ctx), ciphertext, ad)
}

// guarded makes an installation with the tenants a and b, and opens it afresh:
// no keyset of a tenant is in memory. Inside a bubble its clock is the bubble's.
func guarded(t *testing.T) (encryption.Config, *encryption.Vault, *kms) {
	t.Helper()
	k := &kms{}
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: k.get}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		require.NoError(t, vault.AddTenant(t.Context(), name))
		require.NoError(t, vault.Ensure(t.Context(), name, "p0"))
	}
	vault, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	return cfg, vault, k
}

// Whatever asks a KEK ends when its context does, wherever the KMS hangs and
// whether or not it looks at contexts; no other tenant notices.
func TestNobodyWaitsForAKEKLongerThanTheContext(t *testing.T) {
	for _, step := range []string{"func", "encrypt", "decrypt"} {
		synctest.Test(t, func(t *testing.T) {
			cfg, vault, kms := guarded(t)
			written, err := vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			vault, err = encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			contacts, err := vault.Table(contactsTable)
			require.NoError(t, err)
			free := make(chan struct{})
			defer close(free)
			kms.set(func(_ context.Context, at, tenant, name string) error {
				if at == step && (tenant == "a" || tenant == "new" || tenant == "" && name == "hangs") {
					<-free
				}
				return nil
			})
			empty, hangs := cfg, cfg
			empty.Keys = encryptiontest.Keys()
			hangs.Keys, hangs.NewKEK = encryptiontest.Keys(), "hangs"
			opens := step != "encrypt" // what only opens keysets
			for name, call := range map[string]struct {
				hangs bool
				do    func(ctx context.Context) error
			}{
				"Create":    {true, func(ctx context.Context) error { _, err := encryption.Create(ctx, hangs); return err }},
				"AddTenant": {true, func(ctx context.Context) error { return vault.AddTenant(ctx, "new") }},
				"Ensure":    {opens, func(ctx context.Context) error { return vault.Ensure(ctx, "a", "p0") }},
				"Writer":    {opens, func(ctx context.Context) error { _, err := contacts.Writer(ctx, "a", "p0"); return err }},
				"Reader":    {opens, func(ctx context.Context) error { _, err := contacts.Reader(ctx, "a", "p0"); return err }},
				"Lookup": {opens, func(ctx context.Context) error {
					_, err := contacts.Lookup(ctx, "a", "email_idx", "a@b.example")
					return err
				}},
				"Tag":     {opens, func(ctx context.Context) error { _, err := vault.Tagger("seal").Tag(ctx, "a", nil); return err }},
				"MACKeys": {opens, func(ctx context.Context) error { _, _, err := vault.AuditKeys().MACKeys(ctx, "a", macInfo); return err }},
				"Digests": {opens, func(ctx context.Context) error {
					_, _, err := vault.Digests("suppression")(ctx, "a", nil, nil)
					return err
				}},
				"VerifyCopy": {opens, func(ctx context.Context) error {
					fresh, err := encryption.Open(ctx, cfg)
					if err == nil {
						_, err = fresh.VerifyCopy(ctx, written.Path)
					}
					return err
				}},
				"WriteCopy": {opens, func(ctx context.Context) error { _, err := vault.WriteCopy(ctx, t.TempDir()); return err }},
				"RestoreCopy": {opens, func(ctx context.Context) error {
					_, err := encryption.RestoreCopy(ctx, empty, written.Path)
					return err
				}},
				"RewrapKeys": {true, func(ctx context.Context) error {
					_, err := vault.RewrapKeys(ctx, keycopy.Rewrap{KEK: "hangs", Copy: vault.Copier(t.TempDir())})
					return err
				}},
			} {
				if !call.hangs {
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				begun := time.Now()
				err := call.do(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded, "%s, %s", name, step)
				require.ErrorIs(t, err, encryption.ErrKEK, "%s, %s", name, step)
				require.Equal(t, 200*time.Millisecond, time.Since(begun), "%s, %s", name, step)
				cancel()

				begun = time.Now()
				require.NoError(t, vault.Ensure(t.Context(), "b", "p-"+name))
				_, err = contacts.Writer(t.Context(), "b", "p-"+name)
				require.NoError(t, err)
				_, err = vault.Status(t.Context())
				require.NoError(t, err)
				require.Zero(t, time.Since(begun), "tenant b, while %s of a waits", name)
			}
			tenants, err := vault.Tenants(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{"a", "b"}, tenants)
		})
	}
}

// A call belongs to all who need the keyset: one call, which goes on when who
// began it gives up, and when all give up.
func TestOneCallServesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, vault, kms := guarded(t)
		free := make(chan struct{})
		kms.set(func(ctx context.Context, _, tenant, _ string) error {
			if tenant != "a" {
				return nil
			}
			select {
			case <-free:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		ensure := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() { done <- vault.Ensure(ctx, "a", "p0") }()
			synctest.Wait()
			return done
		}
		ctx, giveUp := context.WithCancel(t.Context())
		first := ensure(ctx)
		var others []chan error
		for range 20 {
			others = append(others, ensure(t.Context()))
		}
		giveUp()
		require.ErrorIs(t, <-first, context.Canceled)
		require.Equal(t, 1, kms.count("a"))
		// They need no key of the person and no other keyset before this one.
		close(free)
		for _, other := range others {
			require.NoError(t, <-other)
		}
		require.Equal(t, 1, kms.count("a"), "the same call serves wrap, seal and log")
	})
	synctest.Test(t, func(t *testing.T) {
		_, vault, kms := guarded(t)
		kms.set(func(context.Context, string, string, string) error { time.Sleep(time.Second); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := vault.Tagger("seal").Tag(ctx, "a", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		_, err = vault.Tagger("seal").Tag(t.Context(), "a", nil)
		require.NoError(t, err)
		require.Equal(t, 1, kms.count("a"), "the answer that nobody waited for is kept")
	})
}

// A KMS that is down is asked once by everybody together, then after a pause
// that doubles up to a minute; who asks meanwhile is told when.
func TestAKEKThatFailsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, vault, kms := guarded(t)
		contacts, err := vault.Table(contactsTable)
		require.NoError(t, err)
		down := errors.New("KMS down")
		kms.set(func(_ context.Context, _, tenant, _ string) error {
			if tenant == "a" {
				return down
			}
			return nil
		})
		for range 101 {
			_, err = contacts.Writer(t.Context(), "a", "p0")
			require.ErrorIs(t, err, encryption.ErrKEK)
			require.ErrorIs(t, err, down)
		}
		require.Equal(t, 1, kms.count("a"))
		detail, ok := errors.AsType[*encryption.KEKError](err)
		require.True(t, ok)
		require.True(t, detail.Retry.After(time.Now()) && !detail.Retry.After(time.Now().Add(time.Second)), "%v", time.Until(detail.Retry))
		require.ErrorContains(t, err, "asked again from "+detail.Retry.UTC().Format(time.RFC3339))
		f := found(t, vault, "encryption.kek.failing", "a")
		require.Equal(t, encryption.HealthAlarm, f.Level)
		require.EqualValues(t, 1, f.Value)
		require.True(t, f.Since.Equal(time.Now()))
		require.NoError(t, vault.Ensure(t.Context(), "b", "p1"))

		var pauses []time.Duration
		for begun := time.Now(); time.Since(begun) < time.Hour; {
			detail, _ := errors.AsType[*encryption.KEKError](err)
			pauses = append(pauses, time.Until(detail.Retry))
			time.Sleep(time.Until(detail.Retry))
			_, err = contacts.Writer(t.Context(), "a", "p0")
			require.ErrorIs(t, err, down)
		}
		for i, pause := range pauses {
			longest := min(time.Second<<min(i, 10), time.Minute)
			require.True(t, pause > longest/2-time.Millisecond && pause <= longest, "pause %d: %v", i, pause)
		}
		require.Equal(t, 1+len(pauses), kms.count("a"))

		kms.set(nil)
		_, err = contacts.Writer(t.Context(), "a", "p0")
		require.Error(t, err, "the KMS is back, and nobody knows")
		time.Sleep(time.Minute)
		_, err = contacts.Writer(t.Context(), "a", "p0")
		require.NoError(t, err)
		require.Equal(t, encryption.HealthOK, found(t, vault, "encryption.kek.failing", "").Level)
	})
}

// Whoever asks on purpose, once in a while, is not put off, and success is
// success for all.
func TestAnOperatorIsNotToldToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var vault *encryption.Vault
		var kms *kms
		var folder string
		down := errors.New("KMS down")
		fails := func(context.Context, string, string, string) error { return down }
		for name, call := range map[string]func() error{
			"WriteCopy": func() error { _, err := vault.WriteCopy(t.Context(), folder); return err },
			"RewrapKeys": func() error {
				_, err := vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(folder)})
				return err
			},
		} {
			_, vault, kms = guarded(t)
			folder = t.TempDir()
			contacts, err := vault.Table(contactsTable)
			require.NoError(t, err)
			kms.set(fails)
			_, err = contacts.Writer(t.Context(), "a", "p0")
			require.ErrorIs(t, err, down, name)
			before := kms.count("a")
			_, err = contacts.Writer(t.Context(), "a", "p0")
			require.ErrorIs(t, err, down, name)
			require.Equal(t, before, kms.count("a"), name)
			kms.set(nil)
			require.NoError(t, call(), name)
			_, err = contacts.Writer(t.Context(), "a", "p0")
			require.NoError(t, err, name)
		}
	})
}

// A KEK that hangs and does not look at its context is given up, and asked
// again ever more seldom; when it comes back after all, that counts.
func TestAKEKThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, vault, kms := guarded(t)
		free := make(chan struct{})
		hang := func(_ context.Context, _, tenant, _ string) error {
			if tenant == "a" {
				<-free
			}
			return nil
		}
		kms.set(hang)
		tag := func() error { _, err := vault.Tagger("seal").Tag(t.Context(), "a", nil); return err }
		begun := time.Now()
		err := tag()
		require.Equal(t, encryption.DefaultKEKTimeout, time.Since(begun))
		require.ErrorIs(t, err, encryption.ErrKEK)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "it is not the caller's time that is over")
		require.ErrorContains(t, err, "no answer in time")
		for time.Since(begun) < 24*time.Hour {
			require.ErrorIs(t, tag(), encryption.ErrKEK)
			time.Sleep(time.Second)
		}
		require.Less(t, kms.count("a"), 70, "each call that hangs costs a goroutine")
		close(free)
		synctest.Wait()
		require.NoError(t, tag(), "one of those that were given up has the keyset")
	})
	synctest.Test(t, func(t *testing.T) {
		_, vault, kms := guarded(t)
		free, down := make(chan struct{}), errors.New("connection reset")
		kms.set(func(context.Context, string, string, string) error { <-free; return down })
		tag := func() error { _, err := vault.Tagger("seal").Tag(t.Context(), "a", nil); return err }
		for begun := time.Now(); time.Since(begun) < 24*time.Hour; time.Sleep(time.Minute) {
			require.ErrorIs(t, tag(), encryption.ErrKEK)
		}
		close(free)
		synctest.Wait()
		kms.set(nil)
		time.Sleep(time.Minute)
		require.NoError(t, tag(), "once nothing hangs any more, the pause is a minute at most")
	})
	synctest.Test(t, func(t *testing.T) { // one that looks at its context
		_, vault, kms := guarded(t)
		kms.set(func(ctx context.Context, _, _, _ string) error { <-ctx.Done(); return ctx.Err() })
		_, err := vault.Tagger("seal").Tag(t.Context(), "a", nil)
		require.ErrorIs(t, err, encryption.ErrKEK)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		begun := time.Now()
		require.ErrorIs(t, vault.AddTenant(t.Context(), "new"), encryption.ErrKEK)
		require.Equal(t, encryption.DefaultKEKTimeout, time.Since(begun))
	})
}

// A damaged branch key looks like a KEK that fails, and nothing of its tenant
// opens; a damaged keyset under it is seen for what it is, costs no call, and
// does not stop the others. Once the bytes are mended nothing of the failure is
// left.
func TestADamagedKeysetStopsNoOther(t *testing.T) {
	for _, purpose := range []string{"seal", "branch"} {
		cfg, _, c, _ := installed(t, nil)
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		row := keysetOf(t, cfg.Keys, tenant, purpose)
		sound := row
		row.Wrapped = bytes.Clone(row.Wrapped)
		row.Wrapped[len(row.Wrapped)/2] ^= 1
		overwrite(t, cfg.Keys, keystore.Change{Put: keystore.Rows{Keysets: []keystore.KeysetRow{row}}, Narrows: true})
		tag := func(purpose string) error { _, err := vault.Tagger(purpose).Tag(t.Context(), tenant, nil); return err }
		want, failing := encryption.ErrKeyset, encryption.HealthOK
		if purpose == "branch" {
			want, failing = encryption.ErrKEK, encryption.HealthAlarm
		}
		for range 8 {
			require.ErrorIs(t, tag("seal"), want)
			c.Move(time.Minute)
		}
		require.ErrorIs(t, tag("seal"), want)
		contacts, err := vault.Table(contactsTable)
		require.NoError(t, err)
		_, writing := contacts.Writer(t.Context(), tenant, "p0")
		if purpose == "branch" {
			require.ErrorIs(t, tag("log"), want)
			require.ErrorIs(t, writing, want)
		} else {
			require.NoError(t, tag("log"))
			require.NoError(t, writing)
		}
		of := ""
		if purpose == "branch" {
			of = tenant
		}
		require.Equal(t, failing, found(t, vault, "encryption.kek.failing", of).Level, purpose)
		_, err = vault.WriteCopy(t.Context(), t.TempDir())
		require.ErrorIs(t, err, encryption.ErrDamaged, purpose)
		overwrite(t, cfg.Keys, keystore.Change{Put: keystore.Rows{Keysets: []keystore.KeysetRow{sound}}, Narrows: true})
		c.Move(encryption.DefaultLease)
		require.NoError(t, tag("seal"))
		require.Equal(t, encryption.HealthOK, found(t, vault, "encryption.kek.failing", "").Level)
	}
}

// A panic of a KMS client, or a goroutine that it ends, is an error for who
// asked, and no more.
func TestAKEKFuncThatPanicsIsAnError(t *testing.T) {
	for name, breaks := range map[string]func(){
		"nil pointer": func() { var p *struct{ n int }; p.n++ },
		"text":        func() { panic("kms sdk") },
		"key":         func() { panic([]byte("0123456789abcdef")) },
		"goexit":      runtime.Goexit,
	} {
		cfg, vault, kms := guarded(t)
		kms.set(func(_ context.Context, _, tenant, _ string) error {
			if tenant != "b" {
				breaks()
			}
			return nil
		})
		_, err := encryption.Open(t.Context(), cfg)
		require.ErrorIs(t, err, encryption.ErrKEK, name)
		require.NotContains(t, err.Error(), "48 49", name)
		require.ErrorIs(t, vault.Ensure(t.Context(), "a", "p1"), encryption.ErrKEK, name)
		require.ErrorIs(t, vault.AddTenant(t.Context(), "new"), encryption.ErrKEK, name)
		require.NoError(t, vault.Ensure(t.Context(), "b", "p1"), name)
	}
}

// A clock that is put back by years does not make a pause of years.
func TestAClockThatIsPutBackEndsThePause(t *testing.T) {
	c := &clock{t: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)}
	store := encryptiontest.Keys()
	k := &kms{}
	cfg := encryption.Config{Keys: store, KEK: k.get, Now: c.Now, Wait: c.Wait}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "a"))
	vault, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	k.set(func(context.Context, string, string, string) error { return errors.New("down") })
	tag := func() error { _, err := vault.Tagger("seal").Tag(t.Context(), "a", nil); return err }
	require.Error(t, tag())
	k.set(nil)
	require.Error(t, tag())
	c.Move(-10 * 365 * 24 * time.Hour)
	require.NoError(t, tag())
}
