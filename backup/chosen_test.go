package backup_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
)

// Whoever gets a file backed up that he composed, and can write to the store,
// holds sealed bytes whose content he chose. Nothing binds them to their place:
// they must not pass for a snapshot, a lock or an index.
func TestAFileThatWasBackedUpPassesForNothingElse(t *testing.T) {
	for name, c := range map[string]struct{ folder, begin string }{
		"snapshot": {"snapshots", `{"time":"9998-01-02T03:04:05Z","tree":"` + strings.Repeat("ab", 32) + `","tags":["crmguard","job:nightly"],"paths":["`},
		"lock":     {"locks", `{"time":"2026-01-02T03:04:05Z","exclusive":true,"hostname":"`},
		"index":    {"index", `{"packs":[],"x":"`},
	} {
		t.Run(name, func(t *testing.T) {
			end := `"]}`
			if name != "snapshot" {
				end = `"}`
			}
			// What does not compress: all bytes that JSON takes in a string.
			content := []byte(c.begin)
			for _, b := range noise(7, 300) {
				if b >= ' ' && b != '"' && b != '\\' {
					content = append(content, b)
				}
			}
			content = append(content, end...)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "upload.json"), content)
			repo, memory := memoryRepo(t)
			job := nightly([]*backup.Repository{repo}, backup.Folder("files", dir))
			first := mustRun(t, job)
			planted := 0
			for _, pack := range kinds(memory)["data"] {
				data, err := memory.Read(t.Context(), pack, 0, 1<<20)
				require.NoError(t, err)
				for n := len(content); n <= min(len(data), len(content)+100); n++ {
					require.NoError(t, memory.Put(t.Context(), hashed(c.folder, data[:n]), data[:n]))
					planted++
				}
			}
			again := reopen(t, fixedKey, memory)
			snapshots, err := again.Snapshots(t.Context())
			require.NoError(t, err)
			require.Len(t, snapshots, 1)
			require.Equal(t, first.Snapshot, snapshots[0].ID)
			report, err := again.Check(t.Context(), backup.ReadAll)
			require.ErrorIs(t, err, backup.ErrCorrupt)
			require.Equal(t, planted, len(report.Problems), "each is named as damaged")
			if c.folder == "locks" {
				holders, _, err := again.KeyHolders(t.Context(), "tenant", 1)
				require.NoError(t, err)
				require.Zero(t, holders)
			}
			job.Repositories = []*backup.Repository{again}
			mustRun(t, job)
		})
	}
}
