package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
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
)

// Step is work on a restored folder before it may serve: rebuild lookup
// indexes, catch up the audit trail, replay the erasure ledger.
type Step struct {
	Name string
	Run  func(ctx context.Context, dir string) error
}

// RestoreReport is what a restore did.
type RestoreReport struct {
	Snapshot string
	Manifest *Manifest // nil when the snapshot has none
	Verified bool      // the files on disk equal the manifest's digests
	Files    int
	Bytes    int64
	Read     time.Duration // time until all files were on disk and verified
	Steps    []StepReport
	Took     time.Duration
}

// StepReport is one step that ran to its end.
type StepReport struct {
	Name string
	Took time.Duration
}

const (
	openedFile    = "opened.json"
	restoreRemedy = "the target stays closed: remove the cause, then restore again into an empty folder"
)

// opened is .crmguard/opened.json of a restored folder.
type opened struct {
	Snapshot string `json:"snapshot"`
	Opened   string `json:"opened"`
	Verified bool   `json:"verified"`
}

// Restore brings a snapshot into dir, which must be empty or missing: a
// staging folder that nobody reads yet. It compares the files on disk with
// the manifest, runs the steps in order, and marks dir as open. After any
// error dir stays closed, see [Opened]; the report says how far it came.
//
// A repository that was opened without Config.Manifests restores snapshots of
// any program: unverified against a manifest, and without steps, unless the
// manifest was tagged with the Key. Owners are not restored, and what comes
// back can be read and written by its owner.
func (r *Repository) Restore(ctx context.Context, id, dir string, steps ...Step) (*RestoreReport, error) {
	for _, s := range steps {
		if s.Name == "" || s.Run == nil {
			return nil, badConfig("a step without Name or Run")
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
	if r.cfg.Manifests != nil {
		if report.Manifest, err = r.proof(ctx, index, s, len(steps) > 0); err != nil {
			return report, err
		}
	}
	root, err := emptyFolder(dir)
	if err != nil {
		return report, err
	}
	defer root.Close()
	w := &restorer{repo: r, index: index, root: root, report: report}
	if err := w.folder(ctx, s.tree, ".", 0); err != nil {
		return report, err
	}
	if err := w.links(); err != nil {
		return report, err
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
	if err := markOpened(root, s, report.Verified, r.cfg.now()); err != nil {
		return report, err
	}
	r.cfg.observe(ctx, "backup.restore.seconds", r.cfg.now().Sub(started).Seconds())
	r.cfg.observe(ctx, "backup.restore.bytes", float64(report.Bytes))
	return report, nil
}

// proof returns the verified manifest of a snapshot. Where the tagger came from
// the Key, and no step needs it, what another program or tagger made has none.
func (r *Repository) proof(ctx context.Context, index *blobIndex, s Snapshot, needed bool) (*Manifest, error) {
	m, verified, err := r.manifest(ctx, index, s)
	if err == nil && !verified {
		m, err = nil, fmt.Errorf("snapshot %s: %w", short(s.ID), errOtherTagger)
	}
	if r.cfg.ofKey && !needed && (errors.Is(err, errOtherTagger) || errors.Is(err, errNoManifest)) {
		return nil, nil
	}
	return m, err
}

// emptyFolder opens dir for a restore.
func emptyFolder(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
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
	report  *RestoreReport
	pending []link
}

type link struct{ path, target string }

func (w *restorer) folder(ctx context.Context, id blobID, dir string, depth int) error {
	if depth > maxDepth {
		return corrupt("folders deeper than %d", maxDepth)
	}
	nodes, err := w.repo.loadTree(ctx, w.index, id)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		path := filepath.Join(dir, n.Name)
		if path == filepath.Join(ownFolder, openedFile) {
			return fmt.Errorf("%w: the mark of an opened restore", ErrUnsafeName)
		}
		switch {
		case n.Type == nodeDir:
			err = w.subfolder(ctx, n, path, depth)
		case n.Type == nodeFile:
			err = w.file(ctx, n, path)
		case n.Type == nodeLink && w.report.Manifest == nil:
			w.pending = append(w.pending, link{path: path, target: n.LinkTarget})
		default:
			// No source of ours writes such an entry.
			return fmt.Errorf("%w: an entry that is neither a file nor a folder", ErrUnsafeName)
		}
		if err != nil {
			return err
		}
	}
	return w.sync(dir)
}

func (w *restorer) subfolder(ctx context.Context, n *node, path string, depth int) error {
	if err := w.root.Mkdir(path, 0o700); err != nil {
		return w.diskError(err)
	}
	if err := w.folder(ctx, *n.Subtree, path, depth+1); err != nil {
		return err
	}
	return w.finish(n, path, n.Mode.Perm()|0o700)
}

func (w *restorer) file(ctx context.Context, n *node, path string) (err error) {
	f, err := w.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return w.diskError(err)
	}
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	var size int64
	for _, content := range n.Content {
		plain, err := w.repo.loadBlob(ctx, w.index, blobKey{id: content})
		if err != nil {
			return err
		}
		if _, err := f.Write(plain); err != nil {
			return w.diskError(err)
		}
		size += int64(len(plain))
	}
	if size != int64(n.Size) {
		return corrupt("a file has another size than its content")
	}
	w.report.Files++
	w.report.Bytes += size
	err = errors.Join(f.Sync(), f.Close())
	if f = nil; err != nil {
		return w.diskError(err)
	}
	return w.finish(n, path, n.Mode.Perm()|0o600)
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
			return w.diskError(err)
		}
	}
	return nil
}

func (w *restorer) sync(dir string) error {
	return w.diskError(syncFolder(w.root, dir))
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

// markOpened is the last word of a restore.
func markOpened(root *os.Root, s Snapshot, verified bool, now time.Time) error {
	data, err := json.Marshal(opened{Snapshot: s.ID, Opened: now.UTC().Format(timeFormat), Verified: verified})
	if err != nil {
		return err
	}
	if err := root.Mkdir(ownFolder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return withoutPath(err)
	}
	name := ownFolder + "/" + openedFile
	f, err := root.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return withoutPath(err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return withoutPath(err)
	}
	if err := root.Rename(name+".tmp", name); err != nil {
		return withoutPath(err)
	}
	return errors.Join(syncFolder(root, ownFolder), syncFolder(root, "."))
}

// Opened returns nil when dir is a restore that went through all its steps,
// and an error that wraps ErrClosed otherwise.
func Opened(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, ownFolder, openedFile))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, withoutPath(err))
	}
	var mark opened
	if err := json.Unmarshal(data, &mark); err != nil || len(mark.Snapshot) != 2*sha256.Size {
		return fmt.Errorf("%w: its mark is damaged", ErrClosed)
	}
	return nil
}

// syncFolder makes the names in a folder durable. Windows cannot.
func syncFolder(root *os.Root, dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
