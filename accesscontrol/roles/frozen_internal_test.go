package roles

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tags that were stored verify for ever: these two were computed by another
// program from what formats.md says.
func TestTagsAreFrozen(t *testing.T) {
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i)
	}
	keys, err := KeysFrom(secret)
	require.NoError(t, err)
	r := row{Assignment: Assignment{Tenant: "t1", Principal: "p1", Role: "rep", Scope: InUnit("u1"), MayGive: true, By: "p0", Reason: "why"}, id: "A", source: "S", from: 1, until: forever}
	for want, data := range map[string][]byte{
		"01578d2ab5b36aa513145f02d86b1ec83d4564bb2c9f29348312cecff9818b33d445d4a50a": r.framed(),
		"01578d2ab5aca6e3b32e94f2b66b8eec5d88de152408019b1f70cd15e000c9bee95b59ec74": framedRole("t1", "senior", "p0", []string{"auditor", "rep"}),
	} {
		tag, err := keys.Tag(t.Context(), "t1", data)
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(tag))
	}
}

// Migrations that were applied never change: a change is a further one.
func TestMigrationsAreFrozen(t *testing.T) {
	got := map[string]string{}
	require.NoError(t, fs.WalkDir(Migrations(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(Migrations(), path)
		sum := sha256.Sum256(text)
		got[path] = hex.EncodeToString(sum[:])
		return err
	}))
	const frozen = "testdata/migrations.json"
	if flag.Lookup("update").Value.String() == "true" {
		text, err := json.MarshalIndent(got, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(frozen, append(text, '\n'), 0o600))
	}
	text, err := os.ReadFile(frozen)
	require.NoError(t, err)
	var want map[string]string
	require.NoError(t, json.Unmarshal(text, &want))
	require.Equal(t, want, got)
}
