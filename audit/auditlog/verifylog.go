package auditlog

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// VerifyLog reads a published log, and nothing else, from the first entry to
// the last: every entry, every hash tile, the signature, and the history
// against the kept checkpoint. What is wrong is in the report; the error says
// that trust is unusable or that the context ended (the report then says
// Incomplete). Without a kept checkpoint it cannot notice that the newest
// entries were cut off, nor that someone with the signing key rewrote it all: the
// verdict is then Unanchored at best, never OK.
//
// Of entries that went with retention (an entry of kind prune says up to where) the
// hashes are verified and counted in Report.Pruned: OK needs a kept checkpoint that
// covers them. A bundle that is not there and that no such entry names is Incomplete.
func VerifyLog(ctx context.Context, fsys fs.FS, trust Trust) (Report, error) {
	if fsys == nil {
		return unmade(), errNoFS
	}
	return verifyFolder(ctx, fsys, trust, false)
}

// VerifyHashes does what [VerifyLog] does in a fraction of the time, and reads
// what entries say only where that is about the log itself: changes of the signing
// key, so that a revoked one counts no more, and beats. No byte of an entry, a hash
// tile or the checkpoint that was changed, added or taken away since it was
// signed escapes it; its verdicts are the same. What it does not find is an entry
// that was signed and is no leaf (not canonical, a member missing or of the
// wrong form): only who holds the signing key can make one. It is for who
// verifies often; let [VerifyLog] read each entry once.
func VerifyHashes(ctx context.Context, fsys fs.FS, trust Trust) (Report, error) {
	if fsys == nil {
		return unmade(), errNoFS
	}
	return verifyFolder(ctx, fsys, trust, true)
}

func verifyFolder(ctx context.Context, fsys fs.FS, trust Trust, hashesOnly bool) (Report, error) {
	files := &folder{fsys: fsys}
	w := Walk{Read: files.read, Trust: trust, HashesOnly: hashesOnly, release: files.release}
	return w.Verify(ctx)
}

// Walk is a verification over files that lie anywhere, for who wants to see the
// entries too.
type Walk struct {
	// Read reads a published file by its name. Where there is none its error
	// wraps fs.ErrNotExist. What it returned it must not change. It and Each are
	// called by the goroutine that calls Verify, and by no other; Read some bundles
	// before Each is called with their entries.
	Read func(ctx context.Context, name string) ([]byte, error)
	// Trust is what is trusted.
	Trust Trust
	// Each, if set, is called with each entry that matches its hash, in their
	// order. Its error ends the walk.
	Each func(index int64, raw []byte, leaf *Leaf) error
	// Skipped, if set, is called in the place of Each where a bundle of entries is not
	// there and the tile of its hashes is, with the index of the first and the hashes
	// one behind the other. Its error ends the walk.
	Skipped func(first int64, hashes []byte) error
	// HashesOnly leaves out what [VerifyHashes] leaves out. Each is called with
	// a leaf that is nil.
	HashesOnly bool

	release func([]byte) // takes back what Read returned, if not nil
	walker  *walker      // nil until there is a checkpoint, and it is one of this log
}

// Opened says, after Verify, whether there was a checkpoint of this log.
func (v *Walk) Opened() bool { return v.walker != nil }

// Push adds, after Verify, the hash of an entry that the checkpoint does not
// have yet. Where there was no checkpoint there is nothing to add to.
func (v *Walk) Push(h tlog.Hash) {
	if v.walker != nil {
		v.walker.Edge.Push(h)
	}
}

// Root is the root of the entries that were read and pushed; ok is false where
// there are none, or there was no checkpoint, or where the hash of one is not known.
func (v *Walk) Root() (root tlog.Hash, ok bool) {
	if v.walker == nil {
		return root, false
	}
	root, ok = v.walker.Edge.Root()
	return root, ok && !v.walker.broken
}

// Verify does what [VerifyLog] does.
func (v *Walk) Verify(ctx context.Context) (Report, error) {
	if v.Read == nil {
		return Report{Verdict: Incomplete}, errNoFiles
	}
	read := merkle.Files(v.Read)
	key, kept, err := v.Trust.resolve()
	if err != nil {
		return unmade(), err
	}
	r := Report{Log: OK, Kept: Unanchored, Origin: key.Name()}
	if kept != nil {
		r.Kept, r.KeptSize = Incomplete, kept.N
	}
	signed, err := read(ctx, CheckpointFile)
	if err != nil {
		what := "the checkpoint cannot be read"
		if errors.Is(err, fs.ErrNotExist) {
			what = "there is no checkpoint: nothing was published yet, or this is not the folder of a log"
		}
		r.add(Fault{Verdict: Incomplete, Index: -1, File: CheckpointFile, What: what})
		r.Verdict = Worst(r.Log, r.Kept)
		return r, ctx.Err()
	}
	head, err := openCheckpoint(key, signed)
	if err != nil {
		r.add(unopened(err))
		r.Verdict = Worst(r.Log, r.Kept)
		return r, nil
	}
	r.Size, r.Root = head.N, head.Hash
	w := &walker{read: read, head: head, report: &r, kept: kept, keys: key, each: v.Each, skipped: v.Skipped, hashesOnly: v.HashesOnly, release: v.release}
	v.walker = w
	if err = w.run(ctx); err != nil {
		r.add(Fault{Verdict: Incomplete, Index: r.Verified, What: "the verification was interrupted"})
	}
	w.signedByRevoked(signed)
	w.anchor()
	w.retained()
	r.Verdict = Worst(r.Log, r.Kept)
	return r, err
}

// unopened is what is wrong with a checkpoint that does not open. One that ends
// too early is as good as none: whoever cuts it can delete it.
func unopened(err error) Fault {
	f := Fault{Verdict: Tampered, Index: -1, File: CheckpointFile, What: "the checkpoint was changed: this key did not sign what it says"}
	switch {
	case errors.Is(err, c2sp.ErrCrowded):
		f.Verdict, f.What = Incomplete, "the checkpoint has more signatures than are looked at: take those of others away"
	case errors.Is(err, ErrMalformed):
		f.Verdict, f.What = Incomplete, "the checkpoint is empty or ends too early: a write was torn, or it was cut"
	case errors.Is(err, ErrNotSigned):
		f.What = "the checkpoint is not signed by this key: the wrong verifier key, or another log"
	case errors.Is(err, c2sp.ErrText):
		f.What = "this key signed what no log can say: whoever holds it signs other things than this library"
	}
	return f
}

// anchor compares with the kept checkpoint what the walk could not.
func (w *walker) anchor() {
	switch k := w.kept; {
	case k == nil:
	case k.N > w.head.N:
		w.report.Kept = RolledBack
	case k.N == 0:
		w.report.Kept = Unanchored // it says nothing
	case k.N == w.head.N && k.Hash != w.head.Hash:
		w.report.Kept = Forked
	}
}
