package audit

import (
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// findAhead is what entries are found by that this pass has filed, so that nobody
// has to read them back and take them apart once more. It is no longer than what
// a pass files of query keys behind its signing, and does not outlive the pass. Nil
// keeps nothing.
type findAhead struct {
	first int64 // the place of the first one
	rows  []foundRows
}

// foundRows are the rows by which an entry is found.
type foundRows struct {
	found, persons [][]any
}

// add keeps what an entry is found by that has got its place for good. What others
// have filed meanwhile is read back, and all that follows it.
func (f *findAhead) add(idx, at int64, leaf *auditlog.Leaf) {
	if f == nil || len(f.rows) == findAPass || len(f.rows) > 0 && idx != f.first+int64(len(f.rows)) {
		return
	}
	if len(f.rows) == 0 {
		f.first = idx
	}
	f.rows = append(f.rows, findRows(idx, at, leaf))
}

// addAll keeps a batch, and the beat behind it, that a log of a size ends with.
func (f *findAhead) addAll(size int64, rows []checked, beat *auditlog.Leaf, now time.Time) {
	if beat != nil {
		size--
		defer f.add(size, now.UnixMicro(), beat)
	}
	for i := range rows {
		f.add(size-int64(len(rows)-i), rows[i].at, &rows[i].leaf)
	}
}

// from is what is kept of the entries from one on, limit of them at most.
func (f *findAhead) from(idx int64, limit int) []foundRows {
	if f == nil || idx < f.first || idx >= f.first+int64(len(f.rows)) {
		return nil
	}
	f.first, f.rows = idx, f.rows[idx-f.first:] // the others are filed
	return f.rows[:min(limit, len(f.rows))]
}

// findRows are the rows by which an entry is found: none where its persons cannot
// be read.
func findRows(idx, at int64, leaf *auditlog.Leaf) (out foundRows) {
	if persons, err := personRows(idx, at, leaf); err == nil {
		out = foundRows{[][]any{foundRow(idx, at, leaf)}, persons}
	}
	return out
}
