package accesscontrol

import (
	"errors"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/value"
)

// Faults of a value. None of them shows it.
var (
	errKind    = errors.New("value has the wrong type")
	errMissing = errors.New("required attribute is missing")
	errUnknown = errors.New("attribute is not in the schema")
	errText    = errors.New("text holds NUL or is not UTF-8")
)

// fault words what is wrong with a value, for an error that names it itself.
func fault(err error) string {
	if e, unread := errors.AsType[*value.Error](err); unread && e.Field == "" {
		return e.Reason()
	}
	return err.Error()
}

// valueOf turns a Go value into the Cedar value of a schema type. A nil result
// without an error is an absent value: NULL, whatever it is spelled with.
func valueOf(t cedarx.Type, v any) (cedarx.Value, error) {
	if ref, isRef := v.(Ref); isRef {
		return referenceOf(t, ref)
	}
	read, err := value.Of(v)
	if errors.Is(err, value.ErrType) { // perhaps a pointer to a Ref
		if plain, _ := value.Resolve(v); plain != nil {
			if ref, isRef := plain.(Ref); isRef {
				return referenceOf(t, ref)
			}
		}
	}
	if err != nil || read.IsNull() {
		return nil, err
	}
	switch t.Kind {
	case cedarx.Set:
		return setOf(t, read)
	case cedarx.RecordOf:
		fields, err := read.Fields()
		if err != nil {
			return nil, err
		}
		return recordOf(t.Fields, fields)
	default:
		return scalarOf(t, read)
	}
}

// scalarOf maps the kinds of package value to Cedar's.
func scalarOf(t cedarx.Type, read value.Value) (cedarx.Value, error) {
	switch t.Kind {
	case cedarx.Long:
		n, err := read.Integer()
		return cedarx.LongValue(n), err
	case cedarx.String:
		s, err := read.Text()
		return cedarx.StringValue(s), err
	case cedarx.Bool:
		yes, err := read.Boolean()
		return cedarx.Boolean(yes), err
	case cedarx.EntityRef:
		id, err := idOf(read)
		return cedarx.NewEntityUID(t.Entity, id), err
	case cedarx.Extension:
		return extensionOf(t, read)
	default:
		return nil, errKind
	}
}

// idOf is the id of a reference. A column may hold an empty one, which refers
// to nobody and is not NULL.
func idOf(read value.Value) (string, error) {
	if read.Kind() == value.Text || read.Kind() == value.Bytes {
		return read.Text()
	}
	return read.ID()
}

func extensionOf(t cedarx.Type, read value.Value) (cedarx.Value, error) {
	var text string
	var err error
	switch {
	case t.Extension == "datetime" && read.Kind() == value.Time:
		at, err := read.Time(nil)
		return cedarx.Datetime(at), err
	case t.Extension == "duration" && read.Kind() == value.Duration:
		d, err := read.Duration()
		return cedarx.Duration(d), err
	case t.Extension == "decimal" && read.Kind() != value.Text:
		text, err = read.Decimal(4) // all that Cedar has
	default:
		text, err = read.Text()
	}
	if err != nil {
		return nil, err
	}
	v, err := cedarx.ParseExtension(t.Extension, text)
	if err != nil {
		return nil, errKind // the cause may show the value
	}
	return v, nil
}

func referenceOf(t cedarx.Type, ref Ref) (cedarx.Value, error) {
	if t.Kind != cedarx.EntityRef || string(t.Entity) != ref.Type {
		return nil, errKind
	}
	return cedarx.NewEntityUID(t.Entity, ref.ID), nil
}

func setOf(t cedarx.Type, read value.Value) (cedarx.Value, error) {
	n, err := read.Len()
	if err != nil {
		return nil, err
	}
	items := make([]cedarx.Value, 0, n)
	for i := range n {
		item, err := valueOf(*t.Element, read.Item(i))
		if err != nil {
			return nil, err
		}
		if item == nil {
			return nil, errKind
		}
		items = append(items, item)
	}
	return cedarx.NewSet(items...), nil
}

func recordOf(attrs cedarx.Attributes, values map[string]any) (cedarx.Value, error) {
	record, name, err := attributesOf(attrs, values)
	if err != nil {
		return nil, errors.New(name + ": " + fault(err))
	}
	return record, nil
}

// attributesOf converts the attributes of an entity, a context or a record
// value. It names the attribute that is at fault.
func attributesOf(attrs cedarx.Attributes, values map[string]any) (record cedarx.Record, name string, err error) {
	out := make(cedarx.RecordMap, len(values))
	for name, v := range values {
		attr, known := attrs[name]
		if !known {
			return cedarx.Record{}, name, errUnknown
		}
		converted, err := valueOf(attr.Type, v)
		if err != nil {
			return cedarx.Record{}, name, err
		}
		if converted != nil {
			out[cedarx.StringValue(name)] = converted
		}
	}
	for name, attr := range attrs {
		if _, given := out[cedarx.StringValue(name)]; attr.Required && !given {
			return cedarx.Record{}, name, errMissing
		}
	}
	return cedarx.NewRecord(out), "", nil
}

// plain says whether every text in a value can be bound in every database.
func plain(v cedarx.Value) bool {
	switch v := v.(type) {
	case cedarx.StringValue:
		return ids.Plain(string(v))
	case cedarx.EntityUID:
		return ids.Plain(string(v.ID))
	case cedarx.SetValue:
		for item := range v.All() {
			if !plain(item) {
				return false
			}
		}
	case cedarx.Record:
		for item := range v.Values() {
			if !plain(item) {
				return false
			}
		}
	}
	return true
}
