package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Depth says how much Check reads.
type Depth int

// The depths of a check.
const (
	Structure Depth = iota // everything but the content of packs: config, keys, locks, indexes, snapshots, folder listings, manifests, the names and sizes of packs
	ReadAll                // every byte of every file
)

// CheckReport is what a check read, what it found, and what it did not read.
type CheckReport struct {
	Snapshots, Packs, Blobs int
	Bytes                   int64         // of the files that were read whole
	Problems                []error       // each is or wraps *FileError where a file is at fault
	Foreign                 []string      // what is no file of a repository, by path with what it is: it harms nothing
	NotRead                 []string      // what this depth, or a problem, left unread
	Unused                  int           // packs that no index names: left by an interrupted run, harmless
	Took                    time.Duration // by the repository's clock
}

// Check reads the repository back. known are ids of snapshots, kept
// elsewhere, that must be there: nothing inside a repository shows that a
// whole snapshot was deleted. A report with problems comes with an error that
// wraps ErrCorrupt and the first of them; another error means that the check
// could not be done.
func (r *Repository) Check(ctx context.Context, depth Depth, known ...string) (*CheckReport, error) {
	if depth != Structure && depth != ReadAll {
		return nil, badConfig("an unknown depth")
	}
	started := r.cfg.now()
	c := &checker{repo: r, depth: depth, report: &CheckReport{}, index: newBlobIndex(nil), packs: map[blobID]indexedPack{}}
	for _, part := range []func(ctx context.Context) error{
		c.checkPlace, c.checkConfig, c.checkKeys, c.checkLocks, c.listSnapshots, c.checkIndexes, c.checkPacks, c.checkSnapshots,
	} {
		if err := part(ctx); err != nil {
			if ctx.Err() != nil || !errors.Is(err, ErrCorrupt) {
				return c.report, err
			}
			c.problem(err)
			c.notRead("what comes after the first problem listed last")
			break
		}
	}
	c.checkKnown(known)
	c.report.Took = r.cfg.now().Sub(started)
	r.checked.took(c.report, r.cfg.now())
	r.cfg.observe(ctx, "backup.check.problems", float64(len(c.report.Problems)))
	if n := len(c.report.Problems); n > 0 {
		return c.report, fmt.Errorf("%w: %d problems, the first: %w", ErrCorrupt, n, c.report.Problems[0])
	}
	return c.report, nil
}

type checker struct {
	repo      *Repository
	depth     Depth
	report    *CheckReport
	index     *blobIndex
	packs     map[blobID]indexedPack
	snapshots []Snapshot
	trees     map[blobID]bool
}

func (c *checker) problem(err error) { c.report.Problems = append(c.report.Problems, err) }

func (c *checker) notRead(what string, args ...any) {
	c.report.NotRead = append(c.report.NotRead, fmt.Sprintf(what, args...))
}

func (c *checker) fileProblem(name string, err error) {
	c.problem(&FileError{Store: c.repo.store.Name(), File: name, Err: err})
}

// damage separates a store that does not answer from a file that is damaged.
func (c *checker) damage(err error) error {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsafeName) || errors.Is(err, ErrManifest) {
		c.problem(err)
		return nil
	}
	return err
}

// list lists a folder and notes what does not belong there.
func (c *checker) list(ctx context.Context, folder string) (map[blobID]int64, error) {
	return listFolder(ctx, c.repo.store, folder, func(info Info) {
		c.report.Foreign = append(c.report.Foreign, info.Name+": "+foreignKind(info))
	})
}

// checkPlace looks for what stands beside the folders of a repository.
func (c *checker) checkPlace(ctx context.Context) error {
	for info, err := range c.repo.store.List(ctx, "") {
		if err != nil {
			return &StoreError{Store: c.repo.store.Name(), Err: err}
		}
		top, _, _ := strings.Cut(info.Name, "/")
		if !slices.Contains([]string{keyFolder, dataFolder, indexFolder, snapFolder, lockFolder, configFile}, top) {
			c.report.Foreign = append(c.report.Foreign, info.Name+": "+foreignKind(info))
		}
	}
	return nil
}

func (c *checker) checkConfig(ctx context.Context) error {
	sealed, err := readFile(ctx, c.repo.store, configFile, maxSmallFile)
	if err != nil {
		return c.damage(err)
	}
	c.report.Bytes += int64(len(sealed))
	if err := c.repo.ownConfig(sealed); err != nil {
		c.fileProblem(configFile, err)
	}
	return nil
}

// checkKeys proves every key file against its name; those of other passwords
// cannot be opened.
func (c *checker) checkKeys(ctx context.Context) error {
	files, err := c.list(ctx, keyFolder)
	if err != nil {
		return c.damage(err)
	}
	if len(files) == 0 {
		c.fileProblem(keyFolder, corrupt("no key files"))
	}
	password, _ := c.repo.cfg.Key.secret()
	budget := int64(maxOpenWork)
	for id, size := range files {
		f, _, err := loadKeyFile(ctx, c.repo.store, id)
		if err != nil {
			if err := c.damage(err); err != nil {
				return err
			}
			continue
		}
		c.report.Bytes += size
		if budget -= f.work(); budget < 0 {
			c.notRead("the sealed part of key file %s: the derivation of all of them costs too much", short(id.String()))
			continue
		}
		master, err := f.open(password)
		switch {
		case errors.Is(err, errOtherPassword):
			c.notRead("the sealed part of key file %s: another password opens it", short(id.String()))
		case err != nil:
			c.fileProblem(fileName(keyFolder, id), err)
		case !master.equal(c.repo.master):
			c.fileProblem(fileName(keyFolder, id), corrupt("a key file of another repository"))
		}
	}
	return nil
}

func (c *checker) checkLocks(ctx context.Context) error {
	files, err := c.list(ctx, lockFolder)
	if err != nil {
		return c.damage(err)
	}
	for id, size := range files {
		if _, err := c.repo.loadFile(ctx, lockFolder, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if err := c.damage(err); err != nil {
				return err
			}
		}
		c.report.Bytes += size
	}
	return nil
}

// listSnapshots comes before the indexes: what a seen snapshot needs is
// indexed by then.
func (c *checker) listSnapshots(ctx context.Context) error {
	files, err := c.list(ctx, snapFolder)
	if err != nil {
		return c.damage(err)
	}
	for id, size := range files {
		s, err := c.repo.readSnapshot(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten since it was listed
		}
		if err != nil {
			if err := c.damage(err); err != nil {
				return err
			}
			continue
		}
		c.report.Bytes += size
		c.snapshots = append(c.snapshots, s)
	}
	c.report.Snapshots = len(c.snapshots)
	return nil
}

func (c *checker) checkIndexes(ctx context.Context) error {
	files, err := c.list(ctx, indexFolder)
	if err != nil {
		return c.damage(err)
	}
	c.index = newBlobIndex(files)
	for id, size := range files {
		packs, err := c.repo.loadIndex(ctx, id)
		if err != nil {
			if err := c.damage(err); err != nil {
				return err
			}
			continue
		}
		c.report.Bytes += size
		for _, p := range packs {
			c.index.add(p)
			// Another program need not list blobs in the order of the pack.
			slices.SortFunc(p.blobs, func(a, b packedBlob) int { return cmp.Compare(a.offset, b.offset) })
			c.packs[p.id] = p
		}
	}
	return nil
}

// checkPacks compares the packs in the store with the indexes, and reads
// them when asked to.
func (c *checker) checkPacks(ctx context.Context) error {
	files, err := c.list(ctx, dataFolder)
	if err != nil {
		return c.damage(err)
	}
	for id, p := range c.packs {
		size, ok := files[id]
		if !ok {
			c.fileProblem(fileName(dataFolder, id), corrupt("the pack is missing"))
		} else if size != p.size() {
			c.fileProblem(fileName(dataFolder, id), corrupt("the pack has %d bytes and should have %d", size, p.size()))
		}
	}
	var unread int64
	for id, size := range files {
		if _, ok := c.packs[id]; !ok {
			c.report.Unused++
		}
		if c.depth != ReadAll {
			unread += size
			continue
		}
		if err := c.readPack(ctx, id, size); err != nil {
			return err
		}
	}
	c.report.Packs = len(files)
	if c.depth != ReadAll {
		c.notRead("content of %d packs, %d bytes", len(files), unread)
	}
	return nil
}

func (c *checker) readPack(ctx context.Context, id blobID, size int64) error {
	want, indexed := c.packs[id]
	n := 0
	for b, err := range c.repo.packBlobs(ctx, id, size) {
		if err != nil {
			return c.damage(err)
		}
		if indexed && (n >= len(want.blobs) || want.blobs[n].id.String() != b.ID || want.blobs[n].tree != b.Tree ||
			want.blobs[n].plainLength() != len(b.Data)) {
			c.fileProblem(b.Pack, corrupt("the index says something else than the pack"))
			return nil
		}
		n++
	}
	if indexed && n != len(want.blobs) {
		c.fileProblem(fileName(dataFolder, id), corrupt("the index names blobs that the pack does not hold"))
	}
	c.report.Blobs += n
	c.report.Bytes += size
	return nil
}

// checkSnapshots walks every folder of every snapshot once, and verifies the
// manifests.
func (c *checker) checkSnapshots(ctx context.Context) error {
	c.trees = map[blobID]bool{}
	for _, s := range c.snapshots {
		if err := c.walk(ctx, s.tree, 0); err != nil {
			return err
		}
		if s.Job == "" && c.repo.cfg.Manifests == nil {
			continue
		}
		_, verified, err := c.repo.manifest(ctx, c.index, s)
		if err != nil {
			if s.Job == "" && errors.Is(err, ErrManifest) {
				c.notRead("no manifest in snapshot %s, which another program made", short(s.ID))
				continue
			}
			if errors.Is(err, ErrManifest) {
				c.fileProblem(snapFolder+"/"+s.ID, err)
			} else if err := c.damage(err); err != nil {
				return err
			}
		}
		if err == nil && !verified {
			c.notRead("mac of the manifest of snapshot %s: its tagger was not configured", short(s.ID))
		}
	}
	return nil
}

func (c *checker) walk(ctx context.Context, id blobID, depth int) error {
	if c.trees[id] {
		return nil
	}
	if depth > maxDepth {
		c.fileProblem(c.repo.packOf(c.index, blobKey{id: id, tree: true}), corrupt("folders deeper than %d", maxDepth))
		return nil
	}
	c.trees[id] = true
	nodes, err := c.repo.loadTree(ctx, c.index, id)
	if err != nil {
		return c.damage(err)
	}
	for _, n := range nodes {
		if n.Type == nodeDir {
			if err := c.walk(ctx, *n.Subtree, depth+1); err != nil {
				return err
			}
			continue
		}
		var size int64
		for _, content := range n.Content {
			found := c.index.find(blobKey{id: content})
			if len(found) == 0 {
				c.fileProblem(indexFolder, corrupt("no index names blob %s", content))
				continue
			}
			size += int64(found[0].plainLength())
		}
		if n.Type == nodeFile && size != int64(n.Size) {
			c.fileProblem(c.repo.packOf(c.index, blobKey{id: id, tree: true}), corrupt("a file in folder listing %s has another size than its content", short(id.String())))
		}
	}
	return nil
}

func (c *checker) checkKnown(known []string) {
	have := map[string]bool{}
	for _, s := range c.snapshots {
		have[s.ID] = true
	}
	for _, id := range known {
		if !have[id] {
			c.fileProblem(snapFolder+"/"+id, corrupt("a snapshot that was made is missing"))
		}
	}
}
