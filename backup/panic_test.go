package backup_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// A panic of the caller's own code reaches the caller, as it is, and behind
// it the run is cleared away.
func TestAPanicMakesNoSnapshotAndLeavesNoLock(t *testing.T) {
	panics := func() { panic("of the caller") }
	for name, change := range map[string]func(job *backup.Job){
		"source": func(j *backup.Job) {
			j.Sources[0] = script{"s", func(context.Context, *backup.Writer) error { panic("of the caller") }}
		},
		"content": func(j *backup.Job) {
			j.Sources[0] = script{"s", func(_ context.Context, w *backup.Writer) error {
				return w.File("a", info{size: 50 << 20}, io.MultiReader(bytes.NewReader(noise(1, 20<<20)), readerFunc(panics)))
			}}
		},
		"key versions": func(j *backup.Job) {
			j.KeyVersions = func(context.Context) (map[string]map[uint32]int64, error) { panic("of the caller") }
		},
		"key copy": func(j *backup.Job) {
			j.Positions.Keys = func(context.Context) ([]byte, error) { return []byte("x"), nil }
			j.KeyCopy = func(context.Context, []byte) error { panic("of the caller") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
			repos := memoryRepos(t, fixedKey, a, b)
			job := nightly(repos, backup.Folder("files", smallTree(t)))
			change(job)
			require.PanicsWithValue(t, "of the caller", func() { _, _ = job.RunOnce(t.Context()) })
			requireNothing(t, repos[0], a)
			requireNothing(t, repos[1], b)
			mustRun(t, nightly(repos, backup.Folder("files", smallTree(t))))
			mustCheck(t, repos[0])
		})
	}
}

type readerFunc func()

func (f readerFunc) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
