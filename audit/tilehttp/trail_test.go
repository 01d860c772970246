package tilehttp_test

import (
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilehttp"
)

// prove reads a log over the network, and proves each entry of it with what
// package tlog has for that.
func prove(t *testing.T, fetch func(name string) []byte, verifier note.Verifier) int64 {
	t.Helper()
	signed, err := note.Open(fetch("checkpoint"), note.VerifierList(verifier))
	require.NoError(t, err)
	_, tree, err := c2sp.ParseCheckpoint(signed.Text)
	require.NoError(t, err)
	reader := tlog.TileHashReader(tree, tiles(fetch))
	for n := int64(0); n*c2sp.TileWidth < tree.N; n++ {
		width := min(c2sp.TileWidth, tree.N-n*c2sp.TileWidth)
		bundle := fetch(c2sp.TilePath(c2sp.Tile(-1, n, int(width))))
		for i := range width {
			var entry []byte
			entry, bundle, err = c2sp.ReadEntry(bundle)
			require.NoError(t, err)
			proof, err := tlog.ProveRecord(tree.N, n*c2sp.TileWidth+i, reader)
			require.NoError(t, err)
			require.NoError(t, tlog.CheckRecord(proof, tree.N, tree.Hash, n*c2sp.TileWidth+i, tlog.RecordHash(entry)))
		}
		require.Empty(t, bundle)
	}
	return tree.N
}

// tiles is a [tlog.TileReader] over HTTP.
type tiles func(name string) []byte

func (f tiles) Height() int { return c2sp.TileHeight }
func (f tiles) ReadTiles(tiles []tlog.Tile) (out [][]byte, err error) {
	for _, tile := range tiles {
		out = append(out, f(c2sp.TilePath(tile)))
	}
	return out, nil
}
func (f tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// over fetches from a server.
func over(t *testing.T, server *httptest.Server, prefix string) func(name string) []byte {
	t.Helper()
	return func(name string) []byte {
		r, err := server.Client().Get(server.URL + prefix + name)
		require.NoError(t, err)
		defer r.Body.Close()
		require.Equal(t, http.StatusOK, r.StatusCode, name)
		data, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return data
	}
}

// A client that knows the key alone proves every entry over the network.
func TestAClientProvesTheLogOverTheNetwork(t *testing.T) {
	files, verifier := newLog(t, 600)
	mux := http.NewServeMux()
	mux.Handle("/audit/log/", http.StripPrefix("/audit/log", tilehttp.Handler(files)))
	server := httptest.NewServer(mux)
	defer server.Close()
	require.EqualValues(t, 600, prove(t, over(t, server, "/audit/log/"), verifier))
}

// A process without the folder serves the log from its database: of the sink it
// reads the checkpoint and nothing else. Its one connection is the application's,
// too.
func TestATrailIsServedFromItsDatabase(t *testing.T) {
	ctx := t.Context()
	secret, key, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	verifier, err := note.NewVerifier(key)
	require.NoError(t, err)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "crm.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=secure_delete(1)")
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	require.NoError(t, sqltrail.Install(ctx, db))
	store, err := sqltrail.Open(ctx, db)
	require.NoError(t, err)
	sink, keys := &audittest.Sink{}, audittest.NewKeys()
	trail, err := audit.Open(ctx, store, audit.Config{Name: "crm.example/audit", Tenant: "main", Signer: signer, Verifier: key, Sink: sink, Keys: keys})
	require.NoError(t, err)
	var source tilehttp.Source = trail

	server := httptest.NewServer(tilehttp.Handler(source))
	defer server.Close()
	r, err := server.Client().Get(server.URL + "/checkpoint")
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusNotFound, r.StatusCode, "nothing is published")
	size := int64(1) // of the first beat
	for _, more := range []int64{9, 300} {
		require.NoError(t, trail.Prepare(ctx, "main"))
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		for range more {
			_, err := trail.Record(ctx, tx, audit.Event{Tenant: "main", Actor: "u-7", Action: "report.read"})
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		_, err = trail.RunOnce(ctx)
		require.NoError(t, err)
		require.NoError(t, sink.RemoveAll(ctx, "tile"))
		size += more
		require.Equal(t, size, prove(t, over(t, server, "/"), verifier))
	}

	// What the application does with the connection comes first, and a request
	// that waits for it ends with its client.
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	gone, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	w := httptest.NewRecorder()
	tilehttp.Handler(trail).ServeHTTP(w, httptest.NewRequestWithContext(gone, http.MethodGet, "/tile/0/000", http.NoBody))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NoError(t, tx.Rollback())
	_, err = db.ExecContext(ctx, `UPDATE crmguard_audit_tiles SET data = zeroblob(8192) WHERE n = 0`)
	require.NoError(t, err)
	w = httptest.NewRecorder()
	tilehttp.Handler(trail).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/tile/0/000", http.NoBody))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "tamper")
}
