package audit

import (
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/crmguard/crmguard/audit/internal/differ"
)

// Shape says what a trail keeps of the fields of a Go struct. Each field that is
// exported, or comes with an embedded struct, stands in one list: one that is
// added later is an error at the next start, until somebody has decided.
//
// Fields go by the name of their column: that of a tag `audit:"name"`, else
// `db:"name"`, else `gorm:"column:name"`, else `bun:"name"`, else the name of the
// field as snake_case. A tag that says "-" leaves the field out, `audit:"-"` by
// decision, the others because it is no column. The fields of an embedded struct
// are fields of the whole, as Go, sqlx, GORM and bun see them: by their own names,
// or behind the prefix that a tag gives them (`db:"home"` is home.city,
// `gorm:"embeddedPrefix:home_"` and `bun:"embed:home_"` are home_city). Of two
// with one name the one that is less deep counts.
type Shape struct {
	// Kind is the kind of the objects, as in [Ref]; "" for events without one.
	Kind string
	// Show are the fields whose names stand in the log. They are declared in
	// Config.Fields, too; see [Trail.Check].
	Show []string
	// Hide are the fields whose names are committed as their values are.
	Hide []string
	// Skip are the fields whose changes are not recorded.
	Skip []string
	// Who names for a field the one that holds the id of the person whose value
	// it is, where that is another than the person of the row. Where that id is
	// NULL, empty or the number 0 it is the person of the row again. A field that is itself the id of
	// a person leads to itself ("contact_id": "contact_id"): it goes with that person.
	Who map[string]string
}

// Shaped is a [Differ] of any type.
type Shaped interface {
	// Shape is what the Differ was made with.
	Shape() Shape
}

// A Differ lists what changed between two states of a T, a struct or a pointer to
// one. It is made by [NewDiffer] and safe for concurrent use.
type Differ[T any] struct {
	shape  Shape
	fields []differ.Field // what is shown or hidden, by name
}

// NewDiffer checks the shape against the fields of T, once, at the start: a field
// that stands in no list or in two, a name that is no field, and a Go type that
// has no value to record are [ErrInvalid], and the error names all of them. What
// only shows when the value is there (text that is not UTF-8, what an any or a
// driver.Valuer holds) becomes a [auditlog.StandIn].
func NewDiffer[T any](shape Shape) (*Differ[T], error) {
	shape = shape.clone()
	shown, err := differ.Shape(shape).Fields(reflect.TypeFor[T](), differ.Forms{Kind: codes.MatchString, Path: fields.MatchString})
	if err != nil {
		return nil, invalid("%w", err)
	}
	return &Differ[T]{shape: shape, fields: shown}, nil
}

// Shape is what the Differ was made with: Show of it is what Config.Fields
// declares for its Kind.
func (d *Differ[T]) Shape() Shape {
	if d == nil {
		return Shape{}
	}
	return d.shape.clone()
}

// Of lists what changed about a person ("" for nobody) from before to after,
// sorted by the names of fields; nil is a row that does not exist, whose fields
// are [Absent]. Fields of an embedded pointer that is nil are NULL.
//
// What is equal as a value is no change: one time in two zones, nil bytes and
// NULL, a decimal with more zeros behind it, a JSON document in another order. A
// value moves from one person to another (Shape.Who) as two changes, so that
// erasing either person erases what was theirs.
//
// The states must share nothing that a pointer, a slice or a map leads to: what
// was changed in place is the same on both sides. The changes hold on to the
// slices and maps of both until they are recorded.
func (d *Differ[T]) Of(person string, before, after *T) []Change {
	if d == nil || d.fields == nil {
		return []Change{{}} // not by NewDiffer: Record refuses it, or nothing would ever be recorded
	}
	var out []Change
	differ.Compare(d.fields, person, reflect.ValueOf(before), reflect.ValueOf(after), func(path, who string, was, is any) {
		out = append(out, Change{Path: path, Who: who, Old: was, New: is})
	})
	return out
}

// Check compares shapes with Config.Fields, at the start, behind [Open]: what is
// shown must be declared for the kind, and what is hidden must not be, because a
// declared name stands in the log.
func (t *Trail) Check(differs ...Shaped) error {
	if err := t.ready(); err != nil {
		return err
	}
	for _, d := range differs {
		if d == nil {
			return invalid("Check: a Differ is nil")
		}
		shape := d.Shape()
		if len(shape.Show)+len(shape.Hide) == 0 {
			return invalid("Check: a Differ was not made by NewDiffer")
		}
		var missing, shown []string
		for _, name := range shape.Show {
			if !t.declared(shape.Kind, name) {
				missing = append(missing, name)
			}
		}
		for _, name := range shape.Hide {
			if t.declared(shape.Kind, name) {
				shown = append(shown, name)
			}
		}
		if err := differ.Join("Check: kind "+strconv.Quote(shape.Kind), []differ.Problem{
			{What: "Config.Fields lacks what is in Show", Names: missing},
			{What: "Config.Fields shows what is in Hide", Names: shown},
		}); err != nil {
			return invalid("%w", err)
		}
	}
	return nil
}

func (s Shape) clone() Shape {
	s.Show, s.Hide, s.Skip = slices.Clone(s.Show), slices.Clone(s.Hide), slices.Clone(s.Skip)
	s.Who = maps.Clone(s.Who)
	return s
}
