package adoption_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/testdb"
)

const tenant = "t1"

// clock is a clock that Wait moves. What an application does between making a
// value and the end of its statement holds it: no statement takes longer than
// Config.LongestTransaction.
type clock struct {
	mu   sync.Mutex
	t    time.Time
	gate sync.RWMutex

	before func() // what happens while somebody waits; nil is nothing
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Move(d time.Duration) {
	c.gate.Lock()
	defer c.gate.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *clock) Wait(ctx context.Context, d time.Duration) error {
	if c.before != nil {
		c.before()
	}
	c.Move(d)
	return ctx.Err()
}

// keks is a KMS in memory.
type keks struct {
	mu   sync.Mutex
	keys map[string][]byte
}

func (k *keks) get(_ context.Context, tenant, name string) (tink.AEADWithContext, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := tenant + "\x00" + name
	if k.keys[id] == nil {
		k.keys[id] = make([]byte, 32)
		if _, err := rand.Read(k.keys[id]); err != nil {
			return nil, err
		}
	}
	return insecurekeys.KEK(k.keys[id])
}

// slowKeys does something when keys are asked for: between the reading of a page
// and the change of its rows.
type slowKeys struct {
	keystore.Store
	meanwhile func() // once; nil is nothing
}

func (k *slowKeys) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	if f := k.meanwhile; f != nil {
		k.meanwhile = nil
		f()
	}
	return k.Store.Owners(ctx, tenant, owners)
}

// env is an application over one database, before its adoption.
type env struct {
	name  testdb.Name
	db    *sql.DB
	clock *clock
	cfg   encryption.Config
	vault *encryption.Vault
	def   encryption.Table
	cols  []adoption.Column
	a     *adoption.Adoption
	seen  *figures
	keys  *slowKeys
}

// figures counts what is observed.
type figures struct {
	mu  sync.Mutex
	sum map[string]float64
}

func (f *figures) observe(_ context.Context, name string, value float64, _ ...slog.Attr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum[name] += value
}

func (f *figures) of(name string) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sum[name]
}

var contactsDef = encryption.Table{
	Name:    "contacts",
	Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}},
}

var emailColumn = []adoption.Column{{Name: "email", Plain: "email"}}

const contactsSQL = `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200), seen INTEGER NOT NULL DEFAULT 0)`

// newEnv makes the application's table, and an installation beside it.
func newEnv(tb testing.TB, d testdb.Database, def encryption.Table, cols []adoption.Column, create string) *env {
	tb.Helper()
	return newEnvOn(tb, d.Name, d.Open(tb), def, cols, create)
}

func newEnvOn(tb testing.TB, name testdb.Name, db *sql.DB, def encryption.Table, cols []adoption.Column, create string) *env {
	tb.Helper()
	e := &env{
		name: name, db: db, def: def, cols: cols, seen: &figures{sum: map[string]float64{}}, keys: &slowKeys{Store: encryptiontest.Keys()},
		clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)},
	}
	kms := &keks{keys: map[string][]byte{}}
	e.cfg = encryption.Config{Keys: e.keys, KEK: kms.get, Now: e.clock.Now, Wait: e.clock.Wait, Observe: e.seen.observe}
	var err error
	e.vault, err = encryption.Create(tb.Context(), e.cfg)
	require.NoError(tb, err)
	require.NoError(tb, e.vault.AddTenant(tb.Context(), tenant))
	if create != "" {
		e.exec(tb, create)
	}
	require.NoError(tb, adoption.Install(tb.Context(), e.db))
	e.a = e.open(tb, e.vault)
	return e
}

// open is what a process of the new release does at its start.
func (e *env) open(tb testing.TB, vault *encryption.Vault) *adoption.Adoption {
	tb.Helper()
	table, err := vault.Table(e.def)
	require.NoError(tb, err)
	a, err := adoption.Open(tb.Context(), adoption.Config{DB: e.db, Table: table, Columns: e.cols})
	require.NoError(tb, err)
	return a
}

// process is another process of the new release.
func (e *env) process(tb testing.TB) *adoption.Adoption {
	tb.Helper()
	vault, err := encryption.Open(tb.Context(), e.cfg)
	require.NoError(tb, err)
	return e.open(tb, vault)
}

// bind writes placeholders as the database wants them.
func (e *env) bind(query string) string {
	if e.name != testdb.PostgresC && e.name != testdb.PostgresICU {
		return query
	}
	for i := 1; strings.Contains(query, "?"); i++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", i), 1)
	}
	return query
}

func (e *env) exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	if len(args) == 1 && args[0] == skipped {
		return
	}
	_, err := e.db.ExecContext(tb.Context(), e.bind(query), args...)
	require.NoError(tb, err, query)
}

// prepare executes what the table lacks.
func (e *env) prepare(tb testing.TB) {
	tb.Helper()
	statements, err := e.a.SQL(tb.Context())
	require.NoError(tb, err)
	for _, statement := range statements {
		e.exec(tb, statement)
	}
	again, err := e.a.SQL(tb.Context())
	require.NoError(tb, err)
	require.Empty(tb, again, "what was executed is there")
}

// guard puts a guard onto the table.
func (e *env) guard(tb testing.TB, guard adoption.Guard) {
	tb.Helper()
	statements, err := e.a.GuardSQL(tb.Context(), guard)
	require.NoError(tb, err)
	for _, statement := range statements {
		e.exec(tb, statement)
	}
	have, err := e.a.Guard(tb.Context())
	require.NoError(tb, err)
	require.Equal(tb, guard, have)
}

func (e *env) move(tb testing.TB, to adoption.Stage, options adoption.MoveOptions) {
	tb.Helper()
	require.NoError(tb, e.a.Move(tb.Context(), tenant, to, options))
	stage, settled, err := e.a.Stage(tb.Context(), tenant)
	require.NoError(tb, err)
	require.True(tb, settled)
	require.Equal(tb, to, stage)
}

func (e *env) backfill(tb testing.TB) adoption.Report {
	tb.Helper()
	report, err := e.a.Backfill(tb.Context(), tenant, adoption.JobOptions{})
	require.NoError(tb, err)
	return report
}

// to goes from Plain to a stage, with the guard and without an older release.
func (e *env) to(tb testing.TB, stage adoption.Stage) {
	tb.Helper()
	e.prepare(tb)
	e.move(tb, adoption.WriteBoth, adoption.MoveOptions{})
	if stage == adoption.WriteBoth {
		return
	}
	require.True(tb, e.backfill(tb).Clean)
	e.move(tb, adoption.ReadSealed, adoption.MoveOptions{})
	if stage == adoption.ReadSealed {
		return
	}
	e.backfill(tb)
	e.move(tb, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
}

// clear is step 8 and 9, and for the way back the other guard.
func (e *env) clear(tb testing.TB) adoption.Report {
	tb.Helper()
	e.guard(tb, adoption.Refuse)
	report, err := e.a.Clear(tb.Context(), tenant, adoption.JobOptions{})
	require.NoError(tb, err)
	e.guard(tb, adoption.Reset)
	return report
}

// old is what the release before the adoption writes: nil is NULL.
func (e *env) old(tb testing.TB, id, person string, email any) {
	tb.Helper()
	e.exec(tb, `INSERT INTO contacts (id, person, email) VALUES (?, ?, ?)`, id, person, email)
}

// write inserts as the new release does.
func (e *env) write(tb testing.TB, a *adoption.Adoption, id, person, email string) {
	tb.Helper()
	w, err := a.Writer(tb.Context(), tenant, person)
	require.NoError(tb, err)
	e.exec(tb, `INSERT INTO contacts (id, person, email, email_sealed, email_sealed_idx) VALUES (?, ?, ?, ?, ?)`,
		id, person, w.Plain("email", email), w.Text("email", email), w.Int64(e.idx(), email))
}

func (e *env) idx() string { return e.def.Columns[0].SQL + "_idx" }

// contact is a row as the new release reads it.
type contact struct {
	id, person string
	plain      *string
	sealed     encryption.Sealed
	Email      string
}

func (c *contact) AdoptedCells() (owner, row string, cells []adoption.Cell) {
	return c.person, c.id, []adoption.Cell{{Column: "email", Plain: c.plain, Sealed: c.sealed.Bytes(), Text: &c.Email}}
}

func (e *env) rows(tb testing.TB, where string, args ...any) (out []*contact) {
	tb.Helper()
	rows, err := e.db.QueryContext(tb.Context(), e.bind(`SELECT id, person, email, email_sealed FROM contacts `+where+` ORDER BY id`), args...)
	require.NoError(tb, err)
	defer rows.Close()
	for rows.Next() {
		c := &contact{Email: "-"}
		var person *string
		require.NoError(tb, rows.Scan(&c.id, &person, &c.plain, &c.sealed))
		if person != nil {
			c.person = *person
		}
		out = append(out, c)
	}
	require.NoError(tb, rows.Err())
	return out
}

// read opens all rows: id -> value, "-" is NULL.
func (e *env) read(tb testing.TB, a *adoption.Adoption) map[string]string {
	tb.Helper()
	rows := e.rows(tb, "")
	require.NoError(tb, adoption.OpenAll(tb.Context(), a, tenant, rows))
	out := map[string]string{}
	for _, c := range rows {
		out[c.id] = c.Email
	}
	return out
}

// find looks a value up, and returns the ids.
func (e *env) find(tb testing.TB, a *adoption.Adoption, value string) (ids []string) {
	tb.Helper()
	condition, err := a.Lookup(tb.Context(), tenant, "email", value)
	require.NoError(tb, err)
	where, args := condition.Where("contacts")
	if e.name == testdb.PostgresC || e.name == testdb.PostgresICU {
		where, args = condition.Postgres("contacts", 1)
	}
	for _, c := range e.rows(tb, "WHERE "+where, args...) {
		ids = append(ids, c.id)
	}
	return ids
}

func sprint(format string, value any) string { return fmt.Sprintf(format, value) }
