package cedarx

import (
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// The values of cedar-go, under the names that the rest of the package uses:
// where it changes one of them, this is what changes.
type (
	// Value is any value.
	Value = cedar.Value
	// Boolean is true or false.
	Boolean = cedar.Boolean
	// LongValue is an integer of 64 bits.
	LongValue = cedar.Long
	// StringValue is a text.
	StringValue = cedar.String
	// SetValue is a set.
	SetValue = cedar.Set
	// Record is a record: values by name.
	Record = cedar.Record
	// RecordMap makes a Record.
	RecordMap = cedar.RecordMap
	// Entity is an entity with its attributes and parents.
	Entity = cedar.Entity
	// EntityMap are entities by what names them.
	EntityMap = cedar.EntityMap
	// EntityGetter finds an entity.
	EntityGetter = cedar.EntityGetter
	// EntityType is the type of an entity.
	EntityType = cedar.EntityType
	// EntityUID names an entity.
	EntityUID = cedar.EntityUID
)

// The two booleans.
const (
	True  = cedar.True
	False = cedar.False
)

// NewEntityUID names an entity.
func NewEntityUID(kind EntityType, id string) EntityUID {
	return cedar.NewEntityUID(kind, cedar.String(id))
}

// Parents is a set of entities.
func Parents(of ...EntityUID) cedar.EntityUIDSet { return cedar.NewEntityUIDSet(of...) }

// NewRecord makes a record.
func NewRecord(values RecordMap) Record { return cedar.NewRecord(values) }

// NewSet makes a set.
func NewSet(values ...Value) SetValue { return cedar.NewSet(values...) }

// Datetime is a point in time, to the millisecond.
func Datetime(at time.Time) Value { return cedar.NewDatetime(at) }

// Milliseconds is a point in time as the milliseconds since 1970; false says
// that the value is none.
func Milliseconds(v Value) (ms int64, isTime bool) {
	at, isTime := v.(types.Datetime)
	return at.Milliseconds(), isTime
}

// Duration is a length of time, to the millisecond.
func Duration(d time.Duration) Value { return cedar.NewDuration(d) }
