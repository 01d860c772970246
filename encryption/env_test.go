package encryption_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

const (
	tenant  = "t1"
	sqlites = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"
)

// clock is a clock that Wait moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *clock) Wait(ctx context.Context, d time.Duration) error {
	c.Move(d)
	return ctx.Err()
}

// keks is a KMS in memory: it creates a KEK when a name is asked for first,
// unless it was destroyed.
type keks struct {
	mu   sync.Mutex
	keys map[string][]byte
	gone map[string]bool
	asks int
}

func (k *keks) get(_ context.Context, tenant, name string) (tink.AEADWithContext, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asks++
	if k.gone[name] {
		return nil, fmt.Errorf("destroyed")
	}
	id := tenant + "\x00" + name
	if k.keys[id] == nil {
		k.keys[id] = make([]byte, 32)
		if _, err := rand.Read(k.keys[id]); err != nil {
			return nil, err
		}
	}
	return insecurekeys.KEK(k.keys[id])
}

func (k *keks) destroy(_ context.Context, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[name] = true
	return nil
}

func openDB(t testing.TB, path string, conns int) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+sqlites)
	require.NoError(t, err)
	db.SetMaxOpenConns(conns)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// env is an installation: key store, KMS, clock, and an application database.
type env struct {
	keysPath string
	keysDB   *sql.DB
	store    *sqlkeys.Store
	kms      *keks
	clock    *clock
	cfg      encryption.Config
	vault    *encryption.Vault
	db       *sql.DB
	contacts *encryption.SealedTable
}

var contactsTable = encryption.Table{
	Name: "contacts",
	Columns: []encryption.Column{
		{Name: "email", Index: []encryption.Index{{Column: "email_idx", Name: "email_index", As: encryption.Email, Bits: 32}}},
		{Name: "note", Level: encryption.LevelRow},
		{Name: "phone", Text: true, Pad: 16},
	},
}

const contactsSQL = `CREATE TABLE contacts (id TEXT NOT NULL PRIMARY KEY, person TEXT NOT NULL, email BLOB, note BLOB, phone TEXT, email_idx INTEGER, mac BLOB) STRICT`

// newEnv makes an installation; conns is the size of both pools.
func newEnv(t testing.TB, conns int) *env {
	t.Helper()
	e := &env{kms: &keks{keys: map[string][]byte{}, gone: map[string]bool{}}, clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}}
	dir := t.TempDir()
	e.keysPath = filepath.Join(dir, "keys.db")
	e.keysDB = openDB(t, e.keysPath, conns)
	require.NoError(t, sqlkeys.Install(t.Context(), e.keysDB))
	var err error
	e.store, err = sqlkeys.Open(t.Context(), e.keysDB)
	require.NoError(t, err)
	e.cfg = encryption.Config{Keys: e.store, KEK: e.kms.get, Now: e.clock.Now, Wait: e.clock.Wait}
	e.vault, err = encryption.Create(t.Context(), e.cfg)
	require.NoError(t, err)
	require.NoError(t, e.vault.AddTenant(t.Context(), tenant))
	e.db = openDB(t, filepath.Join(dir, "app.db"), conns)
	_, err = e.db.ExecContext(t.Context(), contactsSQL)
	require.NoError(t, err)
	e.contacts = e.table(t, e.vault, contactsTable)
	return e
}

func (e *env) table(t testing.TB, vault *encryption.Vault, def encryption.Table) *encryption.SealedTable {
	t.Helper()
	table, err := vault.Table(def)
	require.NoError(t, err)
	return table
}

// another opens a second vault over the same key store: another process.
func (e *env) another(t testing.TB) *encryption.Vault {
	t.Helper()
	vault, err := encryption.Open(t.Context(), e.cfg)
	require.NoError(t, err)
	return vault
}

// insert writes a contact of a person; every value names the person.
func (e *env) insert(t testing.TB, id, person string) {
	t.Helper()
	w, err := e.contacts.Writer(t.Context(), tenant, person)
	require.NoError(t, err)
	w, err = w.Row(id)
	require.NoError(t, err)
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email, note, phone, email_idx) VALUES (?, ?, ?, ?, ?, ?)`,
		id, person, w.Text("email", person+"@b.example"), w.Text("note", "note of "+person), w.Text("phone", "+41 "+person), w.Int64("email_idx", person+"@b.example"))
	require.NoError(t, err)
}

// contact is how an application would read a row.
type contact struct {
	ID, Person         string
	email, note, phone encryption.Sealed
	Email, Note, Phone string
}

func (c *contact) SealedCells() (owner, row string, cells []encryption.Cell) {
	return c.Person, c.ID, []encryption.Cell{
		{Column: "email", Sealed: c.email.Bytes(), Text: &c.Email}, {Column: "note", Sealed: c.note.Bytes(), Text: &c.Note}, {Column: "phone", Sealed: c.phone.Bytes(), Text: &c.Phone},
	}
}

func (e *env) read(t testing.TB) []*contact {
	t.Helper()
	rows, err := e.db.QueryContext(t.Context(), `SELECT id, person, email, note, phone FROM contacts ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	var out []*contact
	for rows.Next() {
		c := &contact{}
		require.NoError(t, rows.Scan(&c.ID, &c.Person, &c.email, &c.note, &c.phone))
		out = append(out, c)
	}
	require.NoError(t, rows.Err())
	return out
}

// requireOpens checks that every contact opens to what insert wrote.
func (e *env) requireOpens(t testing.TB, table *encryption.SealedTable) {
	t.Helper()
	rows := e.read(t)
	require.NoError(t, encryption.OpenAll(t.Context(), table, tenant, rows))
	for _, c := range rows {
		require.Equal(t, []string{c.Person + "@b.example", "note of " + c.Person, "+41 " + c.Person}, []string{c.Email, c.Note, c.Phone})
	}
}

// digest reads all sealed bytes of the contacts: equal means unchanged.
func (e *env) digest(t testing.TB) string {
	t.Helper()
	all := ""
	for _, c := range e.read(t) {
		all += fmt.Sprintf("%s %s %x %x %x\n", c.ID, c.Person, c.email.Bytes(), c.note.Bytes(), c.phone.Bytes())
	}
	return all
}
