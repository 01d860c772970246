package auditlog

import (
	"fmt"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// AppendLeaf appends the bytes of a leaf that are hashed. What [ParseLeaf] would
// refuse it refuses, and writes nothing.
func AppendLeaf(dst []byte, l *Leaf) ([]byte, error) {
	if l == nil {
		return dst, invalid("no leaf to write")
	}
	if err := l.check(); err != nil {
		return dst, err
	}
	w := leafWriter{dst: dst, begin: len(dst)}
	w.leaf(l)
	size := len(w.dst) - w.begin
	switch {
	case w.err != nil:
		return w.dst[:w.begin], fmt.Errorf("%w: leaf: %w", ErrMalformed, w.err)
	case size > MaxLeaf:
		return w.dst[:w.begin], fmt.Errorf("%w: leaf of %d bytes", ErrTooLarge, size)
	}
	return w.dst, nil
}

// leafWriter writes members one after another; the order is the caller's.
type leafWriter struct {
	dst   []byte
	begin int
	err   error
}

// leaf writes the members in the order of their names.
func (w *leafWriter) leaf(l *Leaf) {
	w.raw("{")
	w.text("action", l.Action)
	w.text("actor", l.Actor)
	w.time("at", l.At)
	w.capture(l.Capture)
	w.changes(l.Changes)
	w.text("for", l.For)
	w.gap(l.Gap)
	if l.Kind == KindBeat {
		w.heads(&l.Heads)
	}
	w.text("id", l.ID)
	w.text("kind", l.Kind)
	if l.Object != (Object{}) {
		w.name("object")
		w.raw("[")
		w.element(l.Object.Kind)
		w.element(l.Object.ID)
		w.raw("]")
	}
	w.text("outcome", l.Outcome)
	w.texts("persons", l.Persons)
	w.text("policy", l.Policy)
	w.text("prior", l.Prior)
	w.text("reason", l.Reason)
	w.text("request", l.Request)
	if l.Kind == KindBeat {
		w.int("size", l.Size)
	}
	w.text("tenant", l.Tenant)
	w.int("v", 1)
	w.raw("}")
}

func (w *leafWriter) changes(changes []LeafChange) {
	if len(changes) == 0 {
		return
	}
	w.name("changes")
	w.raw("[")
	for i := range changes {
		c := &changes[i]
		w.comma()
		w.raw("{")
		w.text("new", c.New)
		w.text("odd", c.Odd)
		w.text("old", c.Old)
		w.text("path", c.Path)
		w.text("who", c.Who)
		w.raw("}")
	}
	w.raw("]")
}

func (w *leafWriter) capture(c *LeafCapture) {
	if c == nil {
		return
	}
	w.name("cap")
	w.raw("{")
	w.text("claimed", c.Claimed)
	w.texts("cols", c.Columns)
	w.text("op", c.Op)
	w.text("table", c.Table)
	w.raw("}")
}

func (w *leafWriter) gap(g *LeafGap) {
	if g == nil {
		return
	}
	w.name("gap")
	w.raw("{")
	w.int("count", g.Count)
	w.time("from", g.From)
	w.time("to", g.To)
	w.text("why", g.Why)
	w.raw("}")
}

func (w *leafWriter) heads(h *LeafHeads) {
	w.name("heads")
	w.raw("{")
	w.head("keys", h.Keys)
	w.head("ledger", h.Ledger)
	w.text("seals", h.Seals)
	w.text("snapshots", h.Snapshots)
	w.raw("}")
}

func (w *leafWriter) head(name string, h *LeafHead) {
	if h == nil {
		return
	}
	w.name(name)
	w.raw(`{"hash":`)
	w.quote(h.Hash)
	w.int("n", h.N)
	w.raw("}")
}

func (w *leafWriter) raw(text string) { w.dst = append(w.dst, text...) }

// comma stands before everything but the first.
func (w *leafWriter) comma() {
	if last := w.dst[len(w.dst)-1]; last != '{' && last != '[' {
		w.dst = append(w.dst, ',')
	}
}

// name begins a member. Names are ours and need no escape.
func (w *leafWriter) name(name string) {
	w.comma()
	w.dst = append(append(append(w.dst, '"'), name...), '"', ':')
}

func (w *leafWriter) quote(text string) {
	dst, err := canon.AppendText(w.dst, text)
	w.keep(dst, err)
}

// keep takes what was appended, and the first thing that went wrong.
func (w *leafWriter) keep(dst []byte, err error) {
	w.dst = dst
	if w.err == nil {
		w.err = err
	}
}

// text writes a member that is left out where it is empty.
func (w *leafWriter) text(name, text string) {
	if text != "" {
		w.name(name)
		w.quote(text)
	}
}

func (w *leafWriter) element(text string) {
	w.comma()
	w.quote(text)
}

func (w *leafWriter) texts(name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	w.name(name)
	w.raw("[")
	for _, text := range texts {
		w.element(text)
	}
	w.raw("]")
}

func (w *leafWriter) int(name string, n int64) {
	w.name(name)
	dst, err := canon.AppendInt(w.dst, n)
	w.keep(dst, err)
}

func (w *leafWriter) time(name string, at time.Time) {
	w.name(name)
	dst, err := canon.AppendTime(w.dst, at)
	w.keep(dst, err)
}
