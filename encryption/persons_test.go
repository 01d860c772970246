package encryption_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// addresses are e-mail addresses, however they are spelt.
var addresses = []string{
	"ann@b.example", "Ann.Lee+crm@b.example", "ANN@B.EXAMPLE", "ann@b.c.example", "mailto:ann@b.example", "Ann Lee <ann@b.example>", " ann@b.example ",
	`"ann lee"@b.example`, "ann@[192.0.2.1]", "äöü@b.example", "ann@例え.example", "ann@例え。例", "ann＠b．example", "ann﹫b.example", "ann%40b.example",
	"ann%40b%2Eexample", "ann@b%2eexample", "a@b@c.example", "user/ann@b.example", "idp:ann@b.example",
}

// noAddresses are ids with some of the same characters.
var noAddresses = []string{
	"018f3b0e-7c1a-7b3c-9d2e-1f2a3b4c5d6e", "4711", "p.1", "crm.contact.4711", "4711@crm", "@ann", "@b.example", "ann@", "ann@.", "ann@b.", "ann@.b", "a%40b", "100%", "ann at b.example", "v1.2@3",
}

// An id stands in clear in rows, backups and logs, and for ever: an address is
// none. Nothing is refused that destroys or lists.
func TestAnEMailAddressIsNoPersonID(t *testing.T) {
	vault := encryptiontest.Vault(t, tenant)
	contacts, err := vault.Table(contactsTable)
	require.NoError(t, err)
	sealer := vault.PersonSealer("undo")
	for _, id := range addresses {
		for call, err := range map[string]error{
			"Writer":         func() error { _, err := contacts.Writer(t.Context(), tenant, id); return err }(),
			"Reader":         func() error { _, err := contacts.Reader(t.Context(), tenant, id); return err }(),
			"Ensure":         vault.Ensure(t.Context(), tenant, "p1", id),
			"AddAlias":       vault.AddAlias(t.Context(), tenant, id, "p1"),
			"AddAlias, into": vault.AddAlias(t.Context(), tenant, "p1", id),
			"sealer":         sealer.Ensure(t.Context(), tenant, id),
			"Seal":           func() error { _, err := sealer.Seal(t.Context(), tenant, id, nil, nil); return err }(),
		} {
			require.ErrorIs(t, err, encryption.ErrID, "%q: %s", id, call)
			require.ErrorContains(t, err, "e-mail address", "%q: %s", id, call)
			require.NotContains(t, err.Error(), id, call)
		}
		_, err := vault.Erase(t.Context(), tenant, id)
		require.NoError(t, err, "%q", id)
		_, err = vault.Aliases(t.Context(), tenant, id)
		require.NoError(t, err, "%q", id)
		keys, err := vault.WrappedKeys(t.Context(), tenant, id)
		require.NoError(t, err, "%q", id)
		require.Empty(t, keys)
	}
	for _, id := range noAddresses {
		require.NoError(t, vault.Ensure(t.Context(), tenant, id), "%q", id)
	}
}

// Whoever imports a million persons learns which of them get no key, by
// position and not by name, and goes on with the others.
func TestEnsureNamesPositions(t *testing.T) {
	const canary = "canary-person"
	store := encryptiontest.Keys()
	cfg, vault, _, _ := installed(t, func(c *encryption.Config) { c.Keys = store })
	require.NoError(t, vault.Ensure(t.Context(), tenant, canary+"-damaged", canary+"-into"))
	_, err := vault.Erase(t.Context(), tenant, canary+"-erased")
	require.NoError(t, err)
	require.NoError(t, vault.AddAlias(t.Context(), tenant, canary+"-merged", canary+"-into"))
	rows, err := store.Owners(t.Context(), tenant, []string{canary + "-damaged"})
	require.NoError(t, err)
	rows.Keys[0].Wrapped[40] ^= 1
	overwrite(t, store, keystore.Change{Put: keystore.Rows{Keys: rows.Keys}, Narrows: true})
	vault, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)

	persons := []string{"p0", canary + "-erased", "p2", canary + "-merged", canary + "-damaged", canary + "-erased"}
	for name, ensure := range map[string]func(...string) error{
		"vault":  func(p ...string) error { return vault.Ensure(t.Context(), tenant, p...) },
		"sealer": func(p ...string) error { return vault.PersonSealer("undo").Ensure(t.Context(), tenant, p...) },
	} {
		err := ensure(persons...)
		detail, ok := errors.AsType[*encryption.PersonsError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Len(t, detail.Persons, 4, name)
		require.ErrorIs(t, detail.Persons[1], encryption.ErrErased, name)
		require.ErrorIs(t, detail.Persons[3], encryption.ErrMerged, name)
		require.ErrorIs(t, detail.Persons[4], encryption.ErrOpen, name)
		require.ErrorIs(t, detail.Persons[5], encryption.ErrErased, name)
		for _, sentinel := range []error{encryption.ErrErased, encryption.ErrMerged, encryption.ErrOpen} {
			require.ErrorIs(t, err, sentinel, name)
		}
		require.EqualError(t, err, "encryption: 4 persons were refused, the first at position 1: encryption: erased: seal", name)
		for _, ready := range []string{"p0", "p2"} {
			keys, err := vault.WrappedKeys(t.Context(), tenant, ready)
			require.NoError(t, err, name)
			require.Len(t, keys, 1, "%s: the others have their keys", name)
		}

		// Ids are looked at before any key is made.
		err = ensure(name, canary+"\x00", "", "ann@b.example")
		detail, ok = errors.AsType[*encryption.PersonsError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.ErrorIs(t, detail.Persons[1], encryption.ErrID, name)
		require.ErrorIs(t, detail.Persons[3], encryption.ErrID, name)
		require.NotContains(t, err.Error(), canary, name)
		require.NotContains(t, err.Error(), "ann", name)
		keys, err := vault.WrappedKeys(t.Context(), tenant, name)
		require.NoError(t, err)
		require.Empty(t, keys, name)
	}
	require.Equal(t, "encryption: no person was refused", (&encryption.PersonsError{}).Error())
}
