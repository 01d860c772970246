package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// The format has no associated data: only the hash says which blob it is.
func TestABlobIsProvedByItsHash(t *testing.T) {
	repo, _ := memoryRepo(t)
	dir := t.TempDir()
	one, two := noise(1, 500), noise(2, 500)
	write(t, filepath.Join(dir, "one"), one)
	write(t, filepath.Join(dir, "two"), two)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
	a, b := sha256.Sum256(one), sha256.Sum256(two)
	require.NoError(t, backup.SwapPlaces(t.Context(), repo, hex.EncodeToString(a[:]), hex.EncodeToString(b[:])))
	fsys, err := repo.Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	_, err = fs.ReadFile(fsys, "files/one")
	require.ErrorIs(t, err, backup.ErrCorrupt)
}

// lying is a store that keeps something else than it was given.
type lying struct {
	*backuptest.Memory
	tell func(name string, data []byte) []byte
}

func (l lying) Put(ctx context.Context, name string, data []byte) error {
	return l.Memory.Put(ctx, name, l.tell(name, bytes.Clone(data)))
}

func TestAPackHeaderThatWasWrittenWronglyIsFoundAtOnce(t *testing.T) {
	for _, tell := range []func(data []byte) []byte{
		func(data []byte) []byte { data[len(data)-10] ^= 1; return data },
		func(data []byte) []byte { return data[:len(data)-1] },
		func(data []byte) []byte { return append(data, 0) },
	} {
		memory := backuptest.NewMemory("a")
		repo := memoryRepos(t, fixedKey, lying{memory, func(name string, data []byte) []byte {
			if strings.HasPrefix(name, "data/") {
				return tell(data)
			}
			return data
		}})[0]
		_, err := nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))).RunOnce(t.Context())
		require.ErrorIs(t, err, backup.ErrCorrupt)
		requireNothing(t, repo, memory)
	}
}

// A mirror that joins gets no damaged file: what is copied is hashed first.
func TestDamageIsNotCopied(t *testing.T) {
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	repo := memoryRepos(t, fixedKey, a)[0]
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	mirror, err := repo.Mirror(t.Context(), b)
	require.NoError(t, err)
	for name, data := range a.Files() {
		if strings.HasPrefix(name, "data/") {
			flipped := slices.Clone(data)
			flipped[20] ^= 1
			a.Set(name, flipped)
		}
	}
	result, err := nightly([]*backup.Repository{repo, mirror}, backup.Folder("files", smallTree(t))).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrStore)
	require.ErrorIs(t, result.Stores[0].Err, backup.ErrCorrupt)
	_, err = mirror.Check(t.Context(), backup.ReadAll, result.Snapshot)
	require.NoError(t, err, "the new store holds the new snapshot, whole")
}
