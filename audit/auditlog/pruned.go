package auditlog

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// What retention takes out of a log are whole bundles of entries, the oldest first.
// Their hash tiles stay, and so does every proof: what the entries said is gone,
// and that they were there is not. The log says itself how far it went, in an entry
// of kind prune behind all that it took.

// PruneEntries and PruneOpenings are the kinds of the object of a leaf of kind
// prune: what was dropped, of the entries that its id names as "0/<the first that
// stays>".
const (
	PruneEntries  = "entries"
	PruneOpenings = "openings"
)

// PruneObject is the object of a leaf of kind prune.
func PruneObject(what string, to int64) Object {
	return Object{Kind: what, ID: "0/" + strconv.FormatInt(to, 10)}
}

// Pruned says what a leaf of kind prune has dropped ([PruneEntries],
// [PruneOpenings]), and the first entry that stays; ok is false for every other
// leaf.
func (l *Leaf) Pruned() (what string, to int64, ok bool) {
	text, found := strings.CutPrefix(l.Object.ID, "0/")
	to, err := strconv.ParseInt(text, 10, 64)
	switch {
	case l.Kind != KindPrune || !found || err != nil || to < 0 || strconv.FormatInt(to, 10) != text:
		return "", 0, false
	case l.Object.Kind == PruneEntries && to%c2sp.TileWidth == 0, l.Object.Kind == PruneOpenings:
		return l.Object.Kind, to, true
	}
	return "", 0, false
}

// absence is bundles that are not there: whether they went with retention is known
// when the whole log was read.
type absence struct{ from, to int64 }

// mostAbsences bounds what is remembered of them. Retention leaves one.
const mostAbsences = 1000

// absent says whether a bundle that is not there may be a pruned one, and
// remembers it.
func (w *walker) absent(b *bundle) bool {
	if !errors.Is(b.err, fs.ErrNotExist) || b.width < c2sp.TileWidth || b.tile.hashes(b.width) == nil {
		return false
	}
	if last := len(w.absences) - 1; last >= 0 && w.absences[last].to == b.n {
		w.absences[last].to++
		return true
	}
	if len(w.absences) == mostAbsences {
		return false
	}
	w.absences = append(w.absences, absence{b.n, b.n + 1})
	return true
}

// retained tells retention from loss: what the newest entry of kind prune does not
// name is missing. What it names is proved by nobody but the kept checkpoint.
func (w *walker) retained() {
	mark := w.prunedTo / c2sp.TileWidth
	for _, a := range w.absences {
		if gone := min(a.to, mark) - a.from; gone > 0 {
			w.report.Pruned += gone * c2sp.TileWidth
		}
		for n := max(a.from, mark); n < a.to; n++ {
			w.fault(Incomplete, n*c2sp.TileWidth, c2sp.TilePath(c2sp.Tile(-1, n, c2sp.TileWidth)), "the entries cannot be read")
		}
	}
	w.absences = nil
	if w.report.Pruned > 0 && w.report.Kept == OK && w.kept.N < w.prunedTo {
		w.report.Kept = Unanchored
	}
}
