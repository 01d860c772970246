//go:build freeze

package audit_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// TestFreeze writes auditlog/testdata/v1 anew: go test -tags freeze -run TestFreeze.
// Never again once it has been released.
func TestFreeze(t *testing.T) {
	const dir = "auditlog/testdata/v1"
	require.NoError(t, os.RemoveAll(dir))
	b := newBench(t)
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i)
	}
	keys, err := audit.KeysFrom(secret)
	require.NoError(t, err)
	sink, err := tilesink.Open(filepath.Join(dir, "log"))
	require.NoError(t, err)
	b.config.Sink, b.config.Keys = sink, keys
	b.config.Heads = audit.Heads{
		Ledger:    func(ctx) (int64, []byte, error) { return 0, make([]byte, 32), nil },
		Keys:      audit.HeadOf(func(ctx) ([]byte, error) { return []byte(`{"epoch":1,"sequence":9,"store":"s"}`), nil }),
		Seals:     func(ctx) ([]byte, error) { return make([]byte, 32), nil },
		Snapshots: func(ctx) ([]byte, error) { return make([]byte, 32), nil },
	}
	b.open()
	first := b.record(update("p1", 1))
	e := update("p2", 2)
	e.Reason, e.Request, e.Policy = "call", "r-1", hex.EncodeToString(make([]byte, 32))
	e.For, e.Prior = first, first
	e.Changes = append(e.Changes, audit.Change{Path: "favourite colour", Who: "p2", Old: audit.Absent{}, New: "blue"})
	second := b.record(e)
	third := b.record(audit.Event{Tenant: "main", Actor: "u-2", Action: "contact.export", Outcome: audit.OutcomeDenied, Object: audit.Ref("list", "7"), Changes: []audit.Change{
		{Path: "count", Old: nil, New: 12},
		{Path: "at", Old: true, New: time.UnixMicro(1)},
		{Path: "sum", Old: audit.Decimal("1.50"), New: 2.5},
		{Path: "born", Old: audit.Date("2000-01-02"), New: audit.JSON(`{"b":1,"a":[]}`)},
	}})
	last := update("p1", 3)
	last.Changes = append(last.Changes, audit.Diff("p2", nil, map[string]any{"note": []byte{1, 2}})...)
	fourth := b.record(last)
	type event struct {
		ID    string `json:"id"`
		Body  string `json:"body"`
		Retry string `json:"retry"`
	}
	type head struct {
		Person    string `json:"person"`
		Surrogate string `json:"surrogate"`
		Head      string `json:"head"`
		Tag       string `json:"tag"`
	}
	out := struct {
		Secret string  `json:"secret"`
		Name   string  `json:"name"`
		Events []event `json:"events"`
		Heads  []head  `json:"heads"`
	}{Secret: hex.EncodeToString(secret), Name: b.config.Name}
	waiting := func(ids ...string) { // sequencing empties them
		for _, id := range ids {
			out.Events = append(out.Events, event{
				id, hex.EncodeToString(b.blob(`SELECT body FROM crmguard_audit_events WHERE id = ?`, key(id))),
				hex.EncodeToString(b.blob(`SELECT retry FROM crmguard_audit_events WHERE id = ?`, key(id))),
			})
		}
	}
	waiting(first, second, third, fourth)
	b.run()
	kept := b.checkpoint()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "kept"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kept", "checkpoint"), kept, 0o644))
	b.advance(time.Minute)
	fifth := b.record(update("p3", 5))
	waiting(fifth)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p3"))
	b.run()
	proof, err := b.trail.Proof(t.Context(), first)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "first.tlog-proof"), proof, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "log.vkey"), []byte(b.config.Verifier+"\n"), 0o644))
	rows, err := b.db.QueryContext(t.Context(), `SELECT person, surrogate, head, tag FROM crmguard_audit_surrogates WHERE person IS NOT NULL ORDER BY n`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var h head
		var surrogate, sealed, tag []byte
		require.NoError(t, rows.Scan(&h.Person, &surrogate, &sealed, &tag))
		h.Surrogate, h.Head, h.Tag = hex.EncodeToString(surrogate), hex.EncodeToString(sealed), hex.EncodeToString(tag)
		out.Heads = append(out.Heads, h)
	}
	require.NoError(t, rows.Err())
	data, err := json.MarshalIndent(out, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rows.json"), append(data, '\n'), 0o644))
}
