package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Snapshot is one snapshot of a repository.
type Snapshot struct {
	ID    string // 64 hex digits
	Time  time.Time
	Job   string // "" when another program made it
	Paths []string
	Tags  []string

	tree blobID
}

// snapshotJSON is snapshots/…, as restic writes it.
type snapshotJSON struct {
	Time     time.Time `json:"time"`
	Tree     *blobID   `json:"tree"`
	Paths    []string  `json:"paths"`
	Hostname string    `json:"hostname,omitempty"`
	Username string    `json:"username,omitempty"`
	UID      uint32    `json:"uid,omitempty"`
	GID      uint32    `json:"gid,omitempty"`
	Tags     []string  `json:"tags,omitempty"`
}

const (
	ownTag = "crmguard"
	jobTag = "job:"
)

func decodeSnapshot(id blobID, document []byte) (Snapshot, error) {
	var in snapshotJSON
	if err := json.Unmarshal(document, &in); err != nil || in.Tree == nil {
		return Snapshot{}, corrupt("a snapshot of another shape")
	}
	s := Snapshot{ID: id.String(), Time: in.Time, Paths: in.Paths, Tags: in.Tags, tree: *in.Tree}
	for _, tag := range in.Tags {
		if job, ok := strings.CutPrefix(tag, jobTag); ok && slices.Contains(in.Tags, ownTag) {
			s.Job = job
		}
	}
	return s, nil
}

// Snapshots lists the snapshots, oldest first.
func (r *Repository) Snapshots(ctx context.Context) ([]Snapshot, error) {
	files, err := listIDs(ctx, r.store, snapFolder)
	if err != nil {
		return nil, err
	}
	snapshots := make([]Snapshot, 0, len(files))
	for id := range files {
		document, err := r.loadFile(ctx, snapFolder, id)
		if err != nil {
			return nil, err
		}
		s, err := decodeSnapshot(id, document)
		if err != nil {
			return nil, &FileError{Store: r.store.Name(), File: fileName(snapFolder, id), Err: err}
		}
		snapshots = append(snapshots, s)
	}
	slices.SortFunc(snapshots, func(a, b Snapshot) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return snapshots, nil
}

// Latest as an id means the newest snapshot by its time.
const Latest = "latest"

// minPrefix is the shortest beginning of an id that names a snapshot.
const minPrefix = 6

// find resolves an id, the beginning of one, or Latest.
func (r *Repository) find(ctx context.Context, id string) (Snapshot, error) {
	snapshots, err := r.Snapshots(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	if id == Latest && len(snapshots) > 0 {
		return snapshots[len(snapshots)-1], nil
	}
	var found []Snapshot
	for _, s := range snapshots {
		if len(id) >= minPrefix && strings.HasPrefix(s.ID, id) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return Snapshot{}, fmt.Errorf("%w: %d of %d in %s have this id", ErrNoSnapshot, len(found), len(snapshots), r.store.Name())
	}
	return found[0], nil
}

// findWithIndex resolves first and loads the index afterwards: a snapshot
// that was seen has its index in place.
func (r *Repository) findWithIndex(ctx context.Context, id string) (Snapshot, *blobIndex, error) {
	s, err := r.find(ctx, id)
	if err != nil {
		return s, nil, err
	}
	index, err := r.index(ctx)
	return s, index, err
}
