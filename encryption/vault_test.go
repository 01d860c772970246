package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

func TestSealFindOpen(t *testing.T) {
	for _, conns := range []int{1, 8} {
		e := newEnv(t, conns)
		for i := range 5 {
			e.insert(t, fmt.Sprintf("c%d", i), fmt.Sprintf("p%d", i))
		}
		e.requireOpens(t, e.contacts)
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))

		probes, err := e.contacts.Lookup(t.Context(), tenant, "email_idx", " P3@B.example ")
		require.NoError(t, err)
		where, args := probes.Where("c")
		require.Equal(t, "(c.email_idx = ?)", where)
		var id string
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT id FROM contacts c WHERE `+where, args...).Scan(&id))
		require.Equal(t, "c3", id)
		require.True(t, e.contacts.Match("email_index", "p3@b.example", " P3@B.example "))
		require.False(t, e.contacts.Match("email_index", "p4@b.example", "p3@b.example"))
	}
}

func TestOpenAllTakesOneKeyQuery(t *testing.T) {
	store := encryptiontest.Keys()
	e := newEnv(t, 4)
	e.cfg.Keys = store
	vault, err := encryption.Create(t.Context(), e.cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	e.contacts = e.table(t, vault, contactsTable)
	persons := make([]string, 50)
	for i := range persons {
		persons[i] = fmt.Sprintf("p%02d", i)
	}
	require.NoError(t, vault.Ensure(t.Context(), tenant, persons...))
	for _, p := range persons {
		e.insert(t, "c"+p, p)
	}
	fresh := e.another(t)
	before := store.Asked("Owners")
	e.requireOpens(t, e.table(t, fresh, contactsTable))
	require.Equal(t, 1, store.Asked("Owners")-before)
	asks := e.kms.asks
	e.requireOpens(t, e.table(t, fresh, contactsTable))
	require.Equal(t, 1, store.Asked("Owners")-before, "the second time they come from memory")
	require.Equal(t, asks, e.kms.asks, "and the KEK is not asked again")
}

func TestNullStaysNullAndEmptyIsSealed(t *testing.T) {
	e := newEnv(t, 1)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.True(t, w.Bytes("email", nil).IsNull())
	empty := w.Text("email", "")
	require.NoError(t, empty.Err())
	require.Len(t, empty.Bytes(), 33)
	require.True(t, w.Int64("email_idx", " \t").IsNull())
	r, err := e.contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	got, err := r.Row("p1", "").Open(t.Context(), "email", nil)
	require.NoError(t, err)
	require.Nil(t, got)
	got, err = r.Row("p1", "").Open(t.Context(), "email", empty.Bytes())
	require.NoError(t, err)
	require.NotNil(t, got)
	require.Empty(t, got)
	// A value that could not be sealed stops the statement.
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, note) VALUES ('x', 'p1', ?)`, w.Text("note", "needs a row"))
	require.ErrorIs(t, err, encryption.ErrDefinition)
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email_idx) VALUES ('x', 'p1', ?)`, w.Int64("nope", "x"))
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.Equal(t, "sealed(failed)", w.Text("nope", "secret").String())
	require.Equal(t, "sealed(33 bytes)", fmt.Sprint(empty))
	require.Equal(t, "sealed(null)", encryption.Sealed{}.String())
}

// Every sealed value is bound to tenant, owner, table, column and row.
func TestSwappedPlacesNeverOpen(t *testing.T) {
	e := newEnv(t, 4)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	other := e.table(t, e.vault, encryption.Table{Name: "leads", Columns: []encryption.Column{{Name: "email"}, {Name: "note", Level: encryption.LevelRow}, {Name: "copy"}}})
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	email, err := w.Seal("email", []byte("a@b.example"))
	require.NoError(t, err)
	note, err := w.Seal("note", []byte("text"))
	require.NoError(t, err)
	for _, tn := range []string{tenant, "t2"} {
		for _, p := range []string{"p1", "p2"} {
			require.NoError(t, e.vault.Ensure(t.Context(), tn, p))
		}
	}
	open := func(table *encryption.SealedTable, tn, owner, row, column string, sealed []byte) error {
		r, err := table.Reader(t.Context(), tn, owner)
		require.NoError(t, err)
		_, err = r.Row(owner, row).Open(t.Context(), column, sealed)
		return err
	}
	require.NoError(t, open(e.contacts, tenant, "p1", "r1", "note", note))
	require.NoError(t, open(e.contacts, tenant, "p1", "other", "email", email), "level 2 is not bound to the row")
	require.ErrorIs(t, open(e.contacts, tenant, "p1", "r2", "note", note), encryption.ErrOpen)
	require.ErrorIs(t, open(e.contacts, tenant, "p2", "r1", "note", note), encryption.ErrOpen)
	require.ErrorIs(t, open(e.contacts, tenant, "p2", "r1", "email", email), encryption.ErrOpen)
	require.ErrorIs(t, open(e.contacts, tenant, "p1", "r1", "note", email), encryption.ErrOpen)
	require.ErrorIs(t, open(other, tenant, "p1", "r1", "email", email), encryption.ErrOpen)
	require.ErrorIs(t, open(other, tenant, "p1", "r1", "copy", email), encryption.ErrOpen)
	require.ErrorIs(t, open(e.contacts, "t2", "p1", "r1", "email", email), encryption.ErrNoKey, "key versions differ between tenants")
	for i := range email {
		bad := append([]byte(nil), email...)
		bad[i] ^= 1
		require.Error(t, open(e.contacts, tenant, "p1", "r1", "email", bad), "byte %d", i)
	}
	for n := range email {
		require.Error(t, open(e.contacts, tenant, "p1", "r1", "email", email[:n:n]))
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	plaintext, dst := []byte("ann@b.example"), make([]byte, 0, 128)
	sealed, err := w.AppendSeal(nil, "email", plaintext)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := w.AppendSeal(dst, "email", plaintext); err != nil {
			panic(err)
		}
	}))
	r, err := e.contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := r.Row("p1", "").AppendOpen(ctx, dst, "email", sealed); err != nil {
			panic(err)
		}
	}))
	fields := []encryption.Field{{Column: "email", Value: plaintext}, {Column: "email", Value: plaintext}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := w.AppendSealRow(dst, fields); err != nil {
			panic(err)
		}
	}))
	back := make([]byte, 0, 128)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := r.Row("p1", "").AppendOpenRow(ctx, back, fields); err != nil {
			panic(err)
		}
	}))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, err := e.contacts.Writer(ctx, tenant, "p1"); err != nil {
			panic(err)
		}
	}), 3.0)
}

func TestOneKeyWhoeverMakesIt(t *testing.T) {
	e := newEnv(t, 8)
	vaults := []*encryption.Vault{e.vault, e.another(t)}
	var wg sync.WaitGroup
	sealed := make([][]byte, 16)
	for i := range 16 {
		wg.Go(func() {
			table, err := vaults[i%2].Table(contactsTable)
			if err != nil {
				t.Error(err)
				return
			}
			w, err := table.Writer(context.Background(), tenant, "p1")
			if err != nil {
				t.Error(err)
				return
			}
			sealed[i], err = w.Seal("email", []byte("x"))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Len(t, keys[0], 65)
	r, err := e.table(t, e.another(t), contactsTable).Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	for _, s := range sealed {
		_, err := r.Row("p1", "").Open(t.Context(), "email", s)
		require.NoError(t, err)
	}
}

func TestWrongKEKChangesNothing(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	_, err := e.keysDB.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`)
	require.NoError(t, err)
	before, err := os.ReadFile(e.keysPath)
	require.NoError(t, err)

	wrong := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
	cfg := e.cfg
	cfg.KEK = wrong.get
	_, err = encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrKEK)
	detail, ok := errors.AsType[*encryption.KEKError](err)
	require.True(t, ok)
	require.Equal(t, "kek-1", detail.KEK)
	require.ErrorContains(t, err, "hand in the KEK of that name")
	wrong.gone["kek-1"] = true
	_, err = encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrKEK)

	after, err := os.ReadFile(e.keysPath)
	require.NoError(t, err)
	require.Equal(t, before, after)
	_, err = os.Stat(e.keysPath + "-wal")
	if err == nil {
		wal, err := os.ReadFile(e.keysPath + "-wal")
		require.NoError(t, err)
		require.Empty(t, wal)
	}
}

func TestADatabaseThatNobodyHandedInIsAnError(t *testing.T) {
	e := newEnv(t, 1)
	for name, call := range map[string]func() error{
		"census": func() error { _, err := e.contacts.Census(t.Context(), nil, tenant); return err },
		"holder": func() error { _, _, err := e.contacts.Holder(nil)(t.Context(), tenant, 1); return err },
		"counts": func() error { _, err := e.vault.Counts(nil, tenant, e.contacts)(t.Context()); return err },
		"reseal": func() error {
			_, err := e.contacts.Reseal(t.Context(), nil, tenant, jobs.ResealOptions{})
			return err
		},
		"rebuild": func() error { return e.contacts.RebuildIndexes(nil, tenant)(t.Context()) },
		"clear":   func() error { return e.contacts.ClearRows(nil)(t.Context(), tenant, "p1") },
		"redact": func() error {
			_, err := e.contacts.Redact(t.Context(), nil, tenant, "c1", jobs.Redaction{})
			return err
		},
	} {
		err := call()
		require.ErrorIs(t, err, encryption.ErrDefinition, name)
		require.ErrorContains(t, err, "no database was handed in", name)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	e := newEnv(t, 1)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.EqualError(t, w.Text("emial", "x").Err(), "encryption: definition: no such column is declared; the table has email, note, phone. There is no contacts.emial")
	_, err = e.contacts.Lookup(t.Context(), tenant, "email", "x@y.example")
	require.EqualError(t, err, "encryption: definition: no such index is declared; there are email_idx (of email_index): contacts.email")
	_, err = e.contacts.Writer(t.Context(), tenant, "")
	require.ErrorContains(t, err, "1 to 255 bytes")
	_, err = encryption.Create(t.Context(), e.cfg)
	require.ErrorContains(t, err, "Open it")
	empty := e.cfg
	empty.Keys = encryptiontest.Keys()
	_, err = encryption.Open(t.Context(), empty)
	require.ErrorContains(t, err, "after a loss RestoreCopy")
}

func TestCreateAndOpenKnowTheirPlace(t *testing.T) {
	e := newEnv(t, 1)
	_, err := encryption.Create(t.Context(), e.cfg)
	require.ErrorIs(t, err, encryption.ErrNotEmpty)
	empty := e.cfg
	empty.Keys = encryptiontest.Keys()
	_, err = encryption.Open(t.Context(), empty)
	require.ErrorIs(t, err, encryption.ErrEmpty)
	_, err = encryption.Open(t.Context(), encryption.Config{})
	require.ErrorIs(t, err, encryption.ErrDefinition)
	_, err = encryption.Open(t.Context(), encryption.Config{Keys: e.store})
	require.ErrorIs(t, err, encryption.ErrDefinition)
	_, err = encryption.Open(t.Context(), encryption.Config{Keys: e.store, KEK: e.kms.get, Lease: -1})
	require.ErrorIs(t, err, encryption.ErrDefinition)

	_, err = e.contacts.Writer(t.Context(), "t9", "p1")
	require.ErrorIs(t, err, encryption.ErrTenant)
	_, err = e.contacts.Writer(t.Context(), "", "p1")
	require.ErrorIs(t, err, encryption.ErrTenant)
	require.ErrorIs(t, e.vault.AddTenant(t.Context(), ""), encryption.ErrTenant)
	require.NoError(t, e.vault.AddTenant(t.Context(), tenant), "idempotent")
	for _, person := range []string{"", "t:", "r:x", "a\x00"} {
		_, err = e.contacts.Writer(t.Context(), tenant, person)
		require.ErrorIs(t, err, encryption.ErrID)
	}
	tenants, err := e.vault.Tenants(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{tenant}, tenants)

	db := openDB(t, t.TempDir()+"/x.db", 1)
	_, err = sqlkeys.Open(t.Context(), db)
	var schema *sqlkeys.ErrSchema
	require.ErrorAs(t, err, &schema)
}

func TestAFailingStoreFailsClosed(t *testing.T) {
	e := newEnv(t, 1)
	store := encryptiontest.Keys()
	e.cfg.Keys = store
	vault, err := encryption.Create(t.Context(), e.cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	contacts := e.table(t, vault, contactsTable)
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed, err := w.Seal("email", []byte("x"))
	require.NoError(t, err)
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err, "in memory now")
	down := errors.New("connection refused")
	store.Fail = func(string) error { return down }

	e.clock.Move(encryption.DefaultLease - 1)
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err, "an early check may fail while the lease runs")
	e.clock.Move(1)
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrStore)
	require.ErrorIs(t, err, down)
	_, err = w.Seal("email", []byte("x"))
	require.ErrorIs(t, err, encryption.ErrLease)
	_, err = contacts.Reader(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrStore)
	store.Fail = nil
	r, err := contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = r.Row("p1", "").Open(t.Context(), "email", sealed)
	require.NoError(t, err)
}

// A key store put back to an earlier state would bring erased keys back.
func TestARewoundStoreIsNoticed(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	_, err := e.keysDB.ExecContext(t.Context(), `UPDATE crmguard_encryption_store SET sequence = sequence - 1`)
	require.NoError(t, err)
	e.clock.Move(encryption.DefaultLease)
	_, err = e.contacts.Reader(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrRewound)
}
