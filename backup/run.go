package backup

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// run is one RunOnce.
type run struct {
	job     *Job
	started time.Time
	fan     *fanout
	pipe    *pipeline

	manifest Manifest
	files    int
	bytes    int64
	top      map[string]*node
}

// do locks, writes and unlocks. The order of writing is packs, indexes,
// snapshot, each durable before the next, so that a crash leaves at worst
// packs that nothing names.
func (r *run) do(ctx context.Context) (result *Result, err error) {
	defer func() { err = errors.Join(err, r.unlock(ctx)) }()
	if err := r.fan.each(ctx, func(t *target) (err error) {
		t.lock, err = acquire(ctx, t.repo, r.job.now)
		return err
	}); err != nil {
		return nil, err
	}
	defer r.keepLocks(ctx)()
	if err := r.fan.level(ctx); err != nil {
		return nil, err
	}
	index, newest, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	if r.pipe, err = newPipeline(ctx, r.fan, r.fan.targets[0].repo.master, index); err != nil {
		return nil, err
	}
	defer r.pipe.close()
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	return r.commit(ctx, newest)
}

// keepLocks refreshes the locks until the returned func is called.
func (r *run) keepLocks(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(lockRefresh)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			for _, t := range r.fan.alive() {
				if err := t.lock.refresh(ctx); err != nil && ctx.Err() == nil {
					t.fail(err)
				}
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

func (r *run) unlock(ctx context.Context) error {
	var errs []error
	for _, t := range r.fan.targets {
		if t.lock != nil {
			errs = append(errs, t.lock.release(ctx))
		}
	}
	return errors.Join(errs...)
}

// load reads the index: the blobs that every store is sure to have.
func (r *run) load(ctx context.Context) (index *blobIndex, newest time.Time, err error) {
	for _, t := range r.fan.alive() {
		snapshots, err := t.repo.Snapshots(ctx)
		var x *blobIndex
		if err == nil {
			x, err = t.repo.index(ctx)
		}
		if err == nil {
			x, err = t.whole(x)
		}
		if err != nil {
			t.fail(err)
			continue
		}
		if index != nil {
			x = index.common(x)
		}
		if index = x; len(snapshots) > 0 {
			newest = snapshots[len(snapshots)-1].Time
		}
	}
	if index == nil {
		return nil, newest, r.fan.errs()
	}
	return index, newest, nil
}

// read asks for the heads and runs the sources, in the order that makes the
// manifest true: what must not be newer than the data before, what must
// cover it after.
func (r *run) read(ctx context.Context) error {
	j := r.job
	r.manifest = Manifest{
		V: 1, Job: j.Name, Started: r.started.Format(timeFormat), App: j.App, Schema: j.Schema,
		Chunker: ManifestChunker{Name: chunkerName, Min: chunkerMin, Normal: chunkerNormal, Max: chunkerMax},
	}
	var err error
	if r.manifest.LedgerHead, err = position(ctx, "ledger", j.Positions.Ledger); err != nil {
		return err
	}
	if r.manifest.AuditCheckpoint, err = position(ctx, "audit", j.Positions.Trail); err != nil {
		return err
	}
	counts := map[string]map[uint32]int64{}
	if err := r.countGenerations(ctx, counts); err != nil {
		return err
	}
	r.top = map[string]*node{}
	for _, s := range j.Sources {
		w, n, entries, err := readSource(ctx, s, r.pipe, r.tagger())
		if err != nil {
			return err
		}
		r.top[s.Name()] = n
		r.manifest.Sources = append(r.manifest.Sources, entries...)
		r.files += w.files
		r.bytes += w.bytes
	}
	if err := r.countGenerations(ctx, counts); err != nil {
		return err
	}
	r.manifest.Generations = generationList(counts)
	r.manifest.KeyPosition, err = position(ctx, "keys", j.Positions.Keys)
	return err
}

func (r *run) tagger() Tagger { return r.job.Repositories[0].cfg.Manifests }

// position calls one of the funcs of Positions; its bytes must be text.
func position(ctx context.Context, what string, of func(ctx context.Context) ([]byte, error)) (string, error) {
	if of == nil {
		return "", nil
	}
	head, err := of(ctx)
	if err != nil {
		return "", &SourceError{Source: "position of " + what, Err: err}
	}
	if len(head) == 0 || !utf8.Valid(head) {
		return "", &SourceError{Source: "position of " + what, Err: badConfig("a position is non-empty text")}
	}
	return string(head), nil
}

// countGenerations merges the present counts, the higher one of each.
func (r *run) countGenerations(ctx context.Context, counts map[string]map[uint32]int64) error {
	if r.job.Generations == nil {
		return nil
	}
	now, err := r.job.Generations(ctx)
	if err != nil {
		return &SourceError{Source: "key generations", Err: err}
	}
	for tenant, generations := range now {
		if tenant == "" {
			return &SourceError{Source: "key generations", Err: badConfig("an empty tenant")}
		}
		if counts[tenant] == nil {
			counts[tenant] = map[uint32]int64{}
		}
		for generation, n := range generations {
			counts[tenant][generation] = max(counts[tenant][generation], n)
		}
	}
	return nil
}

// generationList leaves out generations that hold nothing.
func generationList(counts map[string]map[uint32]int64) []GenerationCount {
	var list []GenerationCount
	for tenant, generations := range counts {
		for generation, n := range generations {
			if n > 0 {
				list = append(list, GenerationCount{Tenant: tenant, Generation: generation, Count: n})
			}
		}
	}
	slices.SortFunc(list, func(a, b GenerationCount) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Generation, b.Generation))
	})
	return list
}

// commit writes the manifest, what is left of the packs, the indexes, and at
// last the snapshot, once a key copy covers it.
func (r *run) commit(ctx context.Context, newest time.Time) (*Result, error) {
	manifest, err := r.manifest.encode(ctx, r.tagger())
	if err != nil {
		return nil, err
	}
	tree, err := r.saveTop(manifest)
	if err != nil {
		return nil, err
	}
	if err := r.pipe.finish(); err != nil {
		return nil, err
	}
	if r.job.KeyCopy != nil {
		if err := r.job.KeyCopy(ctx, []byte(r.manifest.KeyPosition)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKeyCopy, err)
		}
	}
	document, err := r.snapshot(tree, newest)
	if err != nil {
		return nil, err
	}
	id, err := r.fan.putFile(ctx, snapFolder, r.pipe.own.file(document))
	if err != nil {
		return nil, err
	}
	digest := hashOf(manifest)
	result := &Result{
		Snapshot: id.String(), Manifest: hex.EncodeToString(digest[:]), Files: r.files, Bytes: r.bytes, Started: r.started,
	}
	for _, t := range r.fan.targets {
		t.result.Err = t.failed()
		if t.result.Err == nil {
			result.Added = t.result.Bytes
		}
		result.Stores = append(result.Stores, t.result)
	}
	return result, r.fan.errs()
}

// saveTop stores the manifest and the root of the snapshot.
func (r *run) saveTop(manifest []byte) (blobID, error) {
	content, err := r.pipe.save(r.pipe.own, manifest, false)
	if err != nil {
		return blobID{}, err
	}
	file := newNode(nodeFile, 0o600, r.started)
	file.Size, file.Content = uint64(len(manifest)), []blobID{content}
	own, err := r.pipe.saveTree(map[string]*node{manifestFile: file})
	if err != nil {
		return blobID{}, err
	}
	folder := newNode(nodeDir, fs.ModeDir|0o700, r.started)
	folder.Subtree = &own
	r.top[ownFolder] = folder
	return r.pipe.saveTree(r.top)
}

// snapshot is later than every other one: "latest" is by time, and a clock
// that was set back must not hide a new snapshot. The manifest keeps the
// clock's own word.
func (r *run) snapshot(tree blobID, newest time.Time) ([]byte, error) {
	at := r.started
	if !at.After(newest) {
		at = newest.UTC().Add(time.Microsecond)
	}
	paths := make([]string, 0, len(r.top))
	for name := range r.top {
		paths = append(paths, "/"+name)
	}
	slices.Sort(paths)
	return json.Marshal(snapshotJSON{
		Time: at, Tree: &tree, Paths: paths, Hostname: nobody, Username: nobody,
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)), Tags: []string{ownTag, jobTag + r.job.Name},
	})
}
