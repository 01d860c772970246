package privacy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/filelock"
)

// Files of a ledger folder.
const (
	ledgerFile = "ledger.jsonl"
	lockFile   = "ledger.lock"
	tempPrefix = ".ledger-" // while one is made
)

// Anchor is a place outside the ledger that keeps a head of it: the audit
// trail, the newest backup manifest, the key store, another administrative
// domain.
type Anchor struct {
	Name string
	// Head answers a head as LedgerHead gave it, or nil when none was kept yet.
	Head func(ctx context.Context) ([]byte, error)
}

// LedgerConfig says where the ledger is and which keys authenticate it.
type LedgerConfig struct {
	// Dir is a folder outside everything that backups of the database cover.
	Dir string
	// Digests are the ledger's keys: those of a vault, or of [KeysFrom].
	Digests Digests
	// Anchors are heads kept elsewhere. Without one, a ledger that was rolled
	// back together with the database is not noticed.
	Anchors []Anchor
}

// Ledger is the file-backed erasure ledger: one line an entry, chained,
// authenticated, keyed digests only. It reads the file anew for each call, so
// that several processes may share it; one of them writes at a time. Bytes
// that it has verified before, under the same roots, it does not verify again.
type Ledger struct {
	cfg     LedgerConfig
	digests digester
	seen    verified
	over    func(durable.Disk) durable.Disk // tests put disks there that fail or forget
}

// NewLedger returns a ledger without touching the folder.
func NewLedger(cfg LedgerConfig) (*Ledger, error) {
	if cfg.Dir == "" || cfg.Digests == nil {
		return nil, errors.New("privacy: ledger: Dir and Digests are needed")
	}
	return &Ledger{cfg: cfg, digests: cfg.Digests}, nil
}

func (l *Ledger) path() string { return filepath.Join(l.cfg.Dir, ledgerFile) }

// folder calls do with the ledger's folder.
func (l *Ledger) folder(do func(f *durable.Folder) error) error {
	f, err := durable.Open(l.cfg.Dir, tempPrefix)
	if err != nil {
		return err
	}
	return errors.Join(do(f.Over(l.over)), f.Close())
}

// Create makes the folder and an empty ledger, once in the life of a system.
// It refuses where a ledger stands already (fs.ErrExist), and where an anchor
// remembers one.
func (l *Ledger) Create(ctx context.Context) error {
	heads, err := l.anchored(ctx)
	if err != nil {
		return err
	}
	for _, a := range heads {
		if a.head.N > 0 {
			return l.fail(ErrLedgerRewound, 0, a.name+" remembers entries", remedyRewind)
		}
	}
	f, err := durable.Make(l.cfg.Dir, tempPrefix, 0o700)
	if err != nil {
		return l.unreachable(err)
	}
	defer f.Close()
	f.Over(l.over).CleanUp(".")
	err = f.Create(ledgerFile, nil, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("privacy: ledger: %s stands already, and was left as it is; Create is called once in the life of a system, and later starts need Open alone: %w", l.path(), fs.ErrExist)
	}
	if err != nil {
		return l.unreachable(err)
	}
	return nil
}

// Head returns the canonical JSON {"hash","n"} of the last entry after
// verifying the whole ledger: what audit trail, backup manifest and key store
// keep.
func (l *Ledger) Head(ctx context.Context) ([]byte, error) {
	c, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	return c.head().bytes()
}

// Verify checks form, chain, authenticity and every anchored head.
func (l *Ledger) Verify(ctx context.Context) error {
	_, err := l.read(ctx)
	return err
}

// chain is a verified ledger.
type chain struct {
	entries []entry
	hashes  []string // of entry i+1
	torn    []byte   // bytes after the last newline
	size    int64    // bytes up to there
	open    bool     // the last entry is whole but lost its newline
}

func (c *chain) head() head {
	if len(c.entries) == 0 {
		return emptyHead()
	}
	return head{N: int64(len(c.entries)), Hash: c.hashes[len(c.hashes)-1]}
}

// at returns the head after n entries.
func (c *chain) at(n int64) (head, bool) {
	switch {
	case n == 0:
		return emptyHead(), true
	case n < 0 || n > int64(len(c.hashes)):
		return head{}, false
	}
	return head{N: n, Hash: c.hashes[n-1]}, true
}

// after returns the entries that follow the first n.
func (c *chain) after(n int64) []entry { return c.entries[min(max(n, 0), int64(len(c.entries))):] }

// plan returns the entries of a plan, oldest first.
func (c *chain) plan(id string) []entry {
	var found []entry
	for _, e := range c.entries {
		if e.Plan == id {
			found = append(found, e)
		}
	}
	return found
}

// namedHead is a head and where it was kept.
type namedHead struct {
	name string
	head head
}

// anchored asks all anchors. The heads that were answered come with the error
// about those that were not.
func (l *Ledger) anchored(ctx context.Context) (heads []namedHead, failed error) {
	for _, a := range l.cfg.Anchors {
		data, err := a.Head(ctx)
		if err == nil && len(data) == 0 {
			continue
		}
		var h head
		if err == nil {
			h, err = parseHead(data)
		}
		if err != nil {
			failed = &anchorError{a.Name, err}
			continue
		}
		heads = append(heads, namedHead{a.Name, h})
	}
	return heads, failed
}

type anchorError struct {
	name string
	err  error
}

func (e *anchorError) Error() string {
	return "privacy: ledger: anchor " + strconv.Quote(e.name) + " gave no head"
}
func (e *anchorError) Unwrap() error { return e.err }

// read loads and verifies the ledger against all anchors and more heads.
func (l *Ledger) read(ctx context.Context, more ...namedHead) (*chain, error) {
	heads, err := l.anchored(ctx)
	if err != nil {
		return nil, err
	}
	return l.load(ctx, append(heads, more...))
}

func (l *Ledger) load(ctx context.Context, heads []namedHead) (*chain, error) {
	var data []byte
	err := l.folder(func(f *durable.Folder) (err error) {
		data, err = f.ReadFile(ledgerFile)
		return err
	})
	if err != nil {
		return nil, l.unreachable(err)
	}
	c, err := l.parse(ctx, data)
	if err != nil {
		return nil, err
	}
	if err := l.adopt(ctx, c, heads); err != nil {
		return nil, err
	}
	for _, h := range heads {
		if err := l.compare(c, h); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// adopt takes bytes after the last newline for what they are when a head kept
// elsewhere names them: a whole entry that lost its newline. Other such bytes
// are a torn write, which the next append cuts off.
func (l *Ledger) adopt(ctx context.Context, c *chain, heads []namedHead) error {
	next := head{N: int64(len(c.entries)) + 1, Hash: lineHash(c.torn)}
	if len(c.torn) == 0 || !slices.ContainsFunc(heads, func(h namedHead) bool { return h.head == next }) {
		return nil
	}
	e, err := l.check(ctx, c.torn, next.N, c.head().Hash)
	if err != nil {
		return err
	}
	c.entries, c.hashes = append(c.entries, e), append(c.hashes, next.Hash)
	c.size, c.torn, c.open = c.size+int64(len(c.torn)), nil, true
	return nil
}

// compare checks one head kept elsewhere.
func (l *Ledger) compare(c *chain, kept namedHead) error {
	have, ok := c.at(kept.head.N)
	if !ok {
		detail := fmt.Sprintf("%d entries, but %s knows %d", len(c.entries), kept.name, kept.head.N)
		return l.fail(ErrLedgerRewound, 0, detail, remedyRewind)
	}
	if have.Hash != kept.head.Hash {
		return l.fail(ErrLedgerForged, kept.head.N, "differs from the head kept in "+kept.name, remedyForged)
	}
	return nil
}

func (l *Ledger) parse(ctx context.Context, data []byte) (*chain, error) {
	end := bytes.LastIndexByte(data, '\n') + 1
	if end == 0 {
		return &chain{torn: data}, nil
	}
	roots, err := l.rootsNow(ctx)
	if err != nil {
		return nil, err
	}
	c := l.seen.recall(data[:end], roots)
	rest := data[c.size:end]
	prev := c.head().Hash
	for len(rest) > 0 {
		line, tail, _ := bytes.Cut(rest, []byte{'\n'})
		rest = tail
		e, err := l.check(ctx, line, int64(len(c.entries))+1, prev)
		if err != nil {
			return nil, err
		}
		prev = lineHash(line)
		c.entries, c.hashes = append(c.entries, e), append(c.hashes, prev)
	}
	c.size, c.torn = int64(end), data[end:]
	l.seen.keep(data[:end], roots, c)
	return c, nil
}

// check verifies one line at its place in the chain.
func (l *Ledger) check(ctx context.Context, line []byte, n int64, prev string) (entry, error) {
	e, covered, err := parseEntry(line)
	if err != nil {
		return entry{}, l.fail(ErrLedgerForged, n, err.Error(), remedyForged)
	}
	root, err := e.root()
	if err != nil {
		return entry{}, l.fail(ErrLedgerForged, n, "a key id that is no number", remedyForged)
	}
	want, known, err := l.digests.under(ctx, root, labelMAC, covered)
	if err != nil {
		return entry{}, err
	}
	if !known {
		return entry{}, l.fail(ErrLedgerForeign, n, "written with root "+e.KeyID, remedyOther)
	}
	if got, err := unb64(e.MAC); err != nil || !hmac.Equal(got, want) {
		return entry{}, l.fail(ErrLedgerForged, n, "its mac does not verify", remedyForged)
	}
	if e.N != n || e.Prev != prev {
		return entry{}, l.fail(ErrLedgerForged, n, "it does not follow the entry before it", remedyForged)
	}
	return e, nil
}

func (l *Ledger) fail(sentinel error, line int64, detail, remedy string) error {
	return &LedgerError{File: l.path(), Line: line, Detail: detail, Remedy: remedy, Err: sentinel}
}

func (l *Ledger) unreachable(err error) error {
	detail := fmt.Sprintf("cannot be read or written (%v)", err)
	if errors.Is(err, fs.ErrNotExist) {
		detail = "does not exist"
	}
	return l.fail(ErrLedgerUnreachable, 0, detail, remedyReach)
}

// missing reports whether there is no ledger file.
func (l *Ledger) missing() bool {
	_, err := os.Stat(l.path())
	return errors.Is(err, fs.ErrNotExist)
}

// append adds one entry under the lock and returns the chain with it. fill
// sees the chain as it is then and may decline with ok = false.
func (l *Ledger) append(ctx context.Context, now time.Time, mark namedHead, fill func(*chain) (entry, bool, error)) (*chain, error) {
	if _, err := l.read(ctx, mark); err != nil {
		return nil, err // before the lock file is touched
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := l.read(ctx, mark)
	if err != nil {
		return nil, err
	}
	e, ok, err := fill(c)
	if err != nil {
		return c, err
	}
	if !ok {
		return c, l.flush() // the caller relies on what it has read
	}
	if n := len(c.entries); n > 0 {
		if last, err := c.entries[n-1].time(); err != nil || now.Truncate(time.Microsecond).Before(last) {
			return nil, l.fail(ErrClock, int64(n), "", remedyClock)
		}
	}
	e.V, e.N, e.Prev = 1, c.head().N+1, c.head().Hash
	e.At, e.Scope = canon.FormatTime(now), "person"
	line, err := e.sign(ctx, l.digests)
	if err != nil {
		return nil, err
	}
	if err := l.write(c, line); err != nil {
		return nil, l.unreachable(err)
	}
	return l.read(ctx, mark, namedHead{"the entry just written", head{Hash: lineHash(line), N: e.N}})
}

// write cuts a torn write off and appends the line, both durable on return.
// A torn write that an anchored head names has been refused before. After an
// error the line is cut off again: what may not be on disk must not be read
// as an entry.
func (l *Ledger) write(c *chain, line []byte) error {
	if c.open {
		line = append([]byte{'\n'}, line...)
	}
	return l.folder(func(f *durable.Folder) error {
		if len(c.entries) == 0 { // whoever made the file may have been killed before its name was on disk
			if err := f.Sync("."); err != nil {
				return err
			}
		}
		return f.Append(ledgerFile, c.size+int64(len(c.torn)), c.size, append(line, '\n'))
	})
}

// flush makes durable what another process may have written and not flushed
// before it ended.
func (l *Ledger) flush() error {
	if err := l.folder(func(f *durable.Folder) error { return f.Flush(ledgerFile) }); err != nil {
		return l.unreachable(err)
	}
	return nil
}

func (l *Ledger) lock(ctx context.Context) (func(), error) {
	for range 200 {
		lock, busy, err := filelock.Take(filepath.Join(l.cfg.Dir, lockFile))
		switch {
		case err == nil:
			return lock.Release, nil
		case !busy:
			return nil, l.unreachable(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, l.fail(ErrLedgerBusy, 0, "", remedyBusy)
}
