package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Manifest reads the manifest of a snapshot, verified when the repository
// was opened with a tagger, or when it was tagged with the Key. id is an id,
// the beginning of one, [Latest], or [LatestOf] a job.
func (r *Repository) Manifest(ctx context.Context, id string) (*Manifest, error) {
	s, index, err := r.findWithIndex(ctx, id)
	if err != nil {
		return nil, err
	}
	m, _, err := r.manifest(ctx, index, s)
	return m, err
}

func (r *Repository) manifest(ctx context.Context, index *blobIndex, s Snapshot) (m *Manifest, verified bool, err error) {
	fsys := r.snapshotFS(ctx, index, s)
	name := ownFolder + "/" + manifestFile
	n, err := fsys.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("snapshot %s: %w", short(s.ID), errNoManifest)
	} else if err != nil {
		return nil, false, err
	}
	var data []byte
	if n.Type == nodeFile {
		if data, err = io.ReadAll(io.LimitReader(&openFile{fsys: fsys, node: n}, maxManifest+1)); err != nil {
			return nil, false, err
		}
	}
	if n.Type != nodeFile || len(data) > maxManifest {
		return nil, false, fmt.Errorf("%w: that of snapshot %s is no plain file", ErrManifest, short(s.ID))
	}
	tagger := r.cfg.Manifests
	m, err = DecodeManifest(ctx, data, tagger)
	if r.cfg.ofKey && errors.Is(err, errOtherTagger) { // nobody demanded that it verifies
		tagger = nil
		m, err = DecodeManifest(ctx, data, nil)
	}
	if err != nil {
		return nil, false, fmt.Errorf("snapshot %s: %w", short(s.ID), err)
	}
	return m, tagger != nil, nil
}

// short is the beginning of an id that people read.
func short(id string) string { return id[:8] }

// KeyHolders counts and names the snapshots that hold values sealed under a
// key version. It is what DestroyKeyVersion of package encryption asks
// before it destroys one. A snapshot that cannot be read, or has no readable
// manifest, counts as a holder and is named: nobody knows what it needs.
// Bring it back from a mirror, or remove it, to go on.
func (r *Repository) KeyHolders(ctx context.Context, tenant string, keyVersion uint32) (count int, where string, err error) {
	if tenant == "" {
		return 0, "", badConfig("an empty tenant")
	}
	locks, err := r.countLocks(ctx) // before the snapshots: one that commits meanwhile is seen as either
	if err != nil {
		return 0, "", err
	}
	snapshots, damaged, err := r.readSnapshots(ctx)
	if err != nil {
		return 0, "", err
	}
	if locks > 0 {
		return locks, "a backup that is running (or a lock left behind) in " + r.Name(), nil
	}
	index, err := r.index(ctx)
	if err != nil {
		return 0, "", err
	}
	var names []string
	for _, err := range damaged {
		names = append(names, unreadable(err))
	}
	for _, s := range snapshots {
		m, _, err := r.manifest(ctx, index, s)
		switch {
		case errors.Is(err, ErrCorrupt) || errors.Is(err, ErrManifest) || errors.Is(err, ErrUnsafeName):
			names = append(names, fmt.Sprintf("%s (%s)", short(s.ID), unreadable(err)))
		case err != nil:
			return 0, "", err
		case m.holds(tenant, keyVersion):
			names = append(names, fmt.Sprintf("%s (%s)", short(s.ID), s.Time.UTC().Format("2006-01-02 15:04")))
		}
	}
	if len(names) == 0 {
		return 0, "", nil
	}
	return len(names), fmt.Sprintf("snapshots %s in %s", strings.Join(names, ", "), r.Name()), nil
}

func unreadable(err error) string {
	if file, ok := errors.AsType[*FileError](err); ok {
		return "unreadable: " + file.File
	}
	return "unreadable: no manifest that verifies"
}

func (m *Manifest) holds(tenant string, keyVersion uint32) bool {
	return slices.ContainsFunc(m.KeyVersions, func(g KeyVersionCount) bool { return g.Tenant == tenant && g.KeyVersion == keyVersion })
}

// countLocks counts the locks that somebody may hold. A damaged one is
// nobody's: a lock that holds is written whole.
func (r *Repository) countLocks(ctx context.Context) (n int, err error) {
	files, err := listIDs(ctx, r.store, lockFolder)
	if err != nil {
		return 0, err
	}
	for id := range files {
		_, err := r.loadFile(ctx, lockFolder, id)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return 0, err
		}
		if err == nil {
			n++
		}
	}
	return n, nil
}
