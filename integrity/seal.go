package integrity

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
)

// Tagger makes and checks keyed tags of a tenant; the tagger of a vault of
// package encryption, for the purpose "seal", is one, [KeysFrom] makes another.
// A tag made under an older key must verify as long as the keyset holds that
// key. Verify answers an error that wraps [fs.ErrNotExist] when the key of the
// tag is not there.
type Tagger interface {
	// Tag returns the tag of data.
	Tag(ctx context.Context, tenant string, data []byte) ([]byte, error)
	// Verify returns nil only for a tag of data.
	Verify(ctx context.Context, tenant string, data, tag []byte) error
}

// Layout says which columns a seal covers. It is frozen once a row was sealed
// under its id: another set of columns is a new id beside it.
type Layout struct {
	// ID is stored beside the seal, such as "contact/1".
	ID string
	// Columns are what the seal covers: the stored bytes of sealed columns,
	// never a blind index, the seal itself or its schema id.
	Columns []Column
}

// Ref names a row and its version. All of it enters the seal.
type Ref struct {
	// Tenant, Table and Key name the row.
	Tenant, Table, Key string
	// Version is the row's version column, raised by every change; 0 only
	// where there is none. Then a row put back with its old seal is found by
	// the roots only.
	Version int64
	// SchemaID names the layout.
	SchemaID string
	// Event is the UUID of the audit event that made this version, "" for none.
	Event string
}

// SealedRow is a row as it stands in its table.
type SealedRow struct {
	// Ref names it.
	Ref Ref
	// Values are exactly the columns of its layout.
	Values map[string]any
	// Seal is what stands beside it; nil or empty is none.
	Seal []byte
}

// Sealer seals rows and verifies them.
type Sealer struct {
	tagger  Tagger
	layouts map[string][]Column // sorted by name bytes
	past    history
}

// NewSealer returns a sealer that knows these layouts. Keep old layouts as
// long as rows are sealed under them.
func NewSealer(tagger Tagger, layouts ...Layout) (*Sealer, error) {
	if v := reflect.ValueOf(tagger); tagger == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, configErr("sealer: no tagger: KeysFile makes one, and so does a vault")
	}
	if len(layouts) == 0 {
		return nil, configErr("sealer: no layout")
	}
	s := &Sealer{tagger: tagger, layouts: map[string][]Column{}}
	for _, l := range layouts {
		if err := ids.Check("schema id", l.ID); err != nil {
			return nil, configErr("layout: %w", err)
		}
		if _, twice := s.layouts[l.ID]; twice || len(l.Columns) == 0 {
			return nil, configErr("layout %q stands twice or has no columns", l.ID)
		}
		columns := slices.Clone(l.Columns)
		if err := CheckColumns(columns...); err != nil {
			return nil, fmt.Errorf("%w (layout %q)", err, l.ID)
		}
		slices.SortFunc(columns, func(a, b Column) int { return strings.Compare(a.Name, b.Name) })
		s.layouts[l.ID] = columns
	}
	return s, nil
}

// Seal returns the seal of a row that is about to be stored. values must be
// exactly the columns of the layout, as they will be stored. Call it in the
// transaction that writes the row.
//
// What SQL compares as different must not be one behind a seal, so each type
// takes few Go types and one spelling. [driver.Valuer], pointers and named types
// are what they lead to; NULL is nil, nil bytes, a nil pointer, a sql.Null* that
// is not valid, and no empty value is. A UUID ([16]byte) is its text in lower
// case, a time.Duration its nanoseconds, a json.Number the integer or decimal
// that it is, a json.RawMessage, a slice or a map the JSON that it is. Then
//
//   - text types: string, valid UTF-8
//   - Integer: int64
//   - Decimal: string with exactly Scale digits after the point; int64 and
//     float64, as SQLite keeps numeric(12,2), where the float64 stands for one
//     decimal alone: 90071992547409.93 and .94 are one float64, and refused
//   - Boolean: bool, int64 0 and 1
//   - Date: string YYYY-MM-DD, time.Time at midnight of its own zone
//   - Time: time.Time in whole microseconds (databases round or cut what is
//     finer: Truncate it before), int64 microseconds since 1970
//   - Bytes: []byte
//   - JSON: string with one JSON document
//   - Float: float64, int64 that a float64 holds; 0 and -0 are one
//   - Sealed: []byte in binary form, string in the form cg1.…
//
// and everything else is an error that wraps [ErrRow] and names the column.
func (s *Sealer) Seal(ctx context.Context, ref Ref, values map[string]any) ([]byte, error) {
	if names := ref.missing(); len(names) > 0 {
		return nil, rowErr("seal: the Ref lacks %s", strings.Join(names, ", "))
	}
	input, err := s.input(ref, values)
	if err != nil {
		return nil, err
	}
	tag, err := s.tagger.Tag(ctx, ref.Tenant, input)
	s.past.answered(ctx, err)
	if err != nil {
		return nil, fmt.Errorf("integrity: seal: %w", err)
	}
	return tag, nil
}

// Verify returns nil when the row is the one that was sealed, and otherwise
// [ErrTampered] (it names the column where one holds what its type rules out),
// [ErrNoSeal], [ErrUnknownKey], [ErrUnknownSchema], [ErrRow] (a column is
// missing or too many) or, for a tagger that does not work at the moment, its
// error. Read the row with [Reader.Sealed], so that Verify sees what the database
// holds.
func (s *Sealer) Verify(ctx context.Context, row SealedRow) error {
	if err := s.check(); err != nil {
		return err
	}
	err := s.verify(ctx, row)
	s.past.judged(row.Ref, err)
	return err
}

func (s *Sealer) verify(ctx context.Context, row SealedRow) error {
	if len(row.Seal) == 0 {
		return ErrNoSeal
	}
	input, err := s.input(row.Ref, row.Values)
	if value, ok := errors.AsType[*valueError](err); ok {
		return &tamperError{column: value.column, what: value.what} // what was sealed had an encoding
	}
	if err != nil {
		return err
	}
	err = s.tagger.Verify(ctx, row.Ref.Tenant, input, row.Seal)
	if err == nil {
		s.past.answered(ctx, nil)
		return nil
	}
	return s.verdict(ctx, row.Ref.Tenant, err)
}

// verdict tells a forged seal from a tagger that does not work: a working one
// makes and verifies a tag of its own.
func (s *Sealer) verdict(ctx context.Context, tenant string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return ErrUnknownKey
	}
	probe := frame.Join("crmguard/seal/probe/v1", tenant)
	tag, broken := s.tagger.Tag(ctx, tenant, probe)
	if broken == nil {
		broken = s.tagger.Verify(ctx, tenant, probe, tag)
	}
	s.past.answered(ctx, broken)
	if broken != nil {
		return fmt.Errorf("integrity: verify: %w", broken)
	}
	return ErrTampered
}

// Reseal verifies a row as it stands and returns the seal of what it is about
// to become: never the other way round, so that a tampered row is not blessed.
func (s *Sealer) Reseal(ctx context.Context, before SealedRow, ref Ref, values map[string]any) ([]byte, error) {
	if before.Ref.Tenant != ref.Tenant || before.Ref.Table != ref.Table || before.Ref.Key != ref.Key {
		return nil, rowErr("reseal: not the same row")
	}
	if ref.Version < before.Ref.Version {
		return nil, rowErr("reseal: version %d after %d", ref.Version, before.Ref.Version)
	}
	if err := s.Verify(ctx, before); err != nil {
		return nil, err
	}
	return s.Seal(ctx, ref, values)
}

// Columns lists the columns of a layout in the order of their names, nil for
// an unknown id: what a sweep has to read for rows under that id.
func (s *Sealer) Columns(schemaID string) []Column {
	if s == nil {
		return nil
	}
	return slices.Clone(s.layouts[schemaID])
}

func (s *Sealer) check() error {
	if s == nil || s.tagger == nil {
		return configErr("a Sealer that NewSealer did not make")
	}
	return nil
}

// input is what is tagged.
func (s *Sealer) input(ref Ref, values map[string]any) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	columns, known := s.layouts[ref.SchemaID]
	if !known {
		if ref.SchemaID == "" {
			return nil, fmt.Errorf("%w: the Ref lacks %s", ErrUnknownSchema, strings.Join(ref.missing(), ", "))
		}
		return nil, ErrUnknownSchema
	}
	event, err := ref.check()
	if err != nil {
		return nil, err
	}
	if err := fits(ref.SchemaID, columns, values); err != nil {
		return nil, err
	}
	in := make([]byte, 0, 512)
	for _, part := range []string{"crmguard/seal/v1", ref.Tenant, ref.Table, ref.Key} {
		in = frame.Append(in, part)
	}
	in = binary.BigEndian.AppendUint64(in, uint64(ref.Version))
	in = frame.Append(frame.Append(in, ref.SchemaID), event)
	in = binary.BigEndian.AppendUint32(in, uint32(len(columns)))
	for _, c := range columns {
		v, err := c.stored(values[c.Name])
		if err != nil {
			return nil, err
		}
		in = v.Append(frame.Append(in, c.Name))
	}
	return in, nil
}

// fits names the columns that are missing or too many: names of the layout and
// of the caller, never values.
func fits(layout string, columns []Column, values map[string]any) error {
	var lacks, foreign []string
	for _, c := range columns {
		if _, there := values[c.Name]; !there {
			lacks = append(lacks, strconv.Quote(c.Name))
		}
	}
	if len(lacks) == 0 && len(values) == len(columns) {
		return nil
	}
	for name := range values {
		if !slices.ContainsFunc(columns, func(c Column) bool { return c.Name == name }) {
			foreign = append(foreign, strconv.Quote(name))
		}
	}
	slices.Sort(foreign)
	var faults []string
	if len(lacks) > 0 {
		faults = append(faults, "the row lacks "+strings.Join(lacks, ", "))
	}
	if len(foreign) > 0 {
		faults = append(faults, "the layout does not have "+strings.Join(foreign, ", "))
	}
	return rowErr("layout %q: %s", layout, strings.Join(faults, "; "))
}

// missing names the members that are empty and must not be.
func (r Ref) missing() (names []string) {
	for _, m := range [][2]string{{"Tenant", r.Tenant}, {"Table", r.Table}, {"Key", r.Key}, {"SchemaID", r.SchemaID}} {
		if m[1] == "" {
			names = append(names, m[0])
		}
	}
	return names
}

// check refuses a reference that is not one, and returns the event's 16 bytes.
func (r Ref) check() ([]byte, error) {
	if err := errors.Join(ids.Check("tenant", r.Tenant), ids.Check("table", r.Table)); err != nil {
		return nil, rowErr("%w", err)
	}
	if err := ids.Check("key", r.Key); err != nil {
		return nil, &valueError{what: err.Error(), err: err}
	}
	if r.Version < 0 {
		return nil, &valueError{what: "a version below 0"}
	}
	if r.Event == "" {
		return nil, nil
	}
	event, ok := parseUUID(r.Event)
	if !ok {
		return nil, &valueError{what: "event is not a lower-case UUID"}
	}
	return event, nil
}

func parseUUID(s string) ([]byte, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || s != strings.ToLower(s) {
		return nil, false
	}
	id, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return id, err == nil && len(id) == 16
}
