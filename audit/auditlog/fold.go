package auditlog

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// A leaf holds 65,535 bytes, which a change of some 400 fields exceeds. Then the
// changes of each owner are folded into one, whose two commitments are hashes
// over those of the fields: the leaf proves as much as before, in one piece an
// owner instead of one a field. The opening is the same.

// Folded is the path of such a change: no field has it.
const Folded = "*"

const foldLabel = "crmguard/audit/fold/v1"

// mayFold is the number of changes from which on a leaf may be too large: with
// the longest names and 500 persons, as many fit.
const mayFold = 100

// Fold folds all changes where the leaf would be too large with them.
func (l *Leaf) Fold() error {
	if len(l.Changes) < mayFold {
		return nil
	}
	w := leafWriter{dst: []byte{'{'}}
	w.changes(l.Changes)
	if w.err != nil {
		return malformed("leaf: %w", w.err)
	}
	if len(w.dst)-len(`{"changes":`) < MaxLeaf/2 {
		return nil
	}
	l.Changes = foldChanges(l.Changes)
	return nil
}

// foldChanges makes one change an owner, in the order of the owners.
func foldChanges(changes []LeafChange) []LeafChange {
	by := make(map[string][]LeafChange)
	var owners []string
	for _, c := range changes {
		if by[c.Who] == nil {
			owners = append(owners, c.Who)
		}
		by[c.Who] = append(by[c.Who], c)
	}
	slices.Sort(owners)
	out := make([]LeafChange, 0, len(owners))
	for _, who := range owners {
		out = append(out, foldOwner(who, by[who]))
	}
	return out
}

func foldOwner(who string, changes []LeafChange) LeafChange {
	slices.SortFunc(changes, func(a, b LeafChange) int { return cmp.Compare(a.Path, b.Path) })
	out := LeafChange{Path: Folded, Who: who}
	label := frame.Append(nil, foldLabel)
	sides := [2][]byte{append(slices.Clone(label), SideOld), append(slices.Clone(label), SideNew)}
	for _, c := range changes {
		sides[0] = frame.Append(frame.Append(sides[0], c.Path), c.Old)
		sides[1] = frame.Append(frame.Append(sides[1], c.Path), c.New)
		out.Odd = eitherOdd(out.Odd, c.Odd)
	}
	before, after := sha256.Sum256(sides[0]), sha256.Sum256(sides[1])
	out.Old, out.New = canon.FormatBytes(before[:]), canon.FormatBytes(after[:])
	return out
}

// eitherOdd joins what is odd in two changes.
func eitherOdd(a, b string) string {
	if a == b || b == "" {
		return a
	}
	if a == "" {
		return b
	}
	return "both"
}
