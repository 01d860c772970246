package auditlog

import (
	"fmt"

	"github.com/crmguard/crmguard/internal/frame"
)

// Opening is what one owner's commitments of one event open with. Whoever has
// it can show each of its fields; to show one of them, show its salt instead of
// the seed.
type Opening struct {
	Seed   [32]byte // random for each event and owner
	Fields []Field  // by path and side
}

// Field is one side of one field, in the bytes that are committed to.
type Field struct {
	Path  string
	Side  byte // [SideOld], [SideNew] or [SideName]
	Value frame.Value
}

// Part is one field of an opening, both sides of it.
type Part struct {
	Path          string // its true name
	Before, After frame.Value
}

// find returns one side of a field.
func (o *Opening) find(path string, side byte) (frame.Value, bool) {
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Side == side && f.Path == path {
			return f.Value, true
		}
	}
	return frame.Value{}, false
}

// open checks one change of a leaf against the opening of its owner and returns
// the field behind it.
func (o *Opening) open(event [16]byte, c *LeafChange) (Part, error) {
	p := Part{Path: c.Path}
	if len(c.Path) > 2 && c.Path[:2] == "c:" {
		var err error
		if p.Path, err = o.name(event, c.Path[2:]); err != nil {
			return Part{}, err
		}
	}
	var ok1, ok2 bool
	p.Before, ok1 = o.find(p.Path, SideOld)
	p.After, ok2 = o.find(p.Path, SideNew)
	if !ok1 || !ok2 {
		return Part{}, fmt.Errorf("%w: opening lacks a field of its event", ErrTampered)
	}
	if o.Commit(event, Field{p.Path, SideOld, p.Before}) != c.Old || o.Commit(event, Field{p.Path, SideNew, p.After}) != c.New {
		return Part{}, fmt.Errorf("%w: a value is not the one committed to", ErrTampered)
	}
	if OddSides(p.Before, p.After) != c.Odd {
		return Part{}, fmt.Errorf("%w: the log does not say rightly which values are stand-ins", ErrTampered)
	}
	return p, nil
}

// name finds the undeclared name that a leaf commits to.
func (o *Opening) name(event [16]byte, want string) (string, error) {
	for i := range o.Fields {
		f := &o.Fields[i]
		if f.Side == SideName && string(f.Value.Data) == f.Path && o.Commit(event, *f) == want {
			return f.Path, nil
		}
	}
	return "", fmt.Errorf("%w: opening lacks a path of its event", ErrTampered)
}

// Matches checks every commitment of one owner.
func (o *Opening) Matches(l *Leaf, owner string) error {
	id, err := ParseID(l.ID)
	if err != nil {
		return err
	}
	for i := range l.Changes {
		if l.Changes[i].Owner() != owner {
			continue
		}
		if _, err := o.Unfold(id, l.Changes[i]); err != nil {
			return err
		}
	}
	return nil
}

// Unfold lists the fields behind a change of a leaf: the one that it is about,
// or where it is folded all of the opening. They are what the leaf commits to.
func (o *Opening) Unfold(event [16]byte, c LeafChange) ([]Part, error) {
	if c.Path != Folded {
		p, err := o.open(event, &c)
		if err != nil {
			return nil, err
		}
		return []Part{p}, nil
	}
	changes, parts := o.spread(event, c.Who)
	if foldOwner(c.Who, changes) != c {
		return nil, fmt.Errorf("%w: a value is not the one committed to", ErrTampered)
	}
	return parts, nil
}

// spread lists the fields of an opening, and how they would stand in a leaf.
func (o *Opening) spread(event [16]byte, who string) (changes []LeafChange, parts []Part) {
	for fields := o.Fields; len(fields) > 0; {
		path := fields[0].Path
		var sides [3]*Field // the fields of one path stand together
		for ; len(fields) > 0 && fields[0].Path == path; fields = fields[1:] {
			if side := fields[0].Side; side <= SideName {
				sides[side] = &fields[0]
			}
		}
		before, after, name := sides[SideOld], sides[SideNew], sides[SideName]
		if before == nil || after == nil {
			continue // the hash will differ
		}
		c := LeafChange{
			Path: path, Who: who, Odd: OddSides(before.Value, after.Value),
			Old: o.Commit(event, *before), New: o.Commit(event, *after),
		}
		if name != nil {
			c.Path = "c:" + o.Commit(event, *name)
		}
		changes, parts = append(changes, c), append(parts, Part{path, before.Value, after.Value})
	}
	return changes, parts
}
