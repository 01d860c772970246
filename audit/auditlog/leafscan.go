package auditlog

import (
	"fmt"

	"github.com/crmguard/crmguard/internal/canon"
)

// ParseLeaf reads an entry of the log, in one pass. Bytes that are not
// canonical, another version, a missing member or one of the wrong form are
// refused; unknown members are allowed, for the bytes as received are what is
// verified.
func ParseLeaf(data []byte) (Leaf, error) {
	if len(data) > MaxLeaf {
		return Leaf{}, malformed("leaf of %d bytes", len(data))
	}
	r := leafReader{Scanner: canon.Scan(string(data))}
	r.Object(func(name string) {
		if !r.text(name) {
			r.member(name)
		}
	})
	if err := r.End(); err != nil {
		return Leaf{}, fmt.Errorf("%w: leaf: %w", ErrMalformed, err)
	}
	if r.version != 1 {
		return Leaf{}, malformed("leaf of version %d", r.version)
	}
	if err := r.finish(); err != nil {
		return Leaf{}, err
	}
	return r.leaf, nil
}

// leafReader is a leaf while it is read.
type leafReader struct {
	canon.Scanner
	leaf    Leaf
	version int64
	object  []string
	at      bool // these members are there
	size    bool
	heads   bool
}

// text reads the members that are strings, and says whether it was one.
func (r *leafReader) text(name string) bool {
	l := &r.leaf
	var to *string
	switch name {
	case "action":
		to = &l.Action
	case "actor":
		to = &l.Actor
	case "for":
		to = &l.For
	case "id":
		to = &l.ID
	case "kind":
		to = &l.Kind
	case "outcome":
		to = &l.Outcome
	case "policy":
		to = &l.Policy
	case "prior":
		to = &l.Prior
	case "reason":
		to = &l.Reason
	case "request":
		to = &l.Request
	case "tenant":
		to = &l.Tenant
	default:
		return false
	}
	*to = r.Text()
	return true
}

// member reads the others.
func (r *leafReader) member(name string) {
	l := &r.leaf
	switch name {
	case "at":
		l.At, r.at = r.Time(), true
	case "cap":
		l.Capture = r.capture()
	case "changes":
		l.Changes = []LeafChange{}
		r.Array(r.change)
	case "gap":
		l.Gap = r.gap()
	case "heads":
		r.heads = true
		r.Object(r.head)
	case "object":
		r.object = r.texts()
	case "persons":
		l.Persons = r.texts()
	case "size":
		l.Size, r.size = r.Int(), true
	case "v":
		r.version = r.Int()
	default:
		r.Skip()
	}
}

// finish is what only a whole leaf can be asked.
func (r *leafReader) finish() error {
	l := &r.leaf
	beat := l.Kind == KindBeat
	if !r.at || r.size != beat || r.heads != beat {
		return malformed("leaf: time, or the size and heads that a beat has and nothing else")
	}
	if r.object != nil && !beat {
		if len(r.object) != 2 {
			return malformed("leaf: object")
		}
		l.Object = Object{Kind: r.object[0], ID: r.object[1], Person: IsSurrogate(r.object[1])}
	}
	return l.check()
}

func (r *leafReader) texts() []string {
	out := []string{}
	r.Array(func() { out = append(out, r.Text()) })
	return out
}

func (r *leafReader) change() {
	var c LeafChange
	r.Object(func(name string) {
		switch name {
		case "new":
			c.New = r.Text()
		case "odd":
			c.Odd = r.Text()
		case "old":
			c.Old = r.Text()
		case "path":
			c.Path = r.Text()
		case "who":
			c.Who = r.Text()
		default:
			r.Skip()
		}
	})
	r.leaf.Changes = append(r.leaf.Changes, c)
}

func (r *leafReader) capture() *LeafCapture {
	c := &LeafCapture{}
	r.Object(func(name string) {
		switch name {
		case "claimed":
			c.Claimed = r.Text()
		case "cols":
			c.Columns = r.texts()
		case "op":
			c.Op = r.Text()
		case "table":
			c.Table = r.Text()
		default:
			r.Skip()
		}
	})
	return c
}

func (r *leafReader) gap() *LeafGap {
	g := &LeafGap{}
	times := 0
	r.Object(func(name string) {
		switch name {
		case "count":
			g.Count = r.Int()
		case "from":
			g.From = r.Time()
			times++
		case "to":
			g.To = r.Time()
			times++
		case "why":
			g.Why = r.Text()
		default:
			r.Skip()
		}
	})
	if times != 2 {
		g.Count = 0 // a gap without its times is none
	}
	return g
}

func (r *leafReader) head(name string) {
	h := &r.leaf.Heads
	switch name {
	case "keys":
		h.Keys = r.chained()
	case "ledger":
		h.Ledger = r.chained()
	case "seals":
		h.Seals = r.Text()
	case "snapshots":
		h.Snapshots = r.Text()
	default:
		r.Skip()
	}
}

func (r *leafReader) chained() *LeafHead {
	h := &LeafHead{}
	r.Object(func(name string) {
		switch name {
		case "hash":
			h.Hash = r.Text()
		case "n":
			h.N = r.Int()
		default:
			r.Skip()
		}
	})
	return h
}
