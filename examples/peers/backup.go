package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
)

// A saver backs up a tree into a repository of its own making.
type saver struct {
	name string // "" is the call
	role role
	// empty is where an empty repository lies, save backs up into a copy of
	// it, restore brings the tree back and says where it stands.
	empty   string
	save    func(dir string) error
	restore func(dir, target string) (string, error)
}

func backupContests(ctx context.Context, p *bench) ([]contest, error) {
	source, err := p.folder("source")
	if err != nil {
		return nil, err
	}
	size := 128 << 20
	if p.small {
		size = 2 << 20
	}
	if err := growTree(source, size); err != nil {
		return nil, err
	}
	want, err := digestTree(os.DirFS(source))
	if err != nil {
		return nil, err
	}
	savers, err := backupSavers(ctx, p, source)
	if err != nil {
		return nil, err
	}
	note := "40 files, two fifths of the bytes random, the rest CSV. Everyone opens the repository and derives its key on the clock; every tree that comes back equals the source. restic runs as the program it is, its start included, without a cache; its B and allocs are those of the process that waits for it. Once it works on a repository that crmguard made for a machine key, so that both pay the same for deriving keys, once on its own. "
	return []contest{
		saving(p, savers, want, fmt.Sprintf("back up %d MiB of files, first time", size>>20), note+"A new repository each time, made before the clock starts; done when the snapshot is on the disk."),
		restoring(p, savers, want, fmt.Sprintf("restore %d MiB of files", size>>20), note+"Ours also proves the files on the disk against the manifest; restic is not asked to."),
	}, nil
}

func saving(p *bench, savers []saver, want, what, note string) contest {
	out := contest{Package: "backup", What: what, Note: note}
	for _, s := range savers {
		var empty []string
		out.Contestants = append(out.Contestants, contestant{
			Name: cmp.Or(s.name, "Job.RunOnce"), Role: s.role,
			Answer: func() (string, error) { return s.answer(p, want) },
			Setup: func(n int) (err error) {
				empty, err = folders(n, func() (string, error) { return s.fresh(p) })
				return err
			},
			Run: func(int) error {
				for _, dir := range empty {
					if err := s.save(dir); err != nil {
						return err
					}
				}
				return nil
			},
			Clean: func() error { return removeAll(empty) },
		})
	}
	return out
}

func restoring(p *bench, savers []saver, want, what, note string) contest {
	out := contest{Package: "backup", What: what, Note: note}
	for _, s := range savers {
		saved := sync.OnceValues(func() (string, error) {
			dir, err := s.fresh(p)
			if err != nil {
				return "", err
			}
			return dir, s.save(dir)
		})
		var targets []string
		out.Contestants = append(out.Contestants, contestant{
			Name: cmp.Or(s.name, "Repository.Restore"), Role: s.role,
			Answer: func() (string, error) {
				dir, err := saved()
				if err != nil {
					return "", err
				}
				return s.restored(p, dir, want)
			},
			Setup: func(n int) (err error) {
				targets, err = folders(n, func() (string, error) { return p.folder("restored") })
				return err
			},
			Run: func(int) error {
				dir, err := saved() // long ago
				for _, target := range targets {
					if err == nil {
						_, err = s.restore(dir, target)
					}
				}
				return err
			},
			Clean: func() error { return removeAll(targets) },
		})
	}
	return out
}

// fresh copies the empty repository, since it takes a second to make one.
func (s saver) fresh(p *bench) (string, error) {
	dir, err := p.folder("repository")
	if err != nil {
		return "", err
	}
	return dir, os.CopyFS(dir, os.DirFS(s.empty))
}

// answer is the digest of what comes back from a new repository.
func (s saver) answer(p *bench, want string) (string, error) {
	dir, err := s.fresh(p)
	if err != nil {
		return "", err
	}
	if err := s.save(dir); err != nil {
		return "", err
	}
	got, err := s.restored(p, dir, want)
	return got, errors.Join(err, os.RemoveAll(dir))
}

// restored is the digest of what comes back, which must be the one wanted.
func (s saver) restored(p *bench, dir, want string) (string, error) {
	target, err := p.folder("restored")
	if err != nil {
		return "", err
	}
	place, err := s.restore(dir, target)
	if err != nil {
		return "", err
	}
	got, err := digestTree(os.DirFS(place))
	if err == nil && got != want {
		err = fmt.Errorf("restored %s, the source is %s", got, want)
	}
	return got, errors.Join(err, os.RemoveAll(target))
}

func folders(n int, create func() (string, error)) (dirs []string, err error) {
	for range n {
		dir, err := create()
		if err != nil {
			return dirs, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

func removeAll(dirs []string) (err error) {
	for _, dir := range dirs {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func backupSavers(ctx context.Context, p *bench, source string) ([]saver, error) {
	key := backup.NewMachineKey()
	tagger, err := manifestTagger()
	if err != nil {
		return nil, err
	}
	config := backup.Config{Key: key, Manifests: tagger}
	machine, err := p.folder("empty")
	if err != nil {
		return nil, err
	}
	store, err := localstore.Open(machine)
	if err != nil {
		return nil, err
	}
	if _, err := backup.Create(ctx, config, store); err != nil {
		return nil, err
	}
	savers := []saver{{
		role: ours, empty: machine,
		save: func(dir string) error {
			repo, err := openRepository(ctx, dir, config)
			if err != nil {
				return err
			}
			job := backup.Job{Name: "nightly", Repositories: []*backup.Repository{repo}, Sources: []backup.Source{backup.Folder("files", source)}}
			_, err = job.RunOnce(ctx)
			return err
		},
		restore: func(dir, target string) (string, error) {
			repo, err := openRepository(ctx, dir, config)
			if err != nil {
				return "", err
			}
			_, err = repo.Restore(ctx, "latest", target)
			return filepath.Join(target, "files"), err
		},
	}}
	if _, err := exec.LookPath("restic"); err == nil {
		const password = "a password"
		own, err := p.folder("empty")
		if err != nil {
			return nil, err
		}
		if err := restic(ctx, own, password, "init", "--repository-version", "2"); err != nil {
			return nil, err
		}
		savers = append(
			savers,
			resticSaver(ctx, "restic, repository by crmguard: equal key derivation", source, key.Password(), machine),
			resticSaver(ctx, "restic, repository by restic init", source, password, own),
		)
	}
	none, err := p.folder("empty")
	return append(savers, tarSaver(source, none)), err
}

func openRepository(ctx context.Context, dir string, config backup.Config) (*backup.Repository, error) {
	store, err := localstore.Open(dir)
	if err != nil {
		return nil, err
	}
	return backup.Open(ctx, store, config)
}

func resticSaver(ctx context.Context, name, source, password, empty string) saver {
	return saver{
		name: name, role: peer, empty: empty,
		save: func(dir string) error { return restic(ctx, dir, password, "backup", "--quiet", source) },
		restore: func(dir, target string) (string, error) {
			err := restic(ctx, dir, password, "restore", "latest", "--target", target)
			return filepath.Join(target, source), err
		},
	}
}

func restic(ctx context.Context, repository, password string, args ...string) error {
	command := exec.CommandContext(ctx, "restic", append([]string{"--no-cache", "--repo", repository}, args...)...)
	command.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0")
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("restic %s: %w: %s", args[0], err, strings.TrimSpace(string(text)))
	}
	return nil
}

// regular lists the regular files below a folder.
func regular(dir string) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	return names, err
}
