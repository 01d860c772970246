package localstore

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/filelock"
)

// sweep removes what killed processes left in the middle of a Put: files that
// are named as such and that nobody holds. What it cannot judge or remove
// stays; it is sealed, never listed, and costs nothing but its space.
func sweep(root *os.Root, folder string) {
	entries, _ := readFolder(root, folder)
	for _, e := range entries {
		name := path.Join(folder, e.Name())
		switch {
		case e.IsDir() && isLayout(name):
			sweep(root, name)
		case e.Type().IsRegular() && isTemp(e.Name()):
			removeUnheld(root, filepath.FromSlash(name))
		}
	}
}

// isTemp says whether createTemp makes such names.
func isTemp(name string) bool {
	id, ok := strings.CutPrefix(name, tmpPrefix)
	return ok && len(id) == len(uuid.UUID{}.String()) && uuid.Validate(id) == nil
}

// removeUnheld removes the file while it holds its lock, so that whoever is
// just making it notices.
func removeUnheld(root *os.Root, name string) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if held, err := filelock.Try(f); err == nil && held {
		_ = root.Remove(name)
	}
}
