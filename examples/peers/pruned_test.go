package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// prunedLog is a log of which the first 512 entries went with retention, and the
// proof and leaf of one of them, kept from before.
func prunedLog(t *testing.T, before func(dir string)) (dir, key string, trail *audit.Trail, leaf, proof []byte, id string) {
	t.Helper()
	ctx, p := t.Context(), newTestBench(t)
	vault, err := newVault(ctx, p)
	require.NoError(t, err)
	db, err := sqliteShop(p).open(ctx, "trail")
	require.NoError(t, err)
	require.NoError(t, sqltrail.Install(ctx, db))
	dir = filepath.Join(t.TempDir(), "log")
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	store, err := sqltrail.Open(ctx, db)
	require.NoError(t, err)
	secret, key, err := audit.GenerateKey(logName, 0)
	require.NoError(t, err)
	now := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	trail, err = audit.Open(ctx, store, audit.Config{
		Name: logName, Tenant: tenant, Key: secret, Sink: sink, Keys: vault.AuditKeys(),
		Now: func() time.Time { return now },
		Kept: func(context.Context) ([]byte, error) {
			kept, err := fs.ReadFile(os.DirFS(dir), "checkpoint")
			if err != nil {
				return nil, nil
			}
			return kept, nil
		},
	})
	require.NoError(t, err)
	fill := func(n int) {
		require.NoError(t, trail.Prepare(ctx, tenant))
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		for range n {
			id, err = trail.Record(ctx, tx, audit.Event{Tenant: tenant, Actor: "u7", Action: "report.read"})
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		_, err = trail.RunOnce(ctx)
		require.NoError(t, err)
	}
	fill(300)
	first := id
	fill(300)
	leaf, err = trail.Leaf(ctx, first)
	require.NoError(t, err)
	proof, err = trail.Proof(ctx, first)
	require.NoError(t, err)
	require.NoError(t, fsckVerdict(t, dir, key), "whole")
	before(dir)
	now = now.AddDate(5, 0, 0)
	fill(3)
	r, err := trail.Prune(ctx, now.AddDate(-1, 0, 0))
	require.NoError(t, err)
	require.Equal(t, int64(512), r.Pruned)
	return dir, key, trail, leaf, proof, first
}

// Torchwood reads what is there of a log from which retention took entries, and
// verifies proofs of what is not.
func TestTorchwoodReadsAPrunedLog(t *testing.T) {
	ctx := t.Context()
	dir, key, trail, leaf, proof, id := prunedLog(t, func(string) {})
	policy := torchwoodPolicy(t, key)
	tiles, err := torchwood.NewTileFS(os.DirFS(dir))
	require.NoError(t, err)
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	require.NoError(t, err)
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	require.NoError(t, err)
	client, err := torchwood.NewClient(tiles)
	require.NoError(t, err)
	n := int64(512)
	for i, raw := range client.AllEntries(ctx, checkpoint.Tree, n) {
		require.Equal(t, n, i)
		l, err := auditlog.ParseLeaf(raw)
		require.NoError(t, err)
		fresh, err := trail.Proof(ctx, l.ID)
		require.NoError(t, err)
		_, hashes, err := client.Entry(ctx, checkpoint.Tree, i)
		require.NoError(t, err)
		require.Equal(t, string(torchwood.FormatProof(i, hashes, signed)), string(fresh), "byte for byte")
		n++
	}
	require.NoError(t, client.Err())
	require.Equal(t, checkpoint.N, n, "every entry that is there")

	fresh, err := trail.Proof(ctx, id) // of an entry that is gone, by its hash
	require.NoError(t, err)
	for _, p := range [][]byte{proof, fresh} {
		require.NoError(t, torchwood.VerifyProof(policy, tlog.RecordHash(leaf), p))
		require.Error(t, torchwood.VerifyProof(policy, tlog.RecordHash([]byte("x")), p))
	}
	for range client.AllEntries(ctx, checkpoint.Tree, 0) {
		t.Fatal("an entry that is gone")
	}
	require.ErrorIs(t, client.Err(), fs.ErrNotExist, "a bundle that is not there is one to it")
}

// Tessera's fsck knows no retention: to it a bundle that is gone is missing, and it
// says so. What it reads of the rest agrees: with the bundles back it is content.
func TestTesseraMissesPrunedEntries(t *testing.T) {
	names := []string{"tile/entries/000", "tile/entries/001"}
	bundles := make(map[string][]byte)
	dir, key, trail, _, _, _ := prunedLog(t, func(dir string) {
		for _, name := range names {
			bundles[name] = []byte(read(t, dir, name))
		}
	})
	err := fsckVerdict(t, dir, key)
	require.Error(t, err)
	require.ErrorContains(t, err, "entries")
	kept, err := fs.ReadFile(os.DirFS(dir), "checkpoint")
	require.NoError(t, err)
	r, err := auditlog.VerifyLog(t.Context(), os.DirFS(dir), auditlog.Trust{Key: key, Kept: kept})
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Equal(t, int64(512), r.Pruned)
	_, err = trail.Published(t.Context(), "tile/entries/000")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for name, data := range bundles {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o600))
	}
	require.NoError(t, fsckVerdict(t, dir, key))
}
