package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/durable"
)

// Config says how a repository is opened.
type Config struct {
	// Key opens the repository.
	Key Key
	// Manifests authenticates manifests. Nil means those of the Key, if it is a
	// [MachineKey] (see [MachineKey.Manifests]). A [Passphrase] has none: jobs
	// are refused then, and a restore is not proved against its manifest (and
	// takes no steps).
	Manifests Tagger
	// ofKey says that Manifests came from Key.
	ofKey bool
	// MaxAge is how old the newest snapshot of a job may be before
	// [Repository.Status] raises an alarm. 0 means 26 hours, a nightly run and
	// some time for it; negative: never.
	MaxAge time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Observe receives measurements of restores and checks; nil is silence.
	Observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// Repository is an opened repository in one store.
type Repository struct {
	store  Store
	cfg    Config
	config configJSON
	master *masterKey
	unpack *unpacker
	over   func(durable.Disk) durable.Disk // tests put disks there that fail under a restore

	mu      sync.Mutex
	cached  *blobIndex
	checked pastCheck
}

// configJSON is the file config. Sealed, never compressed, and the only file
// that is not named by its hash.
type configJSON struct {
	Version    int    `json:"version"`
	ID         string `json:"id"`
	Polynomial string `json:"chunker_polynomial"`
}

const writeVersion = 2

// Create makes a repository in each store, which must hold none. All share
// one id and one master key, and receive the same bytes for ever after. Of
// several that create in one store at a time one succeeds; the others get
// ErrExists. When Create fails after some stores were made its error names
// them: Open one and [Repository.Mirror] it to the others.
func Create(ctx context.Context, cfg Config, stores ...Store) ([]*Repository, error) {
	if cfg.Key == nil || len(stores) == 0 {
		return nil, badConfig("Create needs a Key and at least one store")
	}
	if slices.Contains(stores, nil) {
		return nil, badConfig("a nil store")
	}
	cfg = cfg.withManifests()
	master, err := randomMasterKey()
	if err != nil {
		return nil, err
	}
	key, err := encodeKeyFile(master, cfg.Key, cfg.now())
	if err != nil {
		return nil, err
	}
	var id blobID
	_, _ = rand.Read(id[:]) // never fails
	config := configJSON{Version: writeVersion, ID: id.String(), Polynomial: randomPolynomial().String()}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	for _, store := range stores {
		if err := clearForCreate(ctx, store); err != nil {
			return nil, err
		}
	}
	files := founding{keys: map[string][]byte{fileName(keyFolder, hashOf(key)): key}, config: master.seal(nil, raw)}
	if err := files.occupyAll(ctx, stores); err != nil {
		return nil, err
	}
	repos := make([]*Repository, 0, len(stores))
	for _, store := range stores {
		repo, err := Open(ctx, store, cfg) // whoever gets nil can open it
		if err != nil {
			return nil, fmt.Errorf("%w; the repository was made in every store: Open it", err)
		}
		repos = append(repos, repo)
	}
	return repos, nil
}

// clearForCreate refuses a store with a repository. Key files are no
// repository: a Create that was interrupted leaves one, and one that is under
// way in another process needs it.
func clearForCreate(ctx context.Context, store Store) error {
	if err := makePlace(ctx, store); err != nil {
		return err
	}
	if _, err := store.Read(ctx, configFile, 0, 1); err == nil {
		return existsError(store)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return &StoreError{Store: store.Name(), Err: err}
	}
	for _, folder := range []string{dataFolder, indexFolder, snapFolder} {
		for _, err := range store.List(ctx, folder) {
			if err != nil {
				return &StoreError{Store: store.Name(), Err: err}
			}
			return &FileError{Store: store.Name(), File: folder, Err: fmt.Errorf("%w, without its config: bring that back, or choose another place", ErrExists)}
		}
	}
	return nil
}

// Mirror makes a repository with the same id, master key and key files in
// another store, which must hold none. The next run of a [Job] that has both
// copies the data.
func (r *Repository) Mirror(ctx context.Context, store Store) (*Repository, error) {
	if store == nil {
		return nil, badConfig("Mirror needs a store")
	}
	keys, err := listIDs(ctx, r.store, keyFolder)
	if err != nil {
		return nil, err
	}
	files := founding{keys: map[string][]byte{}}
	for id := range keys {
		_, data, err := loadKeyFile(ctx, r.store, id)
		if errors.Is(err, ErrCorrupt) {
			continue // opens nothing here, and would open nothing there
		} else if err != nil {
			return nil, err
		}
		files.keys[fileName(keyFolder, id)] = data
	}
	if files.config, err = readFile(ctx, r.store, configFile, maxSmallFile); err != nil {
		return nil, err
	}
	if err := clearForCreate(ctx, store); err != nil {
		return nil, err
	}
	if err := files.occupyAll(ctx, []Store{store}); err != nil {
		return nil, err
	}
	return Open(ctx, store, r.cfg)
}

// Open opens the repository in a store. It changes nothing there.
func Open(ctx context.Context, store Store, cfg Config) (*Repository, error) {
	if cfg.Key == nil || store == nil {
		return nil, badConfig("Open needs a store and a Key")
	}
	if password, _ := cfg.Key.secret(); password == "" {
		return nil, badConfig("an empty password")
	}
	cfg = cfg.withManifests()
	sealed, err := readFile(ctx, store, configFile, maxSmallFile)
	if errors.Is(err, ErrGone) {
		return nil, &FileError{Store: store.Name(), File: configFile, Err: fmt.Errorf("%w: %w", ErrNoRepository, ErrGone)}
	} else if errors.Is(err, fs.ErrNotExist) {
		return nil, &FileError{Store: store.Name(), File: configFile, Err: ErrNoRepository}
	} else if err != nil {
		return nil, err
	}
	r := &Repository{store: store, cfg: cfg}
	err = openKeys(ctx, store, cfg.Key, func(master *masterKey) (done bool, err error) {
		raw, err := master.open(append([]byte(nil), sealed...))
		if err != nil {
			return false, nil // a key file of an interrupted Create
		}
		r.master, r.unpack = master, newUnpacker(master)
		if err := r.config.decode(raw); err != nil {
			return false, &FileError{Store: store.Name(), File: configFile, Err: err}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (c *configJSON) decode(raw []byte) error {
	if err := json.Unmarshal(raw, c); err != nil {
		return corrupt("a config of another shape")
	}
	if c.Version != 1 && c.Version != writeVersion {
		return ErrVersion
	}
	if _, err := parseID(c.ID); err != nil {
		return err
	}
	_, err := parsePolynomial(c.Polynomial)
	return err
}

// checkPlace proves that the store still holds this repository. Another disk
// may be mounted in its place by now, and what a store without its config takes
// in nobody opens.
func (r *Repository) checkPlace(ctx context.Context) error {
	sealed, err := readFile(ctx, r.store, configFile, maxSmallFile)
	if err != nil {
		return err
	}
	if err := r.ownConfig(sealed); err != nil {
		return &FileError{Store: r.store.Name(), File: configFile, Err: fmt.Errorf("%w: is another disk in its place? Else bring config back from a mirror", err)}
	}
	return nil
}

// ownConfig compares the file config with what it was when it was opened.
func (r *Repository) ownConfig(sealed []byte) error {
	raw, err := r.master.open(sealed)
	if err != nil {
		return err
	}
	var config configJSON
	if err := config.decode(raw); err != nil {
		return err
	}
	if config != r.config {
		return corrupt("config belongs to another repository")
	}
	return nil
}

// openKeys hands the master key of each key file that the key opens to use,
// until use is done. The cheapest come first, and all have one budget: whoever
// can write to the store must not make Open try for hours. Files that are no
// key files cost nothing but their own reading.
func openKeys(ctx context.Context, store Store, key Key, use func(master *masterKey) (done bool, err error)) error {
	files, err := listIDs(ctx, store, keyFolder)
	if err != nil {
		return err
	}
	password, _ := key.secret()
	at := func(id blobID, err error) error {
		return &FileError{Store: store.Name(), File: fileName(keyFolder, id), Err: err}
	}
	var found []foundKey
	var damaged error
	for id := range files {
		f, _, err := loadKeyFile(ctx, store, id)
		if ctx.Err() != nil {
			return ctx.Err()
		} else if errors.Is(err, ErrGone) {
			return err
		} else if err != nil {
			damaged = err // another key file may open
			continue
		}
		found = append(found, foundKey{id: id, file: f})
	}
	slices.SortFunc(found, func(a, b foundKey) int {
		return cmp.Or(cmp.Compare(a.file.work(), b.file.work()), bytes.Compare(a.id[:], b.id[:]))
	})
	opened, budget := false, int64(maxOpenWork)
	for _, f := range found {
		if budget -= f.file.work(); budget < 0 || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), at(f.id, corrupt("%d key files cost too much to try", len(found))))
		}
		master, err := f.file.open(password)
		switch {
		case errors.Is(err, errOtherPassword):
		case err != nil:
			damaged = at(f.id, err)
		default:
			opened = true
			if done, err := use(master); done || err != nil {
				return err
			}
		}
	}
	other := &FileError{Store: store.Name(), File: keyFolder, Err: ErrPassword}
	switch {
	case opened:
		return &FileError{Store: store.Name(), File: configFile, Err: corrupt("authentication failed")}
	case len(found) > 0 && damaged != nil:
		return fmt.Errorf("%w; another key file is damaged: %w", other, damaged)
	case damaged != nil:
		return damaged
	case len(found) == 0:
		return &FileError{Store: store.Name(), File: keyFolder, Err: corrupt("no key files")}
	}
	return other
}

// foundKey is a key file that has not been opened yet.
type foundKey struct {
	id   blobID
	file *keyFile
}

// loadKeyFile reads a key file, and returns it as it is stored as well.
func loadKeyFile(ctx context.Context, store Store, id blobID) (f *keyFile, data []byte, err error) {
	name := fileName(keyFolder, id)
	if data, err = readFile(ctx, store, name, maxKeyContent); err != nil {
		return nil, nil, err
	}
	if err = checkHash(data, id); err == nil {
		f, err = decodeKeyFile(data)
	}
	if err != nil {
		return nil, nil, &FileError{Store: store.Name(), File: name, Err: err}
	}
	return f, data, nil
}

// ID returns the id of the repository, 64 hex digits; mirrors share it.
func (r *Repository) ID() string { return r.config.ID }

// Name returns the name of the repository's store.
func (r *Repository) Name() string { return r.store.Name() }

// withManifests takes the manifests' key from Key where none was handed in.
func (c Config) withManifests() Config {
	if key, ok := c.Key.(MachineKey); ok && c.Manifests == nil {
		c.Manifests = key.Manifests()
		c.ofKey = c.Manifests != nil
	}
	return c
}

func (c Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c Config) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if c.Observe != nil {
		c.Observe(ctx, name, value, attrs...)
	}
}

// sharesKey says whether two repositories are mirrors of each other.
func (r *Repository) sharesKey(other *Repository) bool {
	return r.config == other.config && r.master.equal(other.master)
}
