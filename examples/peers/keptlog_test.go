package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// A keptLog is a trail over SQLite that publishes into a folder, with a checkpoint
// that is kept elsewhere: all that it takes to lose something, and to mend it.
type keptLog struct {
	t      *testing.T
	p      *bench
	db     *sql.DB
	dir    string // the published folder
	config audit.Config
	trail  *audit.Trail
	now    time.Time
	kept   []byte

	readers   []string // verifier keys that each verify the log alone
	strangers []string // and those that do not
	gone      int64    // entries that went with retention
}

func newKeptLog(t *testing.T) *keptLog {
	t.Helper()
	p, vault, db := newTrailBench(t)
	require.NoError(t, sqltrail.Install(t.Context(), db))
	l := &keptLog{t: t, p: p, db: db, dir: filepath.Join(t.TempDir(), "log"), now: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	sink, err := tilesink.Open(l.dir)
	require.NoError(t, err)
	l.config = audit.Config{
		Name: logName, Tenant: tenant, Sink: sink, Keys: vault.AuditKeys(), Fields: map[string][]string{"deal": {"stage"}},
		Now:  func() time.Time { return l.now },
		Kept: func(context.Context) ([]byte, error) { return l.kept, nil },
	}
	l.newKey()
	l.open()
	return l
}

// newKey has the log signed by a new key from the next process on.
func (l *keptLog) newKey() (secret string) {
	l.t.Helper()
	secret, key, err := audit.GenerateKey(logName, 0)
	require.NoError(l.t, err)
	l.config.Key, l.readers = secret, append([]string{key}, l.readers...)
	return secret
}

// open goes on as another process, which has seen nothing.
func (l *keptLog) open() {
	l.t.Helper()
	store, err := sqltrail.Open(l.t.Context(), l.db)
	require.NoError(l.t, err)
	l.trail, err = audit.Open(l.t.Context(), store, l.config)
	require.NoError(l.t, err)
}

// wait records n events that no pass has seen yet, and returns the id of the last.
func (l *keptLog) wait(n int) (id string) {
	l.t.Helper()
	ctx := l.t.Context()
	require.NoError(l.t, l.trail.Prepare(ctx, tenant, person))
	require.NoError(l.t, within(ctx, l.db, func(tx *sql.Tx) (err error) {
		for i := range n {
			if id, err = l.trail.Record(ctx, tx, dealEvent(dealID(i))); err != nil {
				return err
			}
		}
		return nil
	}))
	return id
}

// publish makes a pass of the sequencer.
func (l *keptLog) publish() {
	l.t.Helper()
	r, err := l.trail.RunOnce(l.t.Context())
	require.NoError(l.t, err)
	require.Empty(l.t, r.Refused)
}

// fill records n events and publishes them.
func (l *keptLog) fill(n int) (last string) {
	l.t.Helper()
	last = l.wait(n)
	l.publish()
	return last
}

// keep has the checkpoint that is published kept.
func (l *keptLog) keep() { l.kept = l.file("checkpoint") }

// grown is a log of so many entries; the checkpoint of about half of them is kept.
func grown(t *testing.T, size int) *keptLog {
	t.Helper()
	l := newKeptLog(t)
	l.fill(size/2 - 1) // and the first beat
	l.keep()
	l.fill(size - size/2)
	return l
}

// backup copies the database, and restore puts the copy in its place, before a
// process that has seen nothing.
func (l *keptLog) backup() (file string) {
	l.t.Helper()
	file = filepath.Join(l.t.TempDir(), "backup.db")
	l.exec(`VACUUM INTO ?`, file)
	return file
}

func (l *keptLog) restore(file string) {
	l.t.Helper()
	require.NoError(l.t, l.db.Close())
	var err error
	l.db, err = l.p.opened(l.t.Context(), file)
	require.NoError(l.t, err)
	l.open()
}

func (l *keptLog) exec(statement string, args ...any) {
	l.t.Helper()
	_, err := l.db.ExecContext(l.t.Context(), statement, args...)
	require.NoError(l.t, err)
}

func (l *keptLog) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

// file is one of the folder.
func (l *keptLog) file(name string) []byte {
	l.t.Helper()
	return []byte(read(l.t, l.path(name)))
}

func (l *keptLog) write(name string, data []byte) {
	l.t.Helper()
	require.NoError(l.t, os.WriteFile(l.path(name), data, 0o644))
}
