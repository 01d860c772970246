package encryption_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// found is the one finding of that name and subject.
func found(t *testing.T, vault *encryption.Vault, name, subject string) encryption.Finding {
	t.Helper()
	findings, err := vault.Status(t.Context())
	require.NoError(t, err)
	var out []encryption.Finding
	for _, f := range findings {
		require.Equal(t, f.Level == encryption.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		if f.Name == name && f.Subject == subject {
			out = append(out, f)
		}
	}
	require.Len(t, out, 1, "%s %q", name, subject)
	return out[0]
}

func TestASoundVaultSaysWhatItLookedAt(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	findings, err := e.vault.Status(t.Context())
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range findings {
		require.Equal(t, encryption.HealthOK, f.Level, f)
		names[f.Name] = true
	}
	require.Equal(t, map[string]bool{
		"encryption.store.rewound": true, "encryption.store.durability": true, "encryption.epoch.closing": true,
		"encryption.kek.refused": true, "encryption.kek.failing": true,
		"encryption.key_version.retired": true, "encryption.key_version.destroying": true, "encryption.key_version.deleting": true, "encryption.key.seals": true,
		"encryption.lease.wait": true,
	}, names)
	require.EqualValues(t, 3, found(t, e.vault, "encryption.key.seals", "").Value, "three columns under one key")

	memory := encryptiontest.Vault(t)
	findings, err = memory.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, findings, "a key store that reports nothing of its own is fine")
}

func TestAHalfClosedEpochIsFoundUntilItIsClosed(t *testing.T) {
	e := newEnv(t, 1)
	broken := errors.New("no disk")
	fails := func(context.Context) error { return broken }
	_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: fails})
	require.ErrorIs(t, err, broken)
	f := found(t, e.vault, "encryption.epoch.closing", "")
	require.Equal(t, encryption.HealthNotice, f.Level)
	require.EqualValues(t, 1, f.Value)
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(t.TempDir())})
	require.NoError(t, err)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.epoch.closing", "").Level)
}

func TestARetiredKeyVersionIsFoundUntilItIsDestroyed(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	old, _ := e.rotate(t)
	at := e.clock.Now()
	for _, subject := range []string{"", tenant} {
		f := found(t, e.vault, "encryption.key_version.retired", subject)
		require.Equal(t, encryption.HealthNotice, f.Level)
		require.EqualValues(t, 1, f.Value)
		require.True(t, at.Equal(f.Since), "since the new one was made")
	}
	_, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)

	// The destruction stops when the state is written and the keys are not gone.
	cfg := e.cfg
	stopping := &stoppingStore{Store: e.store, after: 1}
	cfg.Keys = stopping
	other, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.Error(t, other.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)))
	require.Equal(t, encryption.HealthNotice, found(t, e.vault, "encryption.key_version.destroying", tenant).Level)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.key_version.retired", "").Level)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)))
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.key_version.destroying", "").Level)
}

// stoppingStore fails after that many changes.
type stoppingStore struct {
	keystore.Store
	after int
}

func (s *stoppingStore) Update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	if s.after--; s.after < 0 {
		return keystore.State{}, errors.New("the connection is gone")
	}
	return s.Store.Update(ctx, f)
}

// switchedStore is one of two stores, as a disk that was exchanged.
type switchedStore struct{ keystore.Store }

func TestAnOlderKeyStoreInPlaceOfTheNewIsFound(t *testing.T) {
	e := newEnv(t, 1)
	path := filepath.Join(t.TempDir(), "old.db")
	_, err := e.keysDB.ExecContext(t.Context(), `VACUUM INTO ?`, path)
	require.NoError(t, err)
	older, err := sqlkeys.Open(t.Context(), openDB(t, path, 1))
	require.NoError(t, err)
	current := &switchedStore{e.store}
	cfg := e.cfg
	cfg.Keys = current
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.Ensure(t.Context(), tenant, "p1"))
	current.Store = older
	f := found(t, vault, "encryption.store.rewound", "")
	require.Equal(t, encryption.HealthAlarm, f.Level)
	require.Positive(t, f.Value)
	require.NotEmpty(t, f.Remedy)
	current.Store = e.store
	require.Equal(t, encryption.HealthOK, found(t, vault, "encryption.store.rewound", "").Level)
}

func TestKeyCopiesThatFailAreFoundUntilOneSucceeds(t *testing.T) {
	e := newEnv(t, 1)
	dir := t.TempDir()
	copies := func() (out []encryption.Finding) {
		findings, err := e.vault.Status(t.Context())
		require.NoError(t, err)
		for _, f := range findings {
			if f.Name == "encryption.copy.age" {
				out = append(out, f)
			}
		}
		return out
	}
	require.Empty(t, copies(), "a process that takes none knows nothing of them")
	missing := filepath.Join(dir, "not mounted")
	_, err := e.vault.WriteCopy(t.Context(), missing)
	require.Error(t, err)
	since := e.clock.Now()
	e.clock.Move(time.Minute)
	_, err = e.vault.WriteCopy(t.Context(), missing)
	require.Error(t, err)
	require.Equal(t, encryption.HealthAlarm, copies()[0].Level)
	require.True(t, since.Equal(copies()[0].Since), "since the first that failed")
	require.NoError(t, os.Mkdir(missing, 0o700))
	_, err = e.vault.WriteCopy(t.Context(), missing)
	require.NoError(t, err)
	require.Equal(t, encryption.HealthOK, copies()[0].Level)
	e.clock.Move(time.Hour)
	require.InDelta(t, 3600, copies()[0].Value, 1)
}

// A power cut takes the last transactions of such a file, and with them the
// keys of persons whose rows are there.
func TestAKeyStoreThatLosesCommitsIsFound(t *testing.T) {
	e := newEnv(t, 1)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.store.durability", "").Level)
	_, err := e.keysDB.ExecContext(t.Context(), `PRAGMA synchronous = NORMAL`)
	require.NoError(t, err)
	require.Equal(t, encryption.HealthAlarm, found(t, e.vault, "encryption.store.durability", "synchronous").Level)
	require.Equal(t, encryption.HealthAlarm, found(t, e.vault, "encryption.store.durability", "").Level)
	_, err = e.keysDB.ExecContext(t.Context(), `PRAGMA synchronous = FULL`)
	require.NoError(t, err)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.store.durability", "").Level)
}

func TestFindingsHoldNoPersonAndNoKey(t *testing.T) {
	const person = "ann.secret.crm.example"
	e := newEnv(t, 1)
	e.insert(t, "c1", person)
	e.rotate(t)
	_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return errors.New(person) }})
	require.Error(t, err)
	_, err = e.vault.WriteCopy(t.Context(), filepath.Join(t.TempDir(), person))
	require.Error(t, err)
	findings, err := e.vault.Status(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(findings)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
	for _, f := range findings {
		require.NotContains(t, strings.ToLower(f.String()), "secret")
	}
}
