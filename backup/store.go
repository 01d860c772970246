package backup

import (
	"context"
	"io/fs"
	"iter"
	"path"
	"strings"
)

// Store keeps the files of one repository. Package localstore is one;
// backuptest.Run judges others. Names are slash paths of restic's layout:
// "config", "keys/…", "data/4f/4f…", "index/…", "snapshots/…", "locks/…".
// A store must show in List and Read what Put has put before it returned.
//
// A place that has vanished (an unmounted disk) gives [ErrGone] from every
// method, never fs.ErrNotExist and never an empty list, and nothing is made
// there: only a [Maker] makes one. What Put, Read and Delete fail with names
// the file.
type Store interface {
	// Name says where the store is, for reports and errors.
	Name() string
	// Put creates the file in one piece: after a crash it is there whole or
	// not at all, and once Put returns nil it is durable. A name that exists
	// with equal bytes is a success too: the answer to a first try can be
	// lost. With other bytes it gives an error that wraps fs.ErrExist and
	// changes nothing.
	Put(ctx context.Context, name string, data []byte) error
	// Read returns at most limit bytes from offset on; fewer mean that the
	// file ends there. A name that does not exist gives fs.ErrNotExist.
	Read(ctx context.Context, name string, offset, limit int64) ([]byte, error)
	// List yields every file below the folder ("data", "index", …; "" is the
	// whole store), in no order; a folder that does not exist is empty.
	// Leftovers of an interrupted Put are not listed. Where something else
	// than a file stands, it is listed with its Type, and not what it holds.
	List(ctx context.Context, folder string) iter.Seq2[Info, error]
	// Delete removes the file. A name that does not exist gives
	// fs.ErrNotExist.
	Delete(ctx context.Context, name string) error
}

// Maker is a [Store] whose place has to be made before the first Put: a
// folder, a bucket. [Create] and [Repository.Mirror] call it; nothing else
// ever makes a place.
type Maker interface {
	// Make makes the place. One that is there already is left as it is.
	Make(ctx context.Context) error
}

// Info is one file of a [Store].
type Info struct {
	Name string // as Put took it
	Size int64
	Type fs.FileMode // 0 for a file; fs.ModeDir, fs.ModeSymlink… for what stands in the place of one
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

// listIDs lists the files of a folder by id with their sizes. What does not
// belong there is passed over: it carries nothing. Check names it.
func listIDs(ctx context.Context, s Store, folder string) (map[blobID]int64, error) {
	return listFolder(ctx, s, folder, func(Info) {})
}

// listFolder is listIDs that tells what it passes over.
func listFolder(ctx context.Context, s Store, folder string, foreign func(Info)) (map[blobID]int64, error) {
	ids := map[blobID]int64{}
	for info, err := range s.List(ctx, folder) {
		if err != nil {
			return nil, &StoreError{Store: s.Name(), Err: err}
		}
		if id, ok := fileID(info.Name); ok && info.Type == 0 {
			ids[id] = info.Size
		} else {
			foreign(info)
		}
	}
	return ids, nil
}

// foreignKind says what stands where no repository has a file.
func foreignKind(info Info) string {
	_, err := parseID(path.Base(info.Name))
	switch {
	case info.Type.IsDir():
		return "a folder that does not belong here"
	case info.Type&fs.ModeSymlink != 0:
		return "a symbolic link, which is not followed"
	case info.Type != 0:
		return "neither a file nor a folder"
	case err == nil:
		return "a file in a folder where its name does not belong"
	}
	return "a file that does not belong here"
}

// makePlace makes the place of a store that has to be made.
func makePlace(ctx context.Context, s Store) error {
	if m, ok := s.(Maker); ok {
		if err := m.Make(ctx); err != nil {
			return &StoreError{Store: s.Name(), Err: err}
		}
	}
	return nil
}
