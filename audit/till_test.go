package audit

import (
	"context"
	"database/sql"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/alone"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// till is a trail that records, over the tables alone: nothing sequences here.
type till struct {
	*Trail
	t     testing.TB
	clock atomic.Int64
	keys  *askedKeys
}

// askedKeys count how often they are asked, and may fail.
type askedKeys struct {
	alone.AuditKeys
	asked atomic.Int64
	down  error
}

func (k *askedKeys) ask() error {
	k.asked.Add(1)
	return k.down
}

func (k *askedKeys) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	if err := k.ask(); err != nil {
		return nil, err
	}
	return k.AuditKeys.Seal(ctx, tenant, person, plaintext, ad)
}

func (k *askedKeys) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	if err := k.ask(); err != nil {
		return nil, err
	}
	return k.AuditKeys.Open(ctx, tenant, person, sealed, ad)
}

func (k *askedKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	if err := k.ask(); err != nil {
		return nil, nil, err
	}
	return k.AuditKeys.MACKeys(ctx, tenant, info)
}

func (k *askedKeys) Prepare(ctx context.Context, tenant string, persons ...string) error {
	if err := k.ask(); err != nil {
		return err
	}
	return k.AuditKeys.Prepare(ctx, tenant, persons...)
}

func secretKeys(t testing.TB, first byte) alone.AuditKeys {
	t.Helper()
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = first + byte(i)
	}
	root, err := alone.From(secret)
	require.NoError(t, err)
	return root.AuditKeys()
}

const tillOrigin = "crm.example/audit/0"

// newTill installs the tables, and opens a trail over them that records.
func newTill(t testing.TB, db *sql.DB) *till {
	t.Helper()
	schema := sqldb.Schema{Package: "audit", Migrations: os.DirFS("sqltrail/migrations")}
	require.NoError(t, schema.Install(t.Context(), db))
	s := overTables(t, db)
	in := sqldb.Insert{Table: "crmguard_audit_log", Columns: []string{"id", "name"}, Key: []string{"id"}}
	require.NoError(t, s.db.Insert(t.Context(), s.db, in, [][]any{{1, tillOrigin}}))
	return s
}

// overTables is another process over the same tables.
func overTables(t testing.TB, db *sql.DB) *till {
	t.Helper()
	opened, err := sqldb.Open(t.Context(), db)
	require.NoError(t, err)
	s := &till{t: t, keys: &askedKeys{AuditKeys: secretKeys(t, 1)}}
	s.clock.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	s.Trail = &Trail{
		db: opened, origin: tillOrigin, random: readRandom, saleText: insertText(opened.Dialect),
		config: Config{
			Name: "crm.example/audit", Tenant: "main", Keys: s.keys,
			Now: func() time.Time { return time.UnixMicro(s.clock.Load()) },
		},
		fields: map[string]map[string]bool{"contact": {"email": true}},
	}
	return s
}

func (s *till) advance(d time.Duration) { s.clock.Add(d.Microseconds()) }

func (s *till) prepared(persons ...string) {
	s.t.Helper()
	require.NoError(s.t, s.prepare(s.t.Context(), "main", persons))
}

func (s *till) begin() *sql.Tx {
	s.t.Helper()
	tx, err := s.db.BeginTx(s.t.Context(), nil)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = tx.Rollback() }) // of one that has not ended
	return tx
}

// in records in a transaction and commits.
func (s *till) in(e Event) (id string, err error) {
	s.t.Helper()
	tx := s.begin()
	if id, err = s.recordIn(s.t.Context(), tx, e); err != nil {
		require.NoError(s.t, tx.Rollback())
		return "", err
	}
	return id, tx.Commit()
}

func (s *till) count(query string, args ...any) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), s.db.Bind(query), args...).Scan(&n))
	return n
}

func (s *till) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.db.ExecContext(s.t.Context(), s.db.Bind(query), args...)
	require.NoError(s.t, err)
}

// sold is an event about one person with one declared field.
func sold(t testing.TB, person string) Event {
	t.Helper()
	id, err := NewID()
	require.NoError(t, err)
	return Event{
		ID: id, Tenant: "main", Actor: "u-1", Action: "contact.update", Object: PersonRef("contact", person),
		Changes: []Change{{Path: "email", Who: person, Old: "old@canary.example", New: "new@canary.example"}},
	}
}

// eachTill runs f on each of the four databases and with each driver.
func eachTill(t *testing.T, f func(t *testing.T, s *till, d testdb.Database, driver string)) {
	t.Helper()
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		f(t, newTill(t, d.OpenWith(t, driver)), d, driver)
	})
}
