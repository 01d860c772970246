package erasurelog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Config says where the ledger is and which keys authenticate it.
type Config struct {
	// Medium is where the lines are: [Folder], or a table of package sqlledger.
	// It is outside everything that backups of the application's database cover.
	Medium Medium
	// Digests are the ledger's keys: those of a vault, or of [KeysFrom].
	Digests Digests
	// Anchors are heads kept elsewhere. Without one, a ledger that was rolled
	// back together with the database is not noticed.
	Anchors []Anchor
	// Recheck is how often Read reads and verifies the whole ledger besides what
	// is new. 0 is an hour.
	Recheck time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Log is the erasure ledger: entries that are chained, authenticated, and hold
// keyed digests only.
type Log struct {
	cfg     Config
	digests digester
	turn    chan struct{} // whoever has it reads the medium, and changes the fields below
	writing chan struct{} // whoever has it appends
	noting  chan struct{} // whoever has it writes notes

	index   *index
	shared  bool     // states of it were handed out
	before  Position // behind the last line but one
	end     Position
	last    []byte // the last line
	roots   []byte // that have verified
	seen    Head   // a head that stands, as far as this process has read
	checked time.Time
}

// Open returns a ledger. It touches neither the medium nor the keys.
func Open(cfg Config) (*Log, error) {
	if cfg.Medium == nil || cfg.Digests == nil {
		return nil, configError("Medium and Digests are needed")
	}
	if cfg.Recheck < 0 {
		return nil, configError("Recheck is negative")
	}
	if cfg.Recheck == 0 {
		cfg.Recheck = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Log{cfg: cfg, digests: digester(cfg.Digests), turn: make(chan struct{}, 1), writing: make(chan struct{}, 1), noting: make(chan struct{}, 1)}, nil
}

// Create makes an empty ledger, once in the life of a system. It refuses where
// one stands already (fs.ErrExist), and where an anchor or this process remembers one.
func (l *Log) Create(ctx context.Context) error {
	heads, err := l.Anchors(ctx)
	if err != nil {
		return err
	}
	done, err := take(ctx, l.turn)
	if err != nil {
		return err
	}
	defer done()
	stands := true
	for _, err := range l.cfg.Medium.Read(ctx, Position{}) {
		stands = !errors.Is(err, fs.ErrNotExist)
		break
	}
	for _, a := range l.remembered(heads) {
		if a.Head.N > 0 && !stands {
			return l.fail(ErrRewound, 0, a.Name+" remembers entries", remedyRewind)
		}
	}
	switch err := l.cfg.Medium.Create(ctx); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("erasurelog: %s stands already, and was left as it is; Create is called once in the life of a system, and later starts need Open alone: %w", l.place(), fs.ErrExist)
	case err != nil:
		return l.unreachable(ctx, err)
	}
	return nil
}

// Read brings what is in memory up to the ledger and returns it: the new lines
// are verified, and that they follow the last one known. The whole is read the
// first time, where the ledger has become shorter or its last line another one,
// when the keys have changed, and every Config.Recheck: until then a change of
// an older line goes unnoticed.
//
// The newest entry may be one that another process has written and not flushed:
// who acts on it asks Append first, which makes it durable also where it adds
// nothing.
//
// The heads of the anchors and those given must agree, and what this process has
// read before must still stand. Where all that went wrong is an anchor that does not answer, the State comes with the
// [*AnchorError].
func (l *Log) Read(ctx context.Context, kept ...Kept) (*State, error) {
	return l.anchored(ctx, false, kept)
}

// Latest is Read that asks no anchor: for what is asked often, and decides about
// no erasure.
func (l *Log) Latest(ctx context.Context, kept ...Kept) (*State, error) {
	v, err := l.read(ctx, false, nil, kept)
	return v.state, err
}

// Verify is Read of the whole.
func (l *Log) Verify(ctx context.Context, kept ...Kept) (*State, error) {
	return l.anchored(ctx, true, kept)
}

// Head is what an [Anchor] keeps: the canonical JSON {"hash","n"} of the last
// entry, which is made durable first: where its writer takes it back, an anchor
// would remember what never was.
func (l *Log) Head(ctx context.Context) ([]byte, error) {
	s, err := l.Append(ctx, nil, func(*State) (*Entry, error) { return nil, nil })
	if err != nil {
		return nil, err
	}
	return s.Head().Bytes()
}

func (l *Log) anchored(ctx context.Context, whole bool, kept []Kept) (*State, error) {
	anchors, failed := l.Anchors(ctx)
	v, err := l.read(ctx, whole, anchors, kept)
	if err != nil {
		return nil, err
	}
	return v.state, failed
}

// A view is a state and where to append behind it.
type view struct {
	state *State
	end   Position
	last  []byte
}

// read waits for its turn, reads, and compares with all heads. What agrees is
// remembered: but for the last entry, which whoever writes it takes back where
// its disk fails, and which no head names.
func (l *Log) read(ctx context.Context, whole bool, anchors, kept []Kept) (view, error) {
	done, err := take(ctx, l.turn)
	if err != nil {
		return view{}, err
	}
	defer done()
	heads := l.remembered(append(append([]Kept(nil), anchors...), kept...))
	if err := l.refresh(ctx, whole, heads); err != nil {
		return view{}, err
	}
	l.shared = true
	v := view{state: l.index.state(anchors), end: l.end, last: l.last}
	for _, h := range heads {
		if err := l.compare(v.state, h); err != nil {
			return view{}, err
		}
	}
	before, _ := v.state.At(max(0, l.end.N-1))
	for _, h := range append(heads, Kept{Head: before}) {
		if h.Head.N > l.seen.N {
			l.seen = h.Head
		}
	}
	return v, nil
}

// remembered adds what this process knows to the heads that others keep. The
// caller has the turn.
func (l *Log) remembered(heads []Kept) []Kept {
	if l.seen.N == 0 {
		return heads
	}
	return append(heads, Kept{"the memory of this process", l.seen})
}

// take waits for a turn.
func take(ctx context.Context, turn chan struct{}) (done func(), err error) {
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// compare checks one head kept elsewhere.
func (l *Log) compare(s *State, kept Kept) error {
	have, ok := s.At(kept.Head.N)
	if !ok {
		detail := fmt.Sprintf("%d entries, but %s knows %d", s.n(), kept.Name, kept.Head.N)
		return l.fail(ErrRewound, 0, detail, remedyRewind)
	}
	if have.Hash != kept.Head.Hash {
		return l.fail(ErrForged, kept.Head.N, "differs from the head kept in "+kept.Name, remedyForged)
	}
	return nil
}

// refresh reads what is new, or the whole.
func (l *Log) refresh(ctx context.Context, whole bool, heads []Kept) error {
	roots, err := l.rootsNow(ctx)
	if err != nil {
		return err
	}
	since := l.cfg.Now().Sub(l.checked)
	known := l.index != nil && string(roots) == string(l.roots)
	if known && !whole && since >= 0 && since < l.cfg.Recheck {
		if stands, err := l.follow(ctx, l.before, heads); stands || err != nil {
			return err
		}
	}
	now := l.cfg.Now()
	if known {
		if stands, err := l.follow(ctx, Position{}, heads); stands || err != nil {
			if stands {
				l.checked = now
			}
			return err
		}
	}
	l.begin(roots)
	l.checked = now
	_, err = l.follow(ctx, Position{}, heads)
	return err // what has verified before the error stays
}

func (l *Log) begin(roots []byte) {
	l.index, l.shared, l.before, l.end, l.last, l.roots = newIndex(), false, Position{}, Position{}, nil, roots
}

// follow reads from a position on. Lines that are known must be as they were,
// all of them; those behind are verified and added. stands is false where they
// are not. The rest of a torn write is passed over, unless a head kept elsewhere
// names it: then it is an entry that lost its newline.
func (l *Log) follow(ctx context.Context, from Position, heads []Kept) (stands bool, err error) {
	var r lineReader
	n := from.N
	for line, err := range l.cfg.Medium.Read(ctx, from) {
		if err != nil {
			return false, l.unreachable(ctx, err)
		}
		text, torn := line, true
		if i := len(line) - 1; i >= 0 && line[i] == '\n' {
			text, torn = line[:i], false
		}
		hash := sha256.Sum256(text)
		if n < l.index.len() {
			if hash != l.index.records[n].hash {
				return false, nil
			}
			n++
			continue
		}
		if torn && !named(heads, n+1, text) {
			break
		}
		if err := l.add(ctx, &r, text, hash); err != nil {
			return true, err
		}
		n++
	}
	return n >= l.index.len(), nil
}

// named says whether a head kept elsewhere is that of a line.
func named(heads []Kept, n int64, line []byte) bool {
	for _, h := range heads {
		if h.Head.N == n && h.Head.Hash == lineHash(line) {
			return true
		}
	}
	return false
}

// add verifies a line behind the last one.
func (l *Log) add(ctx context.Context, r *lineReader, line []byte, hash [sha256.Size]byte) error {
	e, err := l.check(ctx, r, line, l.index.head())
	if err != nil {
		return err
	}
	if n := l.index.len(); n > 0 && e.At.UnixMicro() < l.index.records[n-1].at {
		if e.Op != Clock {
			return l.fail(ErrForged, e.N, "it is older than the entry before it", remedyForged)
		}
		if l.shared {
			l.index, l.shared = l.index.clone(), false
		}
	}
	w := r.wireEntry
	if err := l.index.add(e, hash, more{w.Aliases, w.Approved, w.Because, w.By, w.Cert, w.Known, w.Refs, w.Tops, w.Until}); err != nil {
		return l.fail(ErrForged, e.N, "a member that cannot be kept", remedyForged)
	}
	l.before = l.end
	l.end = Position{N: e.N, Size: l.end.Size + int64(len(line)) + 1}
	l.last = append([]byte(nil), line...)
	return nil
}

// unreachable is what the medium could not do. The end of the caller's context
// stays what it is.
func (l *Log) unreachable(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*LedgerError](err); ok {
		return e
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err()
	}
	if errors.Is(err, ErrForged) {
		return &LedgerError{Place: l.place(), Detail: err.Error(), Remedy: remedyForged, Err: ErrForged, Cause: err}
	}
	detail := fmt.Sprintf("cannot be read or written (%v)", err)
	if errors.Is(err, fs.ErrNotExist) {
		detail = "does not exist"
	}
	return &LedgerError{Place: l.place(), Detail: detail, Remedy: remedyReach, Err: ErrUnreachable, Cause: err}
}
