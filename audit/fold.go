package audit

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// A leaf holds 65,535 bytes, which a change of some 400 fields exceeds. Then the
// changes of each owner are folded into one, whose two commitments are hashes
// over those of the fields: the leaf proves as much as before, in one piece an
// owner instead of one a field. The opening is the same.

// folded is the path of such a change: no field has it.
const folded = "*"

// mayFold is the number of changes from which on a leaf may be too large: with
// the longest names and 500 persons, as many fit.
const mayFold = 100

// fold folds all changes where the leaf would be too large with them.
func (l *Leaf) fold() error {
	if len(l.Changes) < mayFold {
		return nil
	}
	data, err := canon.Marshal(l.Changes)
	if err != nil {
		return err
	}
	if len(data) < maxLeaf/2 {
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
	out := LeafChange{Path: folded, Who: who}
	label := frame.Append(nil, "crmguard/audit/fold/v1")
	sides := [2][]byte{append(slices.Clone(label), sideOld), append(slices.Clone(label), sideNew)}
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

// part is one field of an opening.
type part struct {
	path          string
	before, after frame.Value
}

// spread lists the fields of an opening, and how they would stand in a leaf.
func (o *opening) spread(event [16]byte, who string) (changes []LeafChange, parts []part) {
	for fields := o.fields; len(fields) > 0; {
		path := fields[0].path
		var sides [3]*frame.Value // the fields of one path stand together
		for ; len(fields) > 0 && fields[0].path == path; fields = fields[1:] {
			sides[fields[0].side] = &fields[0].value
		}
		before, after, name := sides[sideOld], sides[sideNew], sides[sideOther]
		if before == nil || after == nil {
			continue // the hash will differ
		}
		c := LeafChange{
			Path: path, Who: who, Odd: oddSides(*before, *after),
			Old: commit(o.seed, event, path, sideOld, *before), New: commit(o.seed, event, path, sideNew, *after),
		}
		if name != nil {
			c.Path = "c:" + commit(o.seed, event, path, sideOther, *name)
		}
		changes, parts = append(changes, c), append(parts, part{path, *before, *after})
	}
	return changes, parts
}

// unfold lists the fields behind a change of a leaf: the one that it is about, or
// where it is folded all of the opening. They are what the leaf commits to.
func (o *opening) unfold(event [16]byte, c LeafChange) ([]part, error) {
	if c.Path != folded {
		path, before, after, err := o.open(event, c)
		if err != nil {
			return nil, err
		}
		return []part{{path, before, after}}, nil
	}
	changes, parts := o.spread(event, c.Who)
	if foldOwner(c.Who, changes) != c {
		return nil, fmt.Errorf("%w: a value is not the one committed to", ErrTampered)
	}
	return parts, nil
}
