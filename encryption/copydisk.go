package encryption

import (
	"io"
	"os"

	"github.com/crmguard/crmguard/internal/disk"
)

// copyDisk is what WriteCopy does to a file system, small enough to be
// replaced by one that fails at any step.
type copyDisk interface {
	create(dir string) (copyFile, error) // a new file named after tempPattern
	rename(from, to string) error
	remove(name string) error
	syncFolder(dir string) error
}

type copyFile interface {
	io.WriteCloser
	Name() string
	Sync() error
}

type osCopyDisk struct{}

func (osCopyDisk) create(dir string) (copyFile, error) { return os.CreateTemp(dir, tempPattern) }

func (osCopyDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osCopyDisk) remove(name string) error { return os.Remove(name) }

func (osCopyDisk) syncFolder(dir string) error { return disk.SyncFolder(dir) }
