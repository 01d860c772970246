package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/torchwood"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/tilehttp"
)

// Torchwood's client reads our log over HTTP, served from the database alone:
// it proves every entry, and a log that has grown as its continuation.
func TestTorchwoodReadsOurLogOverHTTP(t *testing.T) {
	ctx := t.Context()
	dir, key, trail := record(t, 300)
	server := httptest.NewServer(tilehttp.Handler(trail))
	defer server.Close()
	fetcher, err := torchwood.NewTileFetcher(server.URL, torchwood.WithHTTPClient(server.Client()))
	require.NoError(t, err)
	client, err := torchwood.NewClient(fetcher)
	require.NoError(t, err)
	policy := torchwoodPolicy(t, key)
	var before tlog.Tree
	for range 3 {
		_, err := trail.RunOnce(ctx)
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "tile")), "the checkpoint is all that is left of the folder")
		signed, err := fetcher.ReadEndpoint(ctx, "checkpoint")
		require.NoError(t, err)
		checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
		require.NoError(t, err)
		require.Equal(t, logName+"/0", checkpoint.Origin)
		require.Greater(t, checkpoint.N, before.N)
		n := int64(0)
		for i, raw := range client.AllEntries(ctx, checkpoint.Tree, 0) {
			require.Equal(t, n, i)
			_, err := auditlog.ParseLeaf(raw)
			require.NoError(t, err)
			if i%50 == 0 {
				_, hashes, err := client.Entry(ctx, checkpoint.Tree, i)
				require.NoError(t, err)
				require.NoError(t, torchwood.VerifyProof(policy, tlog.RecordHash(raw), torchwood.FormatProof(i, hashes, signed)))
			}
			n++
		}
		require.NoError(t, client.Err())
		require.Equal(t, checkpoint.N, n, "every entry")
		if before.N > 0 {
			reader := torchwood.TileHashReaderWithContext(ctx, checkpoint.Tree, fetcher)
			proof, err := tlog.ProveTree(checkpoint.N, before.N, reader)
			require.NoError(t, err)
			require.NoError(t, tlog.CheckTree(proof, checkpoint.N, checkpoint.Hash, before.N, before.Hash))
		}
		before = checkpoint.Tree
		for range 7 {
			require.NoError(t, trail.Note(ctx, audit.Event{Tenant: tenant, Actor: "u7", Action: "report.read"}))
		}
	}
	_, err = fetcher.ReadEndpoint(ctx, "tile/entries/002.p/1")
	require.ErrorContains(t, err, "404")
}
