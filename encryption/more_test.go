package encryption_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// A Reader outlives its lease by asking the key store again.
func TestAReaderRenewsItself(t *testing.T) {
	store := encryptiontest.Keys()
	e := newEnv(t, 1)
	e.cfg.Keys = store
	vault, err := encryption.Create(t.Context(), e.cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	e.contacts = e.table(t, vault, contactsTable)
	e.insert(t, "c1", "p1")
	cell := e.read(t)[0].email.Bytes()
	r, err := e.contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	for range 3 {
		e.clock.Move(encryption.DefaultLease)
		before := store.Asked("State")
		for range 3 {
			_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
			require.NoError(t, err)
		}
		require.Equal(t, 1, store.Asked("State")-before, "one small read a lease")
	}
}

// Keys in memory are bounded; what does not fit is read again.
func TestTheCacheIsBounded(t *testing.T) {
	e := newEnv(t, 1)
	e.cfg.CacheKeys = 3
	vault, err := encryption.Open(t.Context(), e.cfg)
	require.NoError(t, err)
	e.contacts = e.table(t, vault, contactsTable)
	for i := range 10 {
		e.insert(t, fmt.Sprint(i), fmt.Sprintf("p%d", i))
	}
	e.requireOpens(t, e.contacts)
}

func TestSecureDeleteIsDemanded(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "keys.db"))
	require.NoError(t, err)
	defer db.Close()
	require.ErrorIs(t, sqlkeys.Install(t.Context(), db), sqlkeys.ErrSecureDelete)
	_, err = sqlkeys.Open(t.Context(), db)
	require.ErrorIs(t, err, sqlkeys.ErrSecureDelete)
	require.NoError(t, db.Close())
	_, err = sqlkeys.Open(t.Context(), db)
	require.Error(t, err)
}

// Integer keys, a tenant column, renamed columns: logical names are bound,
// SQL names are not.
func TestTwoTenantsInOneTable(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	_, err := e.db.ExecContext(t.Context(), `CREATE TABLE crm_leads (nr INTEGER NOT NULL PRIMARY KEY, org TEXT NOT NULL, who TEXT NOT NULL, mail BLOB, mail_x BLOB) STRICT`)
	require.NoError(t, err)
	leads := e.table(t, e.vault, encryption.Table{
		Name: "leads", SQL: "crm_leads", Key: "nr", Owner: "who", Tenant: "org", Level: encryption.LevelRow,
		Columns: []encryption.Column{{Name: "email", SQL: "mail", Index: []encryption.Index{{Column: "mail_x", As: encryption.Exact, Bits: 64}}}},
	})
	for i := range 12 {
		org := []string{tenant, "t2"}[i%2]
		w, err := leads.Writer(t.Context(), org, "p1")
		require.NoError(t, err)
		w, err = w.Row(fmt.Sprint(i))
		require.NoError(t, err)
		_, err = e.db.ExecContext(t.Context(), `INSERT INTO crm_leads (nr, org, who, mail, mail_x) VALUES (?, ?, 'p1', ?, ?)`, i, org, w.Text("email", fmt.Sprint("m", i)), w.Index("mail_x", fmt.Sprint("m", i)))
		require.NoError(t, err)
	}
	_, err = e.vault.NewKeyVersion(t.Context(), "t2")
	require.NoError(t, err)
	report, err := leads.Reseal(t.Context(), e.db, "t2", jobs.ResealOptions{Batch: 4})
	require.NoError(t, err)
	require.Equal(t, jobs.ResealReport{Rows: 6, Cells: 6, Last: "11"}, report)
	report, err = leads.Reseal(t.Context(), e.db, "t2", jobs.ResealOptions{After: "5"})
	require.NoError(t, err)
	require.Equal(t, 3, report.Rows)
	census, err := leads.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Len(t, census.KeyVersions, 1)
	_, err = e.db.ExecContext(t.Context(), `UPDATE crm_leads SET mail_x = NULL`)
	require.NoError(t, err)
	require.NoError(t, leads.RebuildIndexes(e.db, tenant)(t.Context()))
	probes, err := leads.Lookup(t.Context(), tenant, "mail_x", "m4")
	require.NoError(t, err)
	where, args := probes.Where("l")
	var nr int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT nr FROM crm_leads l WHERE `+where, args...).Scan(&nr))
	require.Equal(t, 4, nr)
	require.NoError(t, leads.ClearRows(e.db)(t.Context(), tenant, "p1"))
	var left int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(mail) FROM crm_leads`).Scan(&left))
	require.Equal(t, 6, left, "the other tenant's person of the same id stays")
	_, err = leads.Census(t.Context(), e.db, "")
	require.ErrorIs(t, err, encryption.ErrTenant)
	_, err = leads.Reseal(t.Context(), e.db, "", jobs.ResealOptions{})
	require.ErrorIs(t, err, encryption.ErrTenant)
}

// No error text carries a value, a person or a key.
func TestErrorsCarryNoPersonalData(t *testing.T) {
	e := newEnv(t, 1)
	const canary = "canary.secret.example"
	e.insert(t, "c1", canary)
	cell := e.read(t)[0].email.Bytes()
	cell[len(cell)-1] ^= 1
	var errs []error
	r, err := e.contacts.Reader(t.Context(), tenant, canary)
	require.NoError(t, err)
	_, err = r.Row(canary, "c1").Open(t.Context(), "email", cell)
	errs = append(errs, err)
	_, err = e.vault.Erase(t.Context(), tenant, canary)
	require.NoError(t, err)
	_, err = e.contacts.Writer(t.Context(), tenant, canary)
	errs = append(errs, err, e.vault.AddAlias(t.Context(), tenant, canary, "p2"), e.vault.Ensure(t.Context(), tenant, canary))
	errs = append(errs, encryption.OpenAll(t.Context(), e.contacts, tenant, e.read(t)))
	_, err = e.contacts.Writer(t.Context(), tenant, canary+"\x00")
	errs = append(errs, err)
	w, err := e.contacts.Writer(t.Context(), tenant, "p2")
	require.NoError(t, err)
	errs = append(errs, w.Text("nope", canary).Err(), w.Index("nope", canary).Err())
	_, err = sealedvalue.ParseText("cg1." + canary)
	errs = append(errs, err, new(encryption.Sealed).Scan(canary), new(encryption.Sealed).Scan(7))
	for _, err := range errs {
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
		require.NotContains(t, fmt.Sprintf("%+v", err), "secret.example")
	}
	require.Contains(t, errs[0].Error(), "contacts.email (key version ")
}

// No verb of package fmt prints key bytes: neither those that it knows for a
// type nor those that vet refuses, for which it follows pointers.
func TestKeysDoNotPrint(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	r, err := e.contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	kek, err := insecurekeys.KEK([]byte("thirty-two bytes: a machine key!"))
	require.NoError(t, err)
	type holder struct{ v any } // fmt asks no methods of what it holds
	for _, v := range []any{kek, w, *w, r, e.contacts, e.vault.PersonSealer("opening"), e.vault.Tagger("seal"), e.vault.ManifestTagger()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			for _, printed := range []any{v, holder{v}, &holder{v}} {
				out := fmt.Sprintf(verb, printed)
				require.NotRegexp(t, `([0-9]+[ ,]+){7}`, out, "%T: seven numbers in a row", v)
				require.NotRegexp(t, `(0x[0-9a-f]+, ){7}`, out, "%T", v)
			}
		}
	}
}

func TestDoublesAndKEKs(t *testing.T) {
	vault := encryptiontest.Vault(t, "a", "b")
	tenants, err := vault.Tenants(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, tenants)
	_, err = vault.Erase(t.Context(), "a", "p1")
	require.NoError(t, err)
	_, err = insecurekeys.KEK(make([]byte, 16))
	require.Error(t, err)
	kek, err := insecurekeys.KEK(make([]byte, 32))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = kek.EncryptWithContext(ctx, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = kek.DecryptWithContext(ctx, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = kek.DecryptWithContext(t.Context(), []byte("short"), nil)
	require.Error(t, err)
	redacted := &jobs.RedactedError{Old: "r:x", Err: encryption.ErrStore}
	require.ErrorIs(t, redacted, encryption.ErrStore)
	require.NotContains(t, redacted.Error(), "r:x")
	require.True(t, errors.Is(&jobs.InUseError{}, encryption.ErrInUse))
}

func FuzzOpen(f *testing.F) {
	e := newEnv(f, 1)
	w, err := e.contacts.Writer(f.Context(), tenant, "p1")
	require.NoError(f, err)
	good, err := w.Seal("email", []byte("a@b.example"))
	require.NoError(f, err)
	form, err := sealedvalue.FormatText(good)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(form))
	f.Add([]byte("clear"))
	r, err := e.contacts.Reader(f.Context(), tenant, "p1")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, sealed []byte) {
		value, err := r.Row("p1", "").Open(context.Background(), "email", sealed)
		if err == nil && sealed != nil && string(value) != "a@b.example" {
			t.Fatalf("forged")
		}
	})
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("cg1.deadbeef.Ad6tvu8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRob"))
	f.Fuzz(func(t *testing.T, src []byte) {
		var a, b encryption.Sealed
		errA, errB := a.Scan(src), b.Scan(string(src))
		if errB == nil {
			require.NoError(t, errA)
			require.Equal(t, a.Bytes(), b.Bytes())
		}
	})
}
