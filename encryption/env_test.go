package encryption_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
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

func openDB(tb testing.TB, path string, conns int) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+path+sqlites)
	require.NoError(tb, err)
	db.SetMaxOpenConns(conns)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
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
func newEnv(tb testing.TB, conns int) *env {
	tb.Helper()
	e := &env{kms: &keks{keys: map[string][]byte{}, gone: map[string]bool{}}, clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}}
	dir := tb.TempDir()
	e.keysPath = filepath.Join(dir, "keys.db")
	e.keysDB = openDB(tb, e.keysPath, conns)
	require.NoError(tb, sqlkeys.Install(tb.Context(), e.keysDB))
	var err error
	e.store, err = sqlkeys.Open(tb.Context(), e.keysDB)
	require.NoError(tb, err)
	e.cfg = encryption.Config{Keys: e.store, KEK: e.kms.get, Now: e.clock.Now, Wait: e.clock.Wait}
	e.vault, err = encryption.Create(tb.Context(), e.cfg)
	require.NoError(tb, err)
	require.NoError(tb, e.vault.AddTenant(tb.Context(), tenant))
	e.db = openDB(tb, filepath.Join(dir, "app.db"), conns)
	_, err = e.db.ExecContext(tb.Context(), contactsSQL)
	require.NoError(tb, err)
	e.contacts = e.table(tb, e.vault, contactsTable)
	return e
}

func (e *env) table(tb testing.TB, vault *encryption.Vault, def encryption.Table) *encryption.SealedTable {
	tb.Helper()
	table, err := vault.Table(def)
	require.NoError(tb, err)
	return table
}

// another opens a second vault over the same key store: another process.
func (e *env) another(tb testing.TB) *encryption.Vault {
	tb.Helper()
	vault, err := encryption.Open(tb.Context(), e.cfg)
	require.NoError(tb, err)
	return vault
}

// insert writes a contact of a person; every value names the person.
func (e *env) insert(tb testing.TB, id, person string) {
	tb.Helper()
	w, err := e.contacts.Writer(tb.Context(), tenant, person)
	require.NoError(tb, err)
	w, err = w.Row(id)
	require.NoError(tb, err)
	_, err = e.db.ExecContext(tb.Context(), `INSERT INTO contacts (id, person, email, note, phone, email_idx) VALUES (?, ?, ?, ?, ?, ?)`,
		id, person, w.Text("email", person+"@b.example"), w.Text("note", "note of "+person), w.Text("phone", "+41 "+person), w.Int64("email_idx", person+"@b.example"))
	require.NoError(tb, err)
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

func (e *env) read(tb testing.TB) []*contact {
	tb.Helper()
	rows, err := e.db.QueryContext(tb.Context(), `SELECT id, person, email, note, phone FROM contacts ORDER BY id`)
	require.NoError(tb, err)
	defer rows.Close()
	var out []*contact
	for rows.Next() {
		c := &contact{}
		require.NoError(tb, rows.Scan(&c.ID, &c.Person, &c.email, &c.note, &c.phone))
		out = append(out, c)
	}
	require.NoError(tb, rows.Err())
	return out
}

// requireOpens checks that every contact opens to what insert wrote.
func (e *env) requireOpens(tb testing.TB, table *encryption.SealedTable) {
	tb.Helper()
	rows := e.read(tb)
	require.NoError(tb, encryption.OpenAll(tb.Context(), table, tenant, rows))
	for _, c := range rows {
		require.Equal(tb, []string{c.Person + "@b.example", "note of " + c.Person, "+41 " + c.Person}, []string{c.Email, c.Note, c.Phone})
	}
}

// digest reads all sealed bytes of the contacts: equal means unchanged.
func (e *env) digest(tb testing.TB) string {
	tb.Helper()
	var all strings.Builder
	for _, c := range e.read(tb) {
		fmt.Fprintf(&all, "%s %s %x %x %x\n", c.ID, c.Person, c.email.Bytes(), c.note.Bytes(), c.phone.Bytes())
	}
	return all.String()
}

// alone is a configuration for package keycopy, which needs no vault.
func alone(cfg encryption.Config) keycopy.Config {
	return keycopy.Config{Keys: cfg.Keys, KEK: cfg.KEK, KEKs: cfg.KEKs, KEKTimeout: cfg.KEKTimeout, Now: cfg.Now, Wait: cfg.Wait}
}
