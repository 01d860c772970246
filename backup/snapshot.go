package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// Snapshots lists the snapshots, oldest first. Files that are damaged or do
// not belong among them are left out; [Repository.Check] names them.
func (r *Repository) Snapshots(ctx context.Context) ([]Snapshot, error) {
	snapshots, _, err := r.readSnapshots(ctx)
	return snapshots, err
}

// readSnapshots also returns what is wrong with those that cannot be read.
func (r *Repository) readSnapshots(ctx context.Context) (snapshots []Snapshot, damaged []error, err error) {
	files, err := listIDs(ctx, r.store, snapFolder)
	if err != nil {
		return nil, nil, err
	}
	for id := range files {
		s, err := r.readSnapshot(ctx, id)
		switch {
		case err == nil:
			snapshots = append(snapshots, s)
		case errors.Is(err, fs.ErrNotExist): // forgotten since it was listed
		case errors.Is(err, ErrCorrupt):
			damaged = append(damaged, err)
		default:
			return nil, nil, err
		}
	}
	slices.SortFunc(snapshots, func(a, b Snapshot) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return snapshots, damaged, nil
}

func (r *Repository) readSnapshot(ctx context.Context, id blobID) (Snapshot, error) {
	document, err := r.loadFile(ctx, snapFolder, id)
	if err != nil {
		return Snapshot{}, err
	}
	s, err := decodeSnapshot(id, document)
	if err != nil {
		return s, &FileError{Store: r.store.Name(), File: fileName(snapFolder, id), Err: err}
	}
	return s, nil
}

// Latest as an id means the newest snapshot by its time, in a repository of
// one job. Where several jobs write, it is refused: see [LatestOf].
const Latest = "latest"

// LatestOf is the id that means the newest snapshot of a job by its time.
func LatestOf(job string) string { return latestOf + job }

const latestOf = Latest + ":"

// minPrefix is the shortest beginning of an id that names a snapshot.
const minPrefix = 6

// find resolves an id, the beginning of one, Latest, or LatestOf. What is
// wrong with other snapshots does not matter to who knows the id.
func (r *Repository) find(ctx context.Context, id string) (Snapshot, error) {
	job, ofJob := strings.CutPrefix(id, latestOf)
	switch {
	case ofJob:
		return r.newest(ctx, job, true)
	case id == Latest:
		return r.newest(ctx, "", false)
	}
	files, err := listIDs(ctx, r.store, snapFolder)
	if err != nil {
		return Snapshot{}, err
	}
	var found []blobID
	for file := range files {
		if len(id) >= minPrefix && strings.HasPrefix(file.String(), id) {
			found = append(found, file)
		}
	}
	if len(id) < minPrefix {
		return Snapshot{}, fmt.Errorf("%w: %q is too short for an id: give at least %d digits, or backup.LatestOf a job", ErrNoSnapshot, id, minPrefix)
	}
	if len(found) != 1 {
		return Snapshot{}, fmt.Errorf("%w: %d of %d in %s have this id", ErrNoSnapshot, len(found), len(files), r.store.Name())
	}
	return r.readSnapshot(ctx, found[0])
}

// newest finds the newest snapshot, of one job or of the only one. It does not
// guess: neither which job is meant, nor whether a snapshot that cannot be
// read is older.
func (r *Repository) newest(ctx context.Context, job string, ofJob bool) (Snapshot, error) {
	snapshots, damaged, err := r.readSnapshots(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	if jobs := jobsOf(snapshots); !ofJob && len(jobs) > 1 {
		return Snapshot{}, fmt.Errorf("%w: %s holds snapshots of %s: ask for backup.LatestOf one of them", ErrNoSnapshot, r.store.Name(), strings.Join(jobs, ", "))
	}
	if ofJob {
		snapshots = slices.DeleteFunc(snapshots, func(s Snapshot) bool { return s.Job != job })
	}
	switch {
	case len(snapshots) == 0 && len(damaged) == 0:
		return Snapshot{}, fmt.Errorf("%w: %s holds none%s", ErrNoSnapshot, r.store.Name(), ofText(job))
	case len(damaged) == 0:
		return snapshots[len(snapshots)-1], nil
	case len(snapshots) == 0:
		return Snapshot{}, fmt.Errorf("%d snapshots cannot be read, and no other is there: %w", len(damaged), damaged[0])
	}
	newest := snapshots[len(snapshots)-1]
	return Snapshot{}, fmt.Errorf("%d snapshots cannot be read and may be newer than %s of %s, the newest that can: name it by its id, or remove the damaged files: %w",
		len(damaged), short(newest.ID), newest.Time.UTC().Format(time.DateTime), damaged[0])
}

// jobsOf names the jobs that made snapshots.
func jobsOf(snapshots []Snapshot) []string {
	var jobs []string
	for _, s := range snapshots {
		if name := jobText(s.Job); !slices.Contains(jobs, name) {
			jobs = append(jobs, name)
		}
	}
	slices.Sort(jobs)
	return jobs
}

func jobText(job string) string {
	if job == "" {
		return "another program (no job)"
	}
	return fmt.Sprintf("job %q", job)
}

func ofText(job string) string {
	if job == "" {
		return ""
	}
	return " of " + jobText(job)
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
