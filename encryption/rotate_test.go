package encryption_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

func (e *env) rotate(tb testing.TB) (old, active uint32) {
	tb.Helper()
	keyVersions, err := e.vault.KeyVersions(tb.Context(), tenant)
	require.NoError(tb, err)
	old = keyVersions[len(keyVersions)-1].KeyVersion
	e.clock.Move(time.Second)
	active, err = e.vault.NewKeyVersion(tb.Context(), tenant)
	require.NoError(tb, err)
	return old, active
}

func TestResealCensusDestroy(t *testing.T) {
	for _, conns := range []int{1, 4} {
		e := newEnv(t, conns)
		for i := range 25 {
			e.insert(t, fmt.Sprintf("c%02d", i), fmt.Sprintf("p%02d", i%10))
		}
		e.insert(t, "c99", "gone")
		_, err := e.vault.Erase(t.Context(), tenant, "gone")
		require.NoError(t, err)
		_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET note = NULL WHERE id = 'c03'`)
		require.NoError(t, err)
		before := e.digest(t)
		old, active := e.rotate(t)
		require.Equal(t, before, e.digest(t), "a new key version rewrites nothing")
		census, err := e.contacts.Census(t.Context(), e.db, tenant)
		require.NoError(t, err)
		require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{old: 77}, Null: 1}, census)
		err = e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db))
		require.ErrorIs(t, err, encryption.ErrInUse)
		require.ErrorContains(t, err, "table contacts")

		// Interrupted after the first batch, then resumed.
		ctx, stop := context.WithCancel(t.Context())
		report, err := e.contacts.Reseal(ctx, e.db, tenant, jobs.ResealOptions{Batch: 10, Progress: func(jobs.ResealReport) { stop() }})
		require.Error(t, err)
		require.Equal(t, "c09", report.Last)
		require.Equal(t, 29, report.Cells)
		report, err = e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Batch: 10, After: report.Last, Pause: time.Second})
		require.NoError(t, err)
		require.Equal(t, jobs.ResealReport{Rows: 16, Cells: 45, Erased: 3, Last: "c99"}, report)
		_, err = e.db.ExecContext(t.Context(), `DELETE FROM contacts WHERE person = 'gone'`)
		require.NoError(t, err)
		e.requireOpensBut(t, "c03")
		census, err = e.contacts.Census(t.Context(), e.db, tenant)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{active: 74}, census.KeyVersions)

		snapshots := 1
		keepers := func(_ context.Context, tn string, keyVersion uint32) (int, string, error) {
			require.Equal(t, tenant, tn)
			require.Equal(t, old, keyVersion)
			return snapshots, "snapshot 4f2a of nightly", nil
		}
		err = e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db), keepers)
		inUse, ok := errors.AsType[*jobs.InUseError](err)
		require.True(t, ok)
		require.Equal(t, &jobs.InUseError{KeyVersion: old, Count: 1, Where: "snapshot 4f2a of nightly"}, inUse)
		snapshots = 0
		require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db), keepers))
		require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, keepers), "idempotent")
		require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, active, keepers), encryption.ErrKeyVersion)
		require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, 12345, keepers), encryption.ErrKeyVersion)
		require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old), encryption.ErrDefinition)
		status, err := e.vault.Inventory(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[uint32]keystore.KeyVersionState{old: keystore.Destroyed, active: keystore.Active}, status.Tenants[0].KeyVersions)
	}
}

func (e *env) requireOpensBut(tb testing.TB, nulled string) {
	tb.Helper()
	rows := e.read(tb)
	require.NoError(tb, encryption.OpenAll(tb.Context(), e.contacts, tenant, rows))
	for _, c := range rows {
		require.Equal(tb, c.Person+"@b.example", c.Email)
		if c.ID != nulled {
			require.Equal(tb, "note of "+c.Person, c.Note)
		}
	}
}

// What a snapshot still holds under a destroyed key version says why it is lost.
func TestDestroyedKeyVersionsSayso(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	snapshot := e.read(t)
	old, _ := e.rotate(t)
	_, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)))
	require.ErrorIs(t, encryption.OpenAll(t.Context(), e.contacts, tenant, snapshot), encryption.ErrDestroyed)
	unknown := append([]byte{1, 9, 9, 9, 9}, snapshot[0].email.Bytes()[5:]...)
	r, err := e.contacts.Reader(t.Context(), tenant, "p1", "nobody")
	require.NoError(t, err)
	_, err = r.Row("p1", "").Open(t.Context(), "email", unknown)
	require.ErrorIs(t, err, encryption.ErrNoKey)
	_, err = r.Row("nobody", "").Open(t.Context(), "email", unknown)
	require.ErrorIs(t, err, encryption.ErrNoKey)
}

// A census that finds something the second time goes back to retired, and a
// destruction that was interrupted goes on.
func TestDestructionChangesItsMind(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	old, _ := e.rotate(t)
	asked := 0
	late := func(context.Context, string, uint32) (int, string, error) {
		asked++
		return asked - 1, "a late transaction", nil
	}
	err := e.vault.DestroyKeyVersion(t.Context(), tenant, old, late)
	require.ErrorIs(t, err, encryption.ErrInUse)
	require.Equal(t, 2, asked)
	state := func() keystore.KeyVersionState {
		status, err := e.vault.Inventory(t.Context())
		require.NoError(t, err)
		return status.Tenants[0].KeyVersions[old]
	}
	require.Equal(t, keystore.Retired, state())
	e.requireOpens(t, e.contacts)

	nobody := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	cfg := e.cfg
	stopped := errors.New("killed")
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		if state() == keystore.Destroying {
			return stopped
		}
		return e.clock.Wait(ctx, d)
	}
	killed, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.ErrorIs(t, killed.DestroyKeyVersion(t.Context(), tenant, old, nobody), stopped)
	require.Equal(t, keystore.Destroying, state())
	e.requireOpens(t, e.contacts)
	broken := func(context.Context, string, uint32) (int, string, error) { return 0, "", errors.New("unreachable") }
	require.ErrorContains(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, broken), "did not answer")
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, nobody))
	require.Equal(t, keystore.Destroyed, state())
}

// The census that counts begins later than retirement + lease + longest
// transaction; the one before only spares a wait.
func TestDestructionWaitsForOldTransactions(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	old, _ := e.rotate(t)
	retired := e.clock.Now()
	var asked []time.Time
	holder := func(context.Context, string, uint32) (int, string, error) {
		asked = append(asked, e.clock.Now())
		return 0, "", nil
	}
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, holder))
	require.Len(t, asked, 3)
	require.Equal(t, retired.Add(encryption.DefaultLease+encryption.DefaultLongestTransaction), asked[1])
}

// Readers and searches go on while everything is resealed, and an update that
// falls between the rewriter's read and write survives.
func TestResealingUnderLoad(t *testing.T) {
	e := newEnv(t, 8)
	for i := range 40 {
		e.insert(t, fmt.Sprintf("c%02d", i), fmt.Sprintf("p%02d", i))
	}
	e.rotate(t)
	ctx, stop := context.WithCancel(t.Context())
	var reads, failures atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			rows := e.read(t)
			if encryption.OpenAll(context.WithoutCancel(ctx), e.contacts, tenant, rows) != nil {
				failures.Add(1)
			}
			reads.Add(1)
		}
	}()
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Batch: 7})
	require.NoError(t, err)
	require.Equal(t, 120, report.Cells)
	stop()
	<-done
	require.Positive(t, reads.Load())
	require.Zero(t, failures.Load())
	e.requireOpens(t, e.contacts)
}

// interloper changes a row exactly once, between the read and the write of
// the rewriter: when it looks up keys.
type interloper struct {
	keystore.Store
	act func()
}

func (i *interloper) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	if act := i.act; act != nil {
		i.act = nil
		act()
	}
	return i.Store.Owners(ctx, tenant, owners)
}

func TestAnUpdateBetweenReadAndWriteSurvives(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	// Another process seals under the old key version: it has not yet heard of
	// the new one.
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	old, active := e.rotate(t)
	store := &interloper{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	table := e.table(t, vault, contactsTable)
	value, err := w.Seal("email", []byte("new@b.example"))
	require.NoError(t, err)
	store.act = func() {
		_, err := e.db.ExecContext(t.Context(), `UPDATE contacts SET email = ? WHERE id = 'c1'`, value)
		require.NoError(t, err)
	}
	verified, sealed := 0, 0
	report, err := table.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{
		BeforeRow: func(context.Context, *sql.Tx, string, string) error { verified++; return nil },
		AfterRow:  func(context.Context, *sql.Tx, string, string) error { sealed++; return nil },
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 6}, []int{report.Conflicts, report.Cells})
	require.Equal(t, []int{2, 2}, []int{verified, sealed})
	rows := e.read(t)
	require.NoError(t, encryption.OpenAll(t.Context(), e.contacts, tenant, rows))
	require.Equal(t, "new@b.example", rows[0].Email, "the concurrent update survives")
	require.Equal(t, "note of p1", rows[0].Note)
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{active: 6}, census.KeyVersions, "old %d", old)
}

// The hooks keep a row MAC over the stored bytes valid, in one transaction,
// with a pool of one.
func TestHooksReseal(t *testing.T) {
	e := newEnv(t, 1)
	mac := func(ctx context.Context, tx *sql.Tx, key string) []byte {
		var email, note []byte
		var phone string
		require.NoError(t, tx.QueryRowContext(ctx, `SELECT email, note, phone FROM contacts WHERE id = ?`, key).Scan(&email, &note, &phone))
		s := sha256.Sum256(append(append(append([]byte{}, email...), note...), phone...))
		return s[:]
	}
	sealRow := func(ctx context.Context, tx *sql.Tx, _, key string) error {
		_, err := tx.ExecContext(ctx, `UPDATE contacts SET mac = ? WHERE id = ?`, mac(ctx, tx, key), key)
		return err
	}
	tampered := errors.New("row is tampered with")
	verifyRow := func(ctx context.Context, tx *sql.Tx, _, key string) error {
		var have []byte
		require.NoError(t, tx.QueryRowContext(ctx, `SELECT mac FROM contacts WHERE id = ?`, key).Scan(&have))
		if string(have) != string(mac(ctx, tx, key)) {
			return tampered
		}
		return nil
	}
	for i := range 5 {
		e.insert(t, fmt.Sprintf("c%d", i), "p1")
		tx, err := e.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, sealRow(t.Context(), tx, tenant, fmt.Sprintf("c%d", i)))
		require.NoError(t, tx.Commit())
	}
	e.rotate(t)
	options := jobs.ResealOptions{Batch: 2, BeforeRow: verifyRow, AfterRow: sealRow}
	_, err := e.contacts.Reseal(t.Context(), e.db, tenant, options)
	require.NoError(t, err)
	e.requireOpens(t, e.contacts)
	e.rotate(t)
	_, err = e.contacts.Reseal(t.Context(), e.db, tenant, options)
	require.NoError(t, err, "the seals of the first pass verify")

	_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET note = (SELECT note FROM contacts WHERE id = 'c1') WHERE id = 'c0'`)
	require.NoError(t, err)
	e.rotate(t)
	before := e.digest(t)
	_, err = e.contacts.Reseal(t.Context(), e.db, tenant, options)
	require.Error(t, err)
	require.Equal(t, before, e.digest(t))
}

func TestCensusCountsWhatIsNotSealed(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	_, err := e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email, phone) VALUES ('c2', 'p1', x'68656c6c6f', 'clear'), ('c3', 'p1', x'', 'cg1.DEADBEEF.x')`)
	require.NoError(t, err)
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, int64(4), census.Unsealed)
	require.Equal(t, int64(2), census.Null)
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, 4, report.Unsealed)
	counts, err := e.vault.Counts(e.db, tenant, e.contacts, e.contacts)(t.Context())
	require.NoError(t, err)
	for _, n := range counts[tenant] {
		require.Equal(t, int64(6), n)
	}
}

// Both forms open from every column, so both are counted in every column: a
// key version that a value still needs is not destroyed because the value
// stands in the other form.
func TestCensusCountsBothFormsInEveryColumn(t *testing.T) {
	e := newEnv(t, 4)
	_, err := e.db.ExecContext(t.Context(), `DROP TABLE contacts; CREATE TABLE contacts (id TEXT NOT NULL PRIMARY KEY, person TEXT NOT NULL, email ANY, note ANY, phone ANY, email_idx INTEGER, mac BLOB) STRICT`)
	require.NoError(t, err)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	binary, err := w.Seal("email", []byte("p1@b.example"))
	require.NoError(t, err)
	text, err := sealedvalue.FormatText(binary)
	require.NoError(t, err)
	phone, err := w.Seal("phone", []byte("+41"))
	require.NoError(t, err)
	phoneText, err := sealedvalue.FormatText(phone)
	require.NoError(t, err)
	for id, cells := range map[string][2]any{"c1": {text, phone}, "c2": {[]byte(text), []byte(phoneText)}, "c3": {binary, phoneText}} {
		_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email, phone) VALUES (?, 'p1', ?, ?)`, id, cells[0], cells[1])
		require.NoError(t, err)
	}
	old, _ := e.rotate(t)
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{old: 6}, Null: 3}, census)
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)), encryption.ErrInUse)
	r, err := e.contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	value, err := r.Row("p1", "c1").Text(t.Context(), "email", []byte(text))
	require.NoError(t, err)
	require.Equal(t, "p1@b.example", value)
}
