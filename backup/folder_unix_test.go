//go:build unix

package backup

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is put in the place of an entry between its listing and its opening is
// not read, and a pipe that nobody writes to keeps no run waiting.
func TestAnEntryThatWasSwappedIsNotRead(t *testing.T) {
	for name, swap := range map[string]func(path string) error{
		"pipe":        func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"other file":  func(path string) error { return os.WriteFile(path, []byte("other"), 0o600) },
		"folder":      func(path string) error { return os.Mkdir(path, 0o700) },
		"link":        func(path string) error { return os.Symlink("sibling", path) },
		"nothing":     func(string) error { return nil },
		"link to dir": func(path string) error { return os.Symlink("folder", path) },
	} {
		for _, kind := range []string{"file", "dir"} {
			dir := t.TempDir()
			path := filepath.Join(dir, "entry")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "sibling"), []byte("x"), 0o600))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
			if kind == "file" {
				require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
			} else {
				require.NoError(t, os.Mkdir(path, 0o700))
			}
			root, err := os.OpenRoot(dir)
			require.NoError(t, err)
			before, err := root.Lstat("entry")
			require.NoError(t, err)
			require.NoError(t, os.Rename(path, path+".old"))
			require.NoError(t, swap(path))
			_, _, err = open(root, "entry", before)
			require.ErrorIs(t, err, ErrChanged, "%s in place of a %s", name, kind)
			_, err = readFolder(root, "entry", before)
			require.ErrorIs(t, err, ErrChanged, "%s in place of a %s", name, kind)
			require.NoError(t, root.Close())
		}
	}
}

// Pipes, sockets and devices end a run at once, and the error says why.
func TestAFolderWithSpecialFilesIsRefused(t *testing.T) {
	pipe, socket := t.TempDir(), t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(pipe, "pipe"), 0o600))
	t.Chdir(socket) // the path of a socket is short
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "socket")
	require.NoError(t, err)
	defer listener.Close()
	for _, dir := range []string{pipe, socket, "/dev"} {
		err := Folder("files", dir).Snapshot(context.Background(), newWriter(nil, "files"))
		require.ErrorIs(t, err, errNotRegular, dir)
		require.ErrorIs(t, err, ErrSource, dir)
	}
}
