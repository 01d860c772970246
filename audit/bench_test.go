package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

const pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"

// bench is a trail over a file of SQLite and a sink in memory.
type bench struct {
	t      testing.TB
	db     *sql.DB
	file   string
	sink   *audittest.Sink
	keys   *audittest.Keys
	config audit.Config
	trail  *audit.Trail
	clock  atomic.Int64
}

func openDB(t testing.TB, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+pragmas)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, file: filepath.Join(t.TempDir(), "crm.db"), sink: &audittest.Sink{}, keys: audittest.NewKeys()}
	b.clock.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	skey, vkey, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	signer, err := note.NewSigner(skey)
	require.NoError(t, err)
	b.config = audit.Config{
		Name: "crm.example/audit", Tenant: "main", Signer: signer, Verifier: vkey, Sink: b.sink, Keys: b.keys,
		Fields: map[string][]string{"contact": {"email", "stage", "phone"}, "deal": {"stage", "amount"}},
		Now:    func() time.Time { return time.UnixMicro(b.clock.Load()) },
	}
	b.db = openDB(t, b.file)
	require.NoError(t, sqltrail.Install(t.Context(), b.db))
	_, err = b.db.ExecContext(t.Context(), `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT) STRICT`)
	require.NoError(t, err)
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	store, err := sqltrail.Open(b.t.Context(), b.db)
	require.NoError(b.t, err)
	b.trail, err = audit.Open(b.t.Context(), store, b.config)
	require.NoError(b.t, err)
}

func (b *bench) advance(d time.Duration) { b.clock.Add(d.Microseconds()) }

func (b *bench) trust() auditlog.Trust { return auditlog.Trust{Key: b.config.Verifier} }

// in runs fn in a transaction and commits.
func (b *bench) in(fn func(tx *sql.Tx) error) error {
	tx, err := b.db.BeginTx(b.t.Context(), nil)
	require.NoError(b.t, err)
	if err := fn(tx); err != nil {
		require.NoError(b.t, tx.Rollback())
		return err
	}
	return tx.Commit()
}

// people are all persons that an event names.
func people(e audit.Event) []string {
	out := append([]string{}, e.Persons...)
	for _, c := range e.Changes {
		if c.Who != "" {
			out = append(out, c.Who)
		}
	}
	if e.Object.Person {
		out = append(out, e.Object.ID)
	}
	return out
}

// sale prepares an event, and records it in a transaction of its own.
func (b *bench) sale(e audit.Event) error {
	b.t.Helper()
	b.prepare(e)
	return b.in(func(tx *sql.Tx) error { return only(b.trail.Record(b.t.Context(), tx, e)) })
}

// prepare is what comes before the transaction of a sale. What is wrong with an
// event recording says, too.
func (b *bench) prepare(events ...audit.Event) {
	b.t.Helper()
	for _, e := range events {
		if err := b.trail.Prepare(b.t.Context(), e.Tenant, people(e)...); !errors.Is(err, audit.ErrInvalid) {
			require.NoError(b.t, err)
		}
	}
}

func (b *bench) record(e audit.Event) string {
	b.t.Helper()
	if e.ID == "" {
		id, err := audit.NewID()
		require.NoError(b.t, err)
		e.ID = id
	}
	require.NoError(b.t, b.sale(e))
	return e.ID
}

// update is an event with changes about one person.
func update(person string, n int) audit.Event {
	return audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", person), Persons: []string{person},
		Changes: []audit.Change{
			{Path: "email", Who: person, Old: fmt.Sprintf("old%d@canary.example", n), New: fmt.Sprintf("new%d@canary.example", n)},
			{Path: "stage", Old: "lead", New: "customer"},
		},
	}
}

// fill records n events about persons p0, p1, p2 in turn and returns their ids.
func (b *bench) fill(n int) []string {
	b.t.Helper()
	ids := make([]string, 0, n)
	b.prepare(update("p0", 0), update("p1", 0), update("p2", 0))
	require.NoError(b.t, b.in(func(tx *sql.Tx) error {
		for i := range n {
			e := update(fmt.Sprintf("p%d", i%3), i)
			id, err := audit.NewID()
			require.NoError(b.t, err)
			e.ID = id
			ids = append(ids, id)
			if err := only(b.trail.Record(b.t.Context(), tx, e)); err != nil {
				return err
			}
		}
		return nil
	}))
	return ids
}

func (b *bench) run() audit.Result {
	b.t.Helper()
	r, err := b.trail.RunOnce(b.t.Context())
	require.NoError(b.t, err)
	return r
}

func (b *bench) checkpoint() []byte {
	b.t.Helper()
	c, err := b.trail.Checkpoint(b.t.Context())
	require.NoError(b.t, err)
	return c
}

func (b *bench) verifyStore(kept []byte) audit.StoreReport {
	b.t.Helper()
	r, err := b.trail.VerifyStore(b.t.Context(), kept)
	require.NoError(b.t, err)
	return r
}

func (b *bench) verifyLog(kept []byte) auditlog.Report {
	b.t.Helper()
	trust := b.trust()
	trust.Kept = kept
	r, err := auditlog.VerifyLog(b.t.Context(), b.sink.FS(), trust)
	require.NoError(b.t, err)
	return r
}

func (b *bench) exec(query string, args ...any) int64 {
	b.t.Helper()
	result, err := b.db.ExecContext(b.t.Context(), query, args...)
	require.NoError(b.t, err)
	n, err := result.RowsAffected()
	require.NoError(b.t, err)
	return n
}

func (b *bench) count(query string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.db.QueryRowContext(b.t.Context(), query, args...).Scan(&n))
	return n
}

// leaves reads the published log.
func (b *bench) leaves() []auditlog.Leaf {
	b.t.Helper()
	var out []auditlog.Leaf
	for e, err := range auditlog.Entries(b.t.Context(), b.sink.FS()) {
		require.NoError(b.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(b.t, err)
		require.Equal(b.t, int64(len(out)), e.Index)
		out = append(out, leaf)
	}
	return out
}

func (b *bench) history(of audit.Object) []audit.Entry {
	b.t.Helper()
	var out []audit.Entry
	for e, err := range b.trail.History(b.t.Context(), "main", of, audit.Page{Size: 1000}) {
		require.NoError(b.t, err)
		out = append(out, e)
	}
	return out
}

type ctx = context.Context

// poolKeys need a connection of the same pool for each call, as those of a vault
// may whose key store lies beside.
type poolKeys struct {
	*audittest.Keys
	db *sql.DB
}

func (p *poolKeys) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	if err := p.db.PingContext(ctx); err != nil {
		return nil, err
	}
	return p.Keys.Seal(ctx, tenant, person, plaintext, ad)
}

func (p *poolKeys) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	if err := p.db.PingContext(ctx); err != nil {
		return nil, err
	}
	return p.Keys.Open(ctx, tenant, person, sealed, ad)
}

func (p *poolKeys) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if err := p.db.PingContext(ctx); err != nil {
		return nil, err
	}
	return p.Keys.Tag(ctx, tenant, data)
}

func (p *poolKeys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	if err := p.db.PingContext(ctx); err != nil {
		return err
	}
	return p.Keys.Verify(ctx, tenant, data, tag)
}

func (p *poolKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	if err := p.db.PingContext(ctx); err != nil {
		return nil, nil, err
	}
	return p.Keys.MACKeys(ctx, tenant, info)
}

func (p *poolKeys) Prepare(ctx context.Context, tenant string, persons ...string) error {
	if err := p.db.PingContext(ctx); err != nil {
		return err
	}
	return p.Keys.Prepare(ctx, tenant, persons...)
}

func contextCanceled(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}
