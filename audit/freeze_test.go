//go:build freeze

package audit_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// frozenKeys tags with a known key and remembers plaintexts by owner.
type frozenKeys struct {
	audit.Sealer
	key    []byte
	plains map[string][]byte // by sealed bytes
}

func (k *frozenKeys) Seal(ctx context.Context, tenant, person string, plain, ad []byte) ([]byte, error) {
	sealed, err := k.Sealer.Seal(ctx, tenant, person, plain, ad)
	k.plains[string(sealed)] = plain
	return sealed, err
}

func (k *frozenKeys) Tag(_ context.Context, _ string, data []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, k.key)
	mac.Write(data)
	return mac.Sum([]byte{1, 0, 0, 0, 1}), nil
}

func (k *frozenKeys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	if want, _ := k.Tag(ctx, tenant, data); !hmac.Equal(want, tag) {
		return auditlog.ErrTampered
	}
	return nil
}

// TestFreeze writes auditlog/testdata/v1 anew: go test -tags freeze -run TestFreeze.
// Never again once it has been released.
func TestFreeze(t *testing.T) {
	const dir = "auditlog/testdata/v1"
	require.NoError(t, os.RemoveAll(dir))
	b := newBench(t)
	keys := &frozenKeys{Sealer: b.keys, plains: make(map[string][]byte)}
	for i := range 32 {
		keys.key = append(keys.key, byte(i))
	}
	sink, err := tilesink.Open(filepath.Join(dir, "log"))
	require.NoError(t, err)
	b.config.Sink, b.config.Seal, b.config.Tag = sink, keys, keys
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
	tags := make(map[string]string) // sequencing empties them
	waiting := func(ids ...string) {
		for _, id := range ids {
			tags[id] = hex.EncodeToString(b.blob(`SELECT tag FROM crmguard_audit_events WHERE id = ?`, id)[5:])
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
	require.NoError(t, os.WriteFile(filepath.Join(dir, "log.vkey"), []byte(b.config.Key+"\n"), 0o644))
	type event struct {
		ID       string            `json:"id"`
		Tag      string            `json:"tag"`
		Openings map[string]string `json:"openings"`
	}
	out := struct {
		TagKey string  `json:"tag_key"`
		Events []event `json:"events"`
	}{TagKey: hex.EncodeToString(keys.key)}
	for _, id := range []string{first, second, third, fourth, fifth} {
		one := event{ID: id, Tag: tags[id], Openings: make(map[string]string)}
		rows, err := b.db.Query(`SELECT owner, sealed FROM crmguard_audit_openings WHERE event = ?`, id)
		require.NoError(t, err)
		for rows.Next() {
			var owner string
			var sealed []byte
			require.NoError(t, rows.Scan(&owner, &sealed))
			one.Openings[owner] = string(keys.plains[string(sealed)])
		}
		require.NoError(t, rows.Close())
		out.Events = append(out.Events, one)
	}
	data, err := json.MarshalIndent(out, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "openings.json"), append(data, '\n'), 0o644))
}
