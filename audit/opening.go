package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

type openingJSON struct {
	Fields [][]any `json:"fields"`
	Seed   string  `json:"seed"`
	V      int     `json:"v"`
}

const (
	openingBlock = 256
	maxOpening   = 16 << 20
)

// encodeOpening returns the plaintext that is sealed: canonical JSON, and spaces
// to a multiple of 256, so that the length tells little.
func encodeOpening(o *auditlog.Opening) ([]byte, error) {
	slices.SortFunc(o.Fields, func(a, b auditlog.Field) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Side, b.Side))
	})
	out := openingJSON{Fields: make([][]any, 0, len(o.Fields)), Seed: canon.FormatBytes(o.Seed[:]), V: 1}
	for _, f := range o.Fields {
		out.Fields = append(out.Fields, []any{f.Path, int(f.Side), int(f.Value.Type), canon.FormatBytes(f.Value.Data)})
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
func parseOpening(data []byte) (*auditlog.Opening, error) {
	if len(data) == 0 || len(data)%openingBlock != 0 {
		return nil, malformed("opening of %d bytes", len(data))
	}
	text := bytes.TrimRight(data, " ")
	if len(data)-len(text) >= openingBlock {
		return nil, malformed("opening: padding")
	}
	var in openingJSON
	if err := canon.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%w: opening: %w", auditlog.ErrMalformed, err)
	}
	seed, err := canon.ParseBytes(in.Seed)
	if in.V != 1 || err != nil || len(seed) != 32 || in.Fields == nil {
		return nil, malformed("opening: version or seed")
	}
	o := &auditlog.Opening{Seed: [32]byte(seed)}
	for _, raw := range in.Fields {
		f, err := parseField(raw)
		if err != nil {
			return nil, err
		}
		if n := len(o.Fields); n > 0 && (o.Fields[n-1].Path > f.Path || (o.Fields[n-1].Path == f.Path && o.Fields[n-1].Side >= f.Side)) {
			return nil, malformed("opening: fields out of order")
		}
		o.Fields = append(o.Fields, f)
	}
	return o, nil
}

func parseField(raw []any) (auditlog.Field, error) {
	if len(raw) != 4 {
		return auditlog.Field{}, malformed("opening: field")
	}
	path, ok1 := raw[0].(string)
	side, ok2 := raw[1].(float64)
	kind, ok3 := raw[2].(float64)
	text, ok4 := raw[3].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || path == "" || side < 0 || side > 2 || kind < 0 || kind > float64(auditlog.TypeStandIn) {
		return auditlog.Field{}, malformed("opening: field")
	}
	data, err := canon.ParseBytes(text)
	if err != nil {
		return auditlog.Field{}, malformed("opening: value")
	}
	return auditlog.Field{Path: path, Side: byte(side), Value: frame.Value{Type: frame.Type(kind), Data: data}}, nil
}

// openingAD binds a sealed opening to its event.
func openingAD(event [16]byte) []byte {
	return frame.Join([]byte("crmguard/opening/v1"), event[:])
}

func malformed(what string, args ...any) error {
	return fmt.Errorf("audit: %w: "+what, append([]any{auditlog.ErrMalformed}, args...)...)
}
