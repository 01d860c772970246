package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// opening is what one owner's commitments of one event open with.
type opening struct {
	seed   []byte
	fields []opened
}

// opened is one side of one field.
type opened struct {
	path  string
	side  byte
	value frame.Value
}

type openingJSON struct {
	Fields [][]any `json:"fields"`
	Seed   string  `json:"seed"`
	V      int     `json:"v"`
}

const openingBlock = 256

// encode returns the plaintext that is sealed: canonical JSON, and spaces to
// a multiple of 256, so that the length tells little.
func (o *opening) encode() ([]byte, error) {
	slices.SortFunc(o.fields, func(a, b opened) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.side, b.side))
	})
	out := openingJSON{Fields: make([][]any, 0, len(o.fields)), Seed: canon.FormatBytes(o.seed), V: 1}
	for _, f := range o.fields {
		out.Fields = append(out.Fields, []any{f.path, int(f.side), int(f.value.Type), canon.FormatBytes(f.value.Data)})
	}
	data, err := canon.Marshal(out)
	if err != nil {
		return nil, err
	}
	if len(data) > maxOpening {
		return nil, fmt.Errorf("%w: opening of %d bytes", ErrTooLarge, len(data))
	}
	short := (openingBlock - len(data)%openingBlock) % openingBlock
	return append(data, bytes.Repeat([]byte{' '}, short)...), nil
}

// parseOpening reads the plaintext of an opening.
func parseOpening(data []byte) (*opening, error) {
	if len(data) == 0 || len(data)%openingBlock != 0 {
		return nil, malformed("opening of %d bytes", len(data))
	}
	text := bytes.TrimRight(data, " ")
	if len(data)-len(text) >= openingBlock {
		return nil, malformed("opening: padding")
	}
	var in openingJSON
	if err := canon.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%w: opening: %w", ErrMalformed, err)
	}
	seed, err := canon.ParseBytes(in.Seed)
	if in.V != 1 || err != nil || len(seed) != 32 || in.Fields == nil {
		return nil, malformed("opening: version or seed")
	}
	o := &opening{seed: seed}
	for _, raw := range in.Fields {
		f, err := parseField(raw)
		if err != nil {
			return nil, err
		}
		if n := len(o.fields); n > 0 && (o.fields[n-1].path > f.path || (o.fields[n-1].path == f.path && o.fields[n-1].side >= f.side)) {
			return nil, malformed("opening: fields out of order")
		}
		o.fields = append(o.fields, f)
	}
	return o, nil
}

func parseField(raw []any) (opened, error) {
	if len(raw) != 4 {
		return opened{}, malformed("opening: field")
	}
	path, ok1 := raw[0].(string)
	side, ok2 := raw[1].(float64)
	kind, ok3 := raw[2].(float64)
	text, ok4 := raw[3].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || path == "" || side < 0 || side > 2 || kind < 0 || kind > float64(standIn) {
		return opened{}, malformed("opening: field")
	}
	data, err := canon.ParseBytes(text)
	if err != nil {
		return opened{}, malformed("opening: value")
	}
	return opened{path: path, side: byte(side), value: frame.Value{Type: frame.Type(kind), Data: data}}, nil
}

// find returns one side of a field.
func (o *opening) find(path string, side byte) (frame.Value, bool) {
	for _, f := range o.fields {
		if f.path == path && f.side == side {
			return f.value, true
		}
	}
	return frame.Value{}, false
}

// open checks one change of a leaf against the opening of its owner and
// returns the true path and both values.
func (o *opening) open(event [16]byte, c LeafChange) (path string, before, after frame.Value, err error) {
	path = c.Path
	if len(path) > 2 && path[:2] == "c:" {
		if path, err = o.path(event, c.Path[2:]); err != nil {
			return "", frame.Value{}, frame.Value{}, err
		}
	}
	before, ok1 := o.find(path, sideOld)
	after, ok2 := o.find(path, sideNew)
	if !ok1 || !ok2 {
		return "", frame.Value{}, frame.Value{}, fmt.Errorf("%w: opening lacks a field of its event", ErrTampered)
	}
	if commit(o.seed, event, path, sideOld, before) != c.Old || commit(o.seed, event, path, sideNew, after) != c.New {
		return "", frame.Value{}, frame.Value{}, fmt.Errorf("%w: a value is not the one committed to", ErrTampered)
	}
	if oddSides(before, after) != c.Odd {
		return "", frame.Value{}, frame.Value{}, fmt.Errorf("%w: the log does not say rightly which values are stand-ins", ErrTampered)
	}
	return path, before, after, nil
}

// path finds the undeclared path that a leaf commits to.
func (o *opening) path(event [16]byte, want string) (string, error) {
	for _, f := range o.fields {
		if f.side == sideOther && string(f.value.Data) == f.path && commit(o.seed, event, f.path, sideOther, f.value) == want {
			return f.path, nil
		}
	}
	return "", fmt.Errorf("%w: opening lacks a path of its event", ErrTampered)
}

// openingAD binds a sealed opening to its event.
func openingAD(event [16]byte) []byte {
	return frame.Join([]byte("crmguard/opening/v1"), event[:])
}
