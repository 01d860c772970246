package audit_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/killtest"
)

// lastingKeys are keys that the next process has, too.
type lastingKeys struct{ secret []byte }

func (k lastingKeys) mac(label string, data []byte) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(label + "\x00"))
	mac.Write(data)
	return mac.Sum(nil)
}

func (k lastingKeys) aead(tenant, person string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.mac("seal", []byte(tenant+"\x00"+person)))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (k lastingKeys) Seal(_ ctx, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	gcm, err := k.aead(tenant, person)
	if err != nil {
		return nil, err
	}
	return gcm.Seal([]byte{1, 0, 0, 0, 1}, nil, plaintext, ad), nil
}

func (k lastingKeys) Open(_ ctx, tenant, person string, sealed, ad []byte) ([]byte, error) {
	gcm, err := k.aead(tenant, person)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, nil, sealed[5:], ad)
}

func (k lastingKeys) Tag(_ ctx, tenant string, data []byte) ([]byte, error) {
	return append([]byte{1, 0, 0, 0, 1}, k.mac("tag\x00"+tenant, data)...), nil
}

func (k lastingKeys) Verify(ctx ctx, tenant string, data, tag []byte) error {
	if want, _ := k.Tag(ctx, tenant, data); !hmac.Equal(want, tag) {
		return auditlog.ErrTampered
	}
	return nil
}

func (k lastingKeys) MACKeys(_ ctx, tenant string, info []byte) ([]uint32, [][]byte, error) {
	return []uint32{1}, [][]byte{k.mac("mac\x00"+tenant, info)}, nil
}

func (k lastingKeys) Prepare(ctx, string, ...string) error { return nil }

// lasting is a trail over files, as each process of an application opens it.
type lasting struct {
	db    *sql.DB
	trail *audit.Trail
	log   *tilesink.Dir
	key   string
}

func openLasting(t *testing.T, dir string) *lasting {
	t.Helper()
	return openLastingOver(t, dir, func(log place) audit.Sink { return log })
}

func openLastingOver(t *testing.T, dir string, over func(log place) audit.Sink) *lasting {
	t.Helper()
	secret, err := os.ReadFile(filepath.Join(dir, "sign"))
	require.NoError(t, err)
	public, err := os.ReadFile(filepath.Join(dir, "verify"))
	require.NoError(t, err)
	signer, err := note.NewSigner(string(secret))
	require.NoError(t, err)
	l := &lasting{key: string(public), db: openDB(t, filepath.Join(dir, "crm.db"))}
	l.log, err = tilesink.Open(filepath.Join(dir, "log"))
	require.NoError(t, err)
	require.NoError(t, sqltrail.Install(t.Context(), l.db))
	store, err := sqltrail.Open(t.Context(), l.db)
	require.NoError(t, err)
	keys := lastingKeys{secret}
	l.trail, err = audit.Open(t.Context(), store, audit.Config{
		Name: "crm.example/audit", Tenant: "main", Signer: signer, Verifier: l.key, Sink: over(l.log), Keys: keys,
		Fields: map[string][]string{"contact": {"email", "stage"}},
	})
	require.NoError(t, err)
	return l
}

// write commits a business row and its event, which bear the same id.
func (l *lasting) write(ctx context.Context, n int) (string, error) {
	e := update(fmt.Sprintf("p%d", n%5), n)
	var err error
	if e.ID, err = audit.NewID(); err != nil {
		return "", err
	}
	if err := l.trail.Prepare(ctx, e.Tenant, people(e)...); err != nil {
		return "", err
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }() // of one that has not committed
	if _, err := tx.ExecContext(ctx, `INSERT INTO contacts (id, email) VALUES (?, 'x')`, e.ID); err != nil {
		return "", err
	}
	if err := only(l.trail.Record(ctx, tx, e)); err != nil {
		return "", err
	}
	return e.ID, tx.Commit()
}

// recordUntilKilled writes and publishes until the parent ends it.
func recordUntilKilled(t *testing.T, dir string) {
	l := openLasting(t, dir)
	stop, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for n := 0; stop.Err() == nil; n++ {
				var id string
				err := retryBusy(func() (err error) { id, err = l.write(stop, n); return err })
				if err == nil {
					killtest.Say(id)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for stop.Err() == nil {
				_ = retryBusy(func() error { _, err := l.trail.RunOnce(stop); return err }) // the parent looks at what comes of it
			}
		})
	}
	wg.Wait()
}

// Whenever the process is killed: what it said it had committed is there, each
// committed row has exactly one event, the published log is sound as it stands
// and after the next pass, of one history with every checkpoint that anybody
// saw, and none of those went backwards.
func TestKilledWhileRecordingAndPublishing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		recordUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	secret, public, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sign"), []byte(secret), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "verify"), []byte(public), 0o600))
	first := openLasting(t, dir)
	_, err = first.db.ExecContext(t.Context(), `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT) STRICT`)
	require.NoError(t, err)
	require.NoError(t, first.db.Close())

	var kept []byte // the newest checkpoint that anybody saw
	size := int64(0)
	trust := func(kept []byte) auditlog.Trust { return auditlog.Trust{Key: public, Kept: kept} }
	rounds, moments := killtest.Rounds(t)
	var acknowledged []string
	for round := range rounds {
		seen := killtest.Watch(filepath.Join(dir, "log", "checkpoint"))
		said, killed := killtest.Kill(t, dir, killtest.At{Count: 1 + moments.IntN(12), Pause: time.Duration(moments.IntN(8000)) * time.Microsecond})
		require.True(t, killed, "it never ends by itself")
		acknowledged = append(acknowledged, said...)

		l := openLasting(t, dir)
		checkpoints := seen()
		for _, c := range checkpoints { // each extends the one before
			report, err := auditlog.VerifyLog(t.Context(), l.log.FS(), trust(c))
			require.NoError(t, err)
			require.Equal(t, auditlog.OK, report.Verdict, "round %d: %+v", round, report.Faults)
			require.GreaterOrEqual(t, report.KeptSize, size, "round %d: a checkpoint went backwards", round)
			kept, size = c, report.KeptSize
		}
		var err error
		require.NoError(t, retryBusy(func() error { _, err := l.trail.RunOnce(t.Context()); return err }))
		if kept == nil { // nobody saw one yet
			kept, err = l.trail.Checkpoint(t.Context())
			require.NoError(t, err)
		}
		report, err := auditlog.VerifyLog(t.Context(), l.log.FS(), trust(kept))
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, report.Verdict, "round %d: %+v", round, report.Faults)
		store, err := l.trail.VerifyStore(t.Context(), kept)
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, store.Verdict, "round %d: %+v", round, store.Faults)
		require.Zero(t, store.Waiting)
		kept, err = l.trail.Checkpoint(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, report.Size, size)
		size = report.Size
		requireOneEventEach(t, l, acknowledged)
		require.NoError(t, l.db.Close())
	}
	require.NotEmpty(t, acknowledged)
}

// requireOneEventEach compares business rows, published events and what the
// children had said.
func requireOneEventEach(t *testing.T, l *lasting, acknowledged []string) {
	t.Helper()
	events := map[string]int{}
	for e, err := range auditlog.Entries(t.Context(), l.log.FS()) {
		require.NoError(t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(t, err)
		if leaf.Kind != auditlog.KindBeat {
			events[leaf.ID]++
		}
	}
	rows, err := l.db.QueryContext(t.Context(), `SELECT id FROM contacts`)
	require.NoError(t, err)
	defer rows.Close()
	contacts := 0
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		require.Equal(t, 1, events[id], "a committed row has one event")
		contacts++
	}
	require.NoError(t, rows.Err())
	require.Len(t, events, contacts, "no event without its row")
	for _, id := range acknowledged {
		require.Equal(t, 1, events[id], "what was committed stays")
	}
}
