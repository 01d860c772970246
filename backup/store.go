package backup

import (
	"context"
	"iter"
	"strings"
)

// Store keeps the files of one repository. Package localstore is one;
// backuptest.Run judges others. Names are slash paths of restic's layout:
// "config", "keys/…", "data/4f/4f…", "index/…", "snapshots/…", "locks/…".
// A store must show in List and Read what Put has put before it returned.
type Store interface {
	// Name says where the store is, for reports and errors.
	Name() string
	// Put creates the file in one piece: after a crash it is there whole or
	// not at all, and once Put returns nil it is durable. A name that exists
	// gives an error that wraps fs.ErrExist and changes nothing.
	Put(ctx context.Context, name string, data []byte) error
	// Read returns at most limit bytes from offset on; fewer mean that the
	// file ends there. A name that does not exist gives fs.ErrNotExist.
	Read(ctx context.Context, name string, offset, limit int64) ([]byte, error)
	// List yields every file below the folder ("data", "index", …), in no
	// order; a folder that does not exist is empty. Leftovers of an
	// interrupted Put are not listed.
	List(ctx context.Context, folder string) iter.Seq2[Info, error]
	// Delete removes the file. A name that does not exist gives
	// fs.ErrNotExist.
	Delete(ctx context.Context, name string) error
}

// Info is one file of a [Store].
type Info struct {
	Name string // as Put took it
	Size int64
}

// The folders of a repository; "config" is a file.
const (
	configFile  = "config"
	keyFolder   = "keys"
	dataFolder  = "data"
	indexFolder = "index"
	snapFolder  = "snapshots"
	lockFolder  = "locks"
)

// fileName is the place of a file that is named by its hash.
func fileName(folder string, id blobID) string {
	if folder == dataFolder {
		name := id.String()
		return dataFolder + "/" + name[:2] + "/" + name
	}
	return folder + "/" + id.String()
}

// fileID takes the id back out of a name. ok is false for foreign names.
func fileID(name string) (id blobID, ok bool) {
	id, err := parseID(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil {
		return id, false
	}
	folder, _, _ := strings.Cut(name, "/")
	return id, fileName(folder, id) == name
}

// listIDs lists the files of a folder by id with their sizes.
func listIDs(ctx context.Context, s Store, folder string) (map[blobID]int64, error) {
	ids := map[blobID]int64{}
	for info, err := range s.List(ctx, folder) {
		if err != nil {
			return nil, &StoreError{Store: s.Name(), Err: err}
		}
		id, ok := fileID(info.Name)
		if !ok {
			return nil, &FileError{Store: s.Name(), File: info.Name, Err: corrupt("a file that does not belong here")}
		}
		ids[id] = info.Size
	}
	return ids, nil
}
