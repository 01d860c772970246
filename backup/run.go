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

	"github.com/crmguard/crmguard/internal/canon"
)

// run is one RunOnce.
type run struct {
	job     *Job
	started time.Time // by the job's clock
	mono    time.Time // the same moment by a clock that nobody sets
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := r.checkClock(); err != nil {
		return nil, err
	}
	if err := r.fan.each(ctx, func(ctx context.Context, t *target) (err error) {
		ctx, cancel := context.WithTimeout(ctx, lockRefresh) // nothing watches over it yet
		defer cancel()
		t.lock, err = acquire(ctx, t.repo, r.job.now)
		return err
	}); err != nil {
		return nil, err
	}
	defer r.keepLocks(ctx, cancel)()
	r.fan.tellApart(ctx)
	if err := r.fan.level(ctx); err != nil {
		return nil, err
	}
	known, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	if r.pipe, err = newPipeline(ctx, r.fan, r.fan.targets[0].repo.master, known); err != nil {
		return nil, err
	}
	defer r.pipe.close()
	if err := r.read(ctx); err != nil {
		if len(r.fan.alive()) == 0 {
			err = r.fan.errs() // that is why the sources were stopped
		}
		return nil, err
	}
	return r.commit(ctx)
}

// keepLocks refreshes the locks until the returned func is called, each by
// itself: a store that hangs must not cost another one its lock. A store whose
// lock is not renewed fails, and without any store the run is cancelled.
func (r *run) keepLocks(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	ctx, done := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, t := range r.fan.alive() {
		all.Go(func() {
			err := t.lock.keepFresh(ctx)
			if ctx.Err() != nil {
				return
			}
			t.fail(err)
			if len(r.fan.alive()) == 0 {
				cancel(r.fan.errs())
			}
		})
	}
	return func() {
		done()
		all.Wait()
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

// load reads the snapshots and indexes of the stores, and returns for each the
// blobs that it is sure to have. A store that lost packs fails as long as
// another one is whole: to store its share again would make that one grow.
// Where none is whole all go on, and lean on nothing that is damaged.
func (r *run) load(ctx context.Context) (known []*blobIndex, err error) {
	var newest Snapshot
	var holder *target
	sure := map[*target]*blobIndex{}
	whole := false
	for _, t := range r.fan.alive() {
		var snapshots []Snapshot
		var damaged []error
		t.try(ctx, func(ctx context.Context, t *target) (err error) {
			if snapshots, damaged, err = t.repo.readSnapshots(ctx); err == nil {
				sure[t], err = t.sure(ctx)
			}
			return err
		})
		if sure[t] == nil || t.failed() != nil {
			continue
		}
		for _, err := range damaged {
			t.problem(err)
		}
		whole = whole || len(t.lost) == 0
		if n := len(snapshots); n > 0 && snapshots[n-1].Time.After(newest.Time) {
			newest, holder = snapshots[n-1], t
		}
	}
	for _, t := range r.fan.alive() {
		if whole && len(t.lost) > 0 {
			t.fail(corrupt("%d packs are missing, cut or damaged (Problems names them): remove what is damaged, and the next run brings back what another store holds; for the rest run restic rebuild-index", len(t.lost)))
			continue
		}
		known = append(known, sure[t])
	}
	if len(known) == 0 {
		return nil, r.fan.errs()
	}
	return known, r.checkNewest(newest, holder)
}

// read asks for the heads and runs the sources, in the order that makes the
// manifest true: what must not be newer than the data before, what must
// cover it after.
func (r *run) read(ctx context.Context) error {
	j := r.job
	r.manifest = Manifest{
		V: 1, Job: j.Name, Started: canon.FormatTime(r.started), App: j.App, Schema: j.Schema,
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
	if err := r.countKeyVersions(ctx, counts); err != nil {
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
	if err := r.countKeyVersions(ctx, counts); err != nil {
		return err
	}
	r.manifest.KeyVersions = keyVersionList(counts)
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

// countKeyVersions merges the present counts, the higher one of each.
func (r *run) countKeyVersions(ctx context.Context, counts map[string]map[uint32]int64) error {
	if r.job.KeyVersions == nil {
		return nil
	}
	now, err := r.job.KeyVersions(ctx)
	if err != nil {
		return &SourceError{Source: "key versions", Err: err}
	}
	for tenant, keyVersions := range now {
		if tenant == "" {
			return &SourceError{Source: "key versions", Err: badConfig("an empty tenant")}
		}
		if counts[tenant] == nil {
			counts[tenant] = map[uint32]int64{}
		}
		for keyVersion, n := range keyVersions {
			counts[tenant][keyVersion] = max(counts[tenant][keyVersion], n)
		}
	}
	return nil
}

// generationList leaves out key versions that hold nothing.
func keyVersionList(counts map[string]map[uint32]int64) []KeyVersionCount {
	var list []KeyVersionCount
	for tenant, keyVersions := range counts {
		for keyVersion, n := range keyVersions {
			if n > 0 {
				list = append(list, KeyVersionCount{Tenant: tenant, KeyVersion: keyVersion, Count: n})
			}
		}
	}
	slices.SortFunc(list, func(a, b KeyVersionCount) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), cmp.Compare(a.KeyVersion, b.KeyVersion))
	})
	return list
}

// commit writes the manifest, what is left of the packs, the indexes, and at
// last the snapshot, once a key copy covers it.
func (r *run) commit(ctx context.Context) (*Result, error) {
	manifest, err := r.manifest.encode(ctx, r.tagger())
	if err == nil {
		_, err = DecodeManifest(ctx, manifest, r.tagger()) // what our own reader refuses restores nothing
	}
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
	if err := r.checkClock(); err != nil {
		return nil, err
	}
	document, err := r.snapshot(tree)
	if err != nil {
		return nil, err
	}
	sealed, err := r.pipe.own.file(document)
	if err != nil {
		return nil, err
	}
	id, err := r.fan.commit(ctx, snapFolder, sealed, nil)
	if err != nil {
		return nil, err
	}
	digest := hashOf(manifest)
	result := &Result{
		Snapshot: id.String(), Manifest: hex.EncodeToString(digest[:]), Files: r.files, Bytes: r.bytes, Started: r.started,
	}
	for _, t := range r.fan.targets {
		store := t.report()
		if store.Err == nil {
			result.Added = store.Bytes
		}
		result.Stores = append(result.Stores, store)
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

// snapshot carries the time at which the run began, as the manifest does.
func (r *run) snapshot(tree blobID) ([]byte, error) {
	paths := make([]string, 0, len(r.top))
	for name := range r.top {
		paths = append(paths, "/"+name)
	}
	slices.Sort(paths)
	return json.Marshal(snapshotJSON{
		Time: r.started, Tree: &tree, Paths: paths, Hostname: nobody, Username: nobody,
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)), Tags: []string{ownTag, jobTag + r.job.Name},
	})
}
