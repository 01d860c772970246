package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Manifest reads the manifest of a snapshot, verified when the repository
// was opened with a tagger, or when it was tagged with the Key. id is an id,
// the beginning of one, or [Latest].
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
// key generation. It is what DestroyGeneration of package encryption asks
// before it destroys one. A snapshot without a readable manifest is an error:
// nobody knows what it needs.
func (r *Repository) KeyHolders(ctx context.Context, tenant string, generation uint32) (count int, where string, err error) {
	if tenant == "" {
		return 0, "", badConfig("an empty tenant")
	}
	locks, err := listIDs(ctx, r.store, lockFolder) // before the snapshots: one that commits meanwhile is seen as either
	if err != nil {
		return 0, "", err
	}
	snapshots, err := r.Snapshots(ctx)
	if err != nil {
		return 0, "", err
	}
	if len(locks) > 0 {
		return len(locks), "a backup that is running (or a lock left behind) in " + r.Name(), nil
	}
	index, err := r.index(ctx)
	if err != nil {
		return 0, "", err
	}
	var names []string
	for _, s := range snapshots {
		m, _, err := r.manifest(ctx, index, s)
		if err != nil {
			return 0, "", err
		}
		for _, g := range m.Generations {
			if g.Tenant == tenant && g.Generation == generation {
				count++
				names = append(names, fmt.Sprintf("%s (%s)", short(s.ID), s.Time.UTC().Format("2006-01-02 15:04")))
				break
			}
		}
	}
	if count == 0 {
		return 0, "", nil
	}
	return count, fmt.Sprintf("snapshots %s in %s", strings.Join(names, ", "), r.Name()), nil
}
