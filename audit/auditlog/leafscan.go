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
	var r leafReader
	if err := r.read(string(data)); err != nil {
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
	pair    [2]string // what object mostly is
	at      bool      // these members are there
	size    bool
	heads   bool
	empty   bool // a member that is left out where it says nothing is there

	oldChanges []LeafChange // room for the next leaf
	oldPersons []string
}

// read reads a leaf, whose strings are parts of text. The lists of the leaf that
// was read before are written over.
func (r *leafReader) read(text string) error {
	if len(text) > MaxLeaf {
		return malformed("leaf of %d bytes", len(text))
	}
	*r = leafReader{Scanner: canon.Scan(text), oldChanges: r.oldChanges, oldPersons: r.oldPersons}
	members := r.Begin()
	for name, ok := r.Member(&members); ok; name, ok = r.Member(&members) {
		switch {
		case r.text(name):
		case name == "changes":
			r.leaf.Changes = r.changes(r.oldChanges[:0])
			r.oldChanges = r.leaf.Changes
		case name == "persons":
			r.leaf.Persons = r.texts(r.oldPersons[:0])
			r.oldPersons = r.leaf.Persons
		default:
			r.member(name)
		}
	}
	if err := r.End(); err != nil {
		return fmt.Errorf("%w: leaf: %w", ErrMalformed, err)
	}
	if r.version != 1 {
		return malformed("leaf of version %d", r.version)
	}
	return r.finish()
}

// taken is the leaf that was read, for somebody who keeps it.
func (r *leafReader) taken() *Leaf {
	leaf := r.leaf
	r.oldChanges, r.oldPersons = nil, nil
	return &leaf
}

// some reads text that says something. One leaf has one spelling: where there is
// nothing to say the member is not there.
func (r *leafReader) some() string {
	text := r.Text()
	r.empty = r.empty || text == ""
	return text
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
	*to = r.some()
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
	case "gap":
		l.Gap = r.gap()
	case "heads":
		r.heads = true
		r.readHeads()
	case "object":
		r.object = r.texts(r.pair[:0])
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
	if r.empty {
		return malformed("leaf: a member that says nothing")
	}
	if r.object != nil && !beat {
		if len(r.object) != 2 {
			return malformed("leaf: object")
		}
		l.Object = Object{Kind: r.object[0], ID: r.object[1], Person: IsSurrogate(r.object[1])}
		if l.Object == (Object{}) {
			return malformed("leaf: an object that is none")
		}
	}
	return l.check()
}

// texts reads strings into a list, which has one at least.
func (r *leafReader) texts(into []string) []string {
	if into == nil {
		into = []string{}
	}
	for in := r.List(); r.Element(&in); {
		into = append(into, r.Text())
	}
	r.empty = r.empty || len(into) == 0
	return into
}

func (r *leafReader) changes(into []LeafChange) []LeafChange {
	if into == nil {
		into = []LeafChange{}
	}
	for in := r.List(); r.Element(&in); {
		into = append(into, LeafChange{})
		r.change(&into[len(into)-1])
	}
	r.empty = r.empty || len(into) == 0
	return into
}

func (r *leafReader) change(c *LeafChange) {
	members := r.Begin()
	for name, ok := r.Member(&members); ok; name, ok = r.Member(&members) {
		switch name {
		case "new":
			c.New = r.some()
		case "odd":
			c.Odd = r.some()
		case "old":
			c.Old = r.some()
		case "path":
			c.Path = r.some()
		case "who":
			c.Who = r.some()
		default:
			r.Skip()
		}
	}
}

func (r *leafReader) capture() *LeafCapture {
	c := &LeafCapture{}
	members := r.Begin()
	for name, ok := r.Member(&members); ok; name, ok = r.Member(&members) {
		switch name {
		case "claimed":
			c.Claimed = r.some()
		case "cols":
			c.Columns = r.texts(nil)
		case "op":
			c.Op = r.some()
		case "table":
			c.Table = r.some()
		default:
			r.Skip()
		}
	}
	return c
}

func (r *leafReader) gap() *LeafGap {
	g := &LeafGap{}
	times := 0
	members := r.Begin()
	for name, ok := r.Member(&members); ok; name, ok = r.Member(&members) {
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
			g.Why = r.some()
		default:
			r.Skip()
		}
	}
	if times != 2 {
		g.Count = 0 // a gap without its times is none
	}
	return g
}

func (r *leafReader) readHeads() {
	h := &r.leaf.Heads
	members := r.Begin()
	for name, ok := r.Member(&members); ok; name, ok = r.Member(&members) {
		switch name {
		case "keys":
			h.Keys = r.chained()
		case "ledger":
			h.Ledger = r.chained()
		case "seals":
			h.Seals = r.some()
		case "snapshots":
			h.Snapshots = r.some()
		default:
			r.Skip()
		}
	}
}

func (r *leafReader) chained() *LeafHead {
	h := &LeafHead{}
	both := 0
	members := r.Begin()
	for name, ok := r.Member(&members); ok; name, ok = r.Member(&members) {
		switch name {
		case "hash":
			h.Hash = r.Text()
			both++
		case "n":
			h.N = r.Int()
			both++
		default:
			r.Skip()
		}
	}
	if both != 2 {
		h.N = -1 // a head is both
	}
	return h
}
