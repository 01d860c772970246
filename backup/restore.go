package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
)

// RestoreReport is what a restore did.
type RestoreReport struct {
	Snapshot string
	Manifest *Manifest // nil when the snapshot has none that verifies
	Verified bool      // the files on disk equal the manifest's digests
	Files    int
	Bytes    int64
	Read     time.Duration // time until all files were on disk and verified
	Steps    []StepReport
	Took     time.Duration
}

// Restore brings a snapshot into dir, which must be empty or missing: a
// staging folder that nobody reads yet. It compares the files on disk with
// the manifest, runs the steps in order, and marks dir as open. After any
// error dir stays closed, see [Opened]; the report says how far it came.
//
// The steps must meet what the manifest needs ([Manifest.Needs]); without one
// of them nothing is restored ([NeedError]). To look at a snapshot without
// steps, copy what [Repository.Files] gives. Where data is damaged, what is
// whole is restored all the same, into a folder that stays closed, and a
// [LossError] names the files that are lost.
//
// A repository that was opened without Config.Manifests restores snapshots of
// any program: unverified against a manifest, and without steps, unless the
// manifest was tagged with the Key. A manifest of another tagger that needs
// steps needs that tagger, too. Owners are not restored, and what comes back
// can be read and written by its owner.
func (r *Repository) Restore(ctx context.Context, id, dir string, steps ...Step) (*RestoreReport, error) {
	for _, s := range steps {
		if err := s.validate(); err != nil {
			return nil, err
		}
	}
	if len(steps) > 0 && r.cfg.Manifests == nil {
		return nil, badConfig("steps run only on verified data: open the repository with Config.Manifests or a MachineKey")
	}
	started := r.cfg.now()
	s, index, err := r.findWithIndex(ctx, id)
	if err != nil {
		return nil, err
	}
	report := &RestoreReport{Snapshot: s.ID}
	defer func() { report.Took = r.cfg.now().Sub(started) }()
	manifest, lost := r.proof(ctx, index, s, steps)
	if lost != nil && !errors.Is(lost, ErrCorrupt) {
		return report, lost
	}
	report.Manifest = manifest
	root, err := emptyFolder(dir)
	if err != nil {
		return report, err
	}
	defer root.Close()
	out := durable.On(durable.Root(root), markPrefix).Over(r.over)
	w := &restorer{repo: r, index: index, root: root, out: out, report: report, foreign: manifest == nil && lost == nil}
	if err := w.all(ctx, s); err != nil {
		return report, err
	}
	if lost != nil {
		return report, lost
	}
	if report.Manifest != nil {
		if err := verifyFolder(ctx, root, report.Manifest, r.cfg.Manifests); err != nil {
			return report, err
		}
		report.Verified = true
	}
	report.Read = r.cfg.now().Sub(started)
	for _, step := range steps {
		begun := r.cfg.now()
		if err := step.Run(ctx, dir); err != nil {
			return report, &StepError{Step: step.Name, Remedy: restoreRemedy, Err: err}
		}
		report.Steps = append(report.Steps, StepReport{Name: step.Name, Took: r.cfg.now().Sub(begun)})
	}
	mark := opened{Snapshot: s.ID, Opened: canon.FormatTime(r.cfg.now()), Verified: report.Verified, Met: metBy(steps)}
	if err := markOpened(out, mark); err != nil {
		return report, err
	}
	r.cfg.observe(ctx, "backup.restore.seconds", r.cfg.now().Sub(started).Seconds())
	r.cfg.observe(ctx, "backup.restore.bytes", float64(report.Bytes))
	return report, nil
}

// proof returns the verified manifest of a snapshot, whose needs the steps
// meet. Where nobody demands one, because there is no tagger, or it came from
// the Key and no step needs it, what another program or tagger made has none.
func (r *Repository) proof(ctx context.Context, index *blobIndex, s Snapshot, steps []Step) (*Manifest, error) {
	demanded := len(steps) > 0 || (r.cfg.Manifests != nil && !r.cfg.ofKey)
	m, verified, err := r.manifest(ctx, index, s)
	switch {
	case errors.Is(err, errNoManifest) && !demanded:
		return nil, nil
	case err != nil:
		return nil, err
	case !verified && demanded:
		return nil, fmt.Errorf("snapshot %s: %w", short(s.ID), errOtherTagger)
	}
	if err := m.unmet(metBy(steps)); err != nil { // verified or not: what it asks for was not done
		return nil, err
	}
	if !verified {
		return nil, nil
	}
	return m, nil
}

// emptyFolder opens dir for a restore.
func emptyFolder(dir string) (*os.Root, error) {
	if dir == "" {
		return nil, fmt.Errorf("%w: name a folder", ErrTarget)
	}
	made, err := durable.Make(dir, markPrefix, 0o700)
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	f, err := root.Open(".")
	if err == nil {
		var names []string
		if names, err = f.Readdirnames(1); len(names) > 0 {
			err = errors.New("it holds something")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrTarget, err), root.Close())
	}
	return root, nil
}

// restorer writes a snapshot below a root that names cannot leave.
type restorer struct {
	repo    *Repository
	index   *blobIndex
	root    *os.Root
	out     *durable.Folder // the same
	report  *RestoreReport
	foreign bool // no manifest of ours: links are restored
	pending []link
	lost    []LostFile
}

type link struct{ path, target string }

// all writes what is whole, and says what is not.
func (w *restorer) all(ctx context.Context, s Snapshot) error {
	if err := w.folder(ctx, s.tree, ".", 0); err != nil {
		return err
	}
	if err := w.sync("."); err != nil {
		return err
	}
	if err := w.links(); err != nil {
		return err
	}
	if len(w.lost) > 0 {
		return &LossError{Snapshot: s.ID, Files: w.lost}
	}
	return nil
}

// lose notes what damage costs. Everything else ends the restore.
func (w *restorer) lose(path string, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	w.lost = append(w.lost, LostFile{Path: path, Err: err})
	return nil
}

func (w *restorer) folder(ctx context.Context, id blobID, dir string, depth int) error {
	if depth > maxDepth {
		return w.lose(filepath.ToSlash(dir)+"/", corrupt("folders deeper than %d", maxDepth))
	}
	nodes, err := w.repo.loadTree(ctx, w.index, id)
	if err != nil {
		return w.lose(filepath.ToSlash(dir)+"/", err)
	}
	for _, n := range nodes {
		path := filepath.Join(dir, n.Name)
		if err := w.entry(ctx, n, path, depth); err != nil {
			return atEntry(path, err)
		}
	}
	return nil
}

func (w *restorer) entry(ctx context.Context, n *node, path string, depth int) error {
	// Some file systems take names in any case, and a link leads elsewhere.
	if strings.EqualFold(path, filepath.Join(ownFolder, openedFile)) || (strings.EqualFold(path, ownFolder) && n.Type != nodeDir) {
		return fmt.Errorf("%w: the mark of an opened restore", ErrUnsafeName)
	}
	switch {
	case n.Type == nodeDir:
		return w.subfolder(ctx, n, path, depth)
	case n.Type == nodeFile:
		return w.file(ctx, n, path)
	case n.Type == nodeLink && w.foreign:
		w.pending = append(w.pending, link{path: path, target: n.LinkTarget})
		return nil
	}
	// No source of ours writes such an entry.
	return fmt.Errorf("%w: an entry that is neither a file nor a folder", ErrUnsafeName)
}

// atEntry keeps the innermost path.
func atEntry(path string, err error) error {
	if _, ok := errors.AsType[*EntryError](err); ok {
		return err
	}
	return &EntryError{Path: filepath.ToSlash(path), Err: err}
}

func (w *restorer) subfolder(ctx context.Context, n *node, path string, depth int) error {
	if err := w.root.Mkdir(path, 0o700); err != nil {
		return w.diskError(err)
	}
	if err := w.folder(ctx, *n.Subtree, path, depth+1); err != nil {
		return err
	}
	if err := w.finish(n, path, n.Mode.Perm()|0o700); err != nil {
		return err
	}
	return w.sync(path)
}

func (w *restorer) file(ctx context.Context, n *node, path string) error {
	f, err := w.out.New(filepath.ToSlash(path), 0o600)
	if err != nil {
		return w.diskError(err)
	}
	size, err := w.content(ctx, n, f)
	if err == nil { // before the flush, which is for that, too
		err = w.finish(n, path, n.Mode.Perm()|0o600)
	}
	if err == nil {
		err = w.diskError(f.Flush())
	}
	if err = errors.Join(err, w.diskError(f.Discard())); errors.Is(err, ErrCorrupt) {
		// Half a file must not pass for one.
		return errors.Join(w.lose(filepath.ToSlash(path), err), w.diskError(w.root.Remove(path)))
	} else if err != nil {
		return err
	}
	w.report.Files++
	w.report.Bytes += size
	if runtime.GOOS == "windows" { // where closing sets the time
		return w.finish(n, path, n.Mode.Perm()|0o600)
	}
	return nil
}

func (w *restorer) content(ctx context.Context, n *node, f io.Writer) (size int64, err error) {
	for _, content := range n.Content {
		plain, err := w.repo.loadBlob(ctx, w.index, blobKey{id: content})
		if err != nil {
			return size, err
		}
		if _, err := f.Write(plain); err != nil {
			return size, w.diskError(err)
		}
		size += int64(len(plain))
	}
	if size != int64(n.Size) {
		return size, corrupt("a file has another size than its content")
	}
	return size, nil
}

func (w *restorer) finish(n *node, path string, perm fs.FileMode) error {
	if err := w.root.Chmod(path, perm); err != nil {
		return w.diskError(err)
	}
	if err := w.root.Chtimes(path, n.ModTime, n.ModTime); err != nil {
		return w.diskError(err)
	}
	return nil
}

// links come last: nothing is ever written through one.
func (w *restorer) links() error {
	for _, l := range w.pending {
		if err := w.root.Symlink(l.target, l.path); err != nil {
			return atEntry(l.path, w.diskError(err))
		}
	}
	for i, l := range w.pending { // those of one folder mostly follow each other
		dir := filepath.Dir(l.path)
		if i+1 < len(w.pending) && filepath.Dir(w.pending[i+1].path) == dir {
			continue
		}
		if err := w.sync(dir); err != nil {
			return err
		}
	}
	return nil
}

func (w *restorer) sync(dir string) error {
	return w.diskError(w.out.Sync(filepath.ToSlash(dir)))
}

func (w *restorer) diskError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("backup: write the restored files: %w", withoutPath(err))
}

// verifyFolder compares the files below root with the manifest: every source
// has exactly the files that were read, and nothing else is there.
func verifyFolder(ctx context.Context, root *os.Root, m *Manifest, tagger Tagger) error {
	top, err := readNames(root, ".")
	if err != nil {
		return err
	}
	named := []string{ownFolder}
	for _, s := range m.Sources {
		if s.Kind == KindTable {
			continue
		}
		named = append(named, s.Name)
		if !slices.Contains(top, s.Name) {
			return fmt.Errorf("%w: source %q is missing", ErrManifest, s.Name)
		}
		if err := verifySource(ctx, root, s, tagger); err != nil {
			return err
		}
	}
	if len(named) != len(top) {
		return fmt.Errorf("%w: there are folders that it does not name", ErrManifest)
	}
	own, err := readNames(root, ownFolder)
	if err == nil && len(own) != 1 {
		err = fmt.Errorf("%w: more than a manifest in %s", ErrManifest, ownFolder)
	}
	return err
}

func verifySource(ctx context.Context, root *os.Root, s ManifestSource, tagger Tagger) error {
	files, err := listFiles(ctx, root, s.Name, "", nil)
	if err != nil {
		return err
	}
	if int64(len(files)) != s.Rows {
		return fmt.Errorf("%w: source %q has %d files, not %d", ErrManifest, s.Name, len(files), s.Rows)
	}
	slices.Sort(files)
	sum := sha256.New()
	for _, path := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := root.Open(s.Name + "/" + path)
		if err != nil {
			return withoutPath(err)
		}
		info, err := f.Stat()
		if err == nil {
			writeFileHead(sum, path, info.Size())
			_, err = io.Copy(sum, f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return withoutPath(err)
		}
	}
	return s.VerifyDigest(ctx, tagger, [32]byte(sum.Sum(nil)))
}

// listFiles lists the files below base, slash-separated and relative to it.
func listFiles(ctx context.Context, root *os.Root, base, dir string, files []string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := root.Open(strings.TrimSuffix(base+"/"+dir, "/"))
	if err != nil {
		return nil, withoutPath(err)
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, withoutPath(err)
	}
	for _, e := range entries {
		switch {
		case e.IsDir():
			if files, err = listFiles(ctx, root, base, dir+e.Name()+"/", files); err != nil {
				return nil, err
			}
		case e.Type().IsRegular():
			files = append(files, dir+e.Name())
		default:
			return nil, errNotRegular
		}
	}
	return files, nil
}

func readNames(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, withoutPath(err)
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}
