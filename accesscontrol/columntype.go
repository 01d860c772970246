package accesscontrol

import (
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/value"
)

// ColumnType says that a column holds its values in a type of the database that
// is not the usual one: BIGINT for Long, BOOLEAN for Bool, and text for String
// and references. The empty one is that. [Policy.CheckSchema] compares it with
// the live column.
type ColumnType string

// The types.
const (
	// Integer is a reference, key or tenant whose decimal form is the id ("7",
	// and never "07"), or a Bool that is 0 or 1.
	Integer ColumnType = "integer"
	// UUID is PostgreSQL's and MariaDB's uuid, for texts and references, keys
	// and tenants. Records may give it as their driver does, in bytes or in
	// text of either case. In policies and principals a UUID is written in
	// lower case with hyphens; any other text is equal to none.
	UUID ColumnType = "uuid"
	// Enum is an enumeration of PostgreSQL or MySQL, for texts and references.
	// A text that is no label is equal to none. It asks no index on PostgreSQL.
	Enum ColumnType = "enum"
	// Timestamp is PostgreSQL's timestamptz, or MySQL's and MariaDB's DATETIME
	// that holds UTC, for datetime. Cedar knows milliseconds: all times of one
	// are equal. It may hold the years 1 to 9999 and no infinity.
	Timestamp ColumnType = "timestamp"
	// Date is DATE of PostgreSQL, MariaDB and MySQL, and in SQLite a TEXT that
	// holds 2026-11-28, for datetime: the midnight, in UTC, with which the day
	// begins. It may hold 0001-01-02 to 9999-12-31, no infinity and no 0000-00-00,
	// and in SQLite, where a CHECK has to see to it, nothing else.
	Date ColumnType = "date"
)

// storages says how conditions see each type, and of what attributes it may be
// the column.
var storages = map[ColumnType]stored{
	"":        {sqlcond.Plain, []cedarx.Kind{cedarx.String, cedarx.Long, cedarx.Bool, cedarx.EntityRef, cedarx.Set, cedarx.RecordOf, cedarx.Extension, 0}},
	Integer:   {sqlcond.Whole, []cedarx.Kind{cedarx.EntityRef, cedarx.Bool}},
	UUID:      {sqlcond.UUID, []cedarx.Kind{cedarx.EntityRef, cedarx.String}},
	Enum:      {sqlcond.Label, []cedarx.Kind{cedarx.EntityRef, cedarx.String}},
	Timestamp: {sqlcond.Instant, []cedarx.Kind{cedarx.Extension}},
	Date:      {sqlcond.Day, []cedarx.Kind{cedarx.Extension}},
}

type stored struct {
	storage sqlcond.Storage
	holds   []cedarx.Kind
}

func (s stored) isTime() bool { return s.storage == sqlcond.Instant || s.storage == sqlcond.Day }

func (col *column) isTime() bool { return stored{storage: col.Storage}.isTime() }

// mayBe says whether a time may stand in the column.
func (col *column) mayBe(v sqlcond.Value) bool {
	return !col.isTime() || within(v.Number) && (col.Storage == sqlcond.Instant || sqlcond.IsDate(v.Number))
}

// holds says whether a known value may be in the column at all.
func (col *column) holds(v sqlcond.Value) bool {
	switch {
	case v.Kind == sqlcond.Text && col.Storage == sqlcond.Whole:
		return decimal(v.Text)
	case v.Kind == sqlcond.Text && col.Storage == sqlcond.UUID:
		return v.Text != "" && canonicalUUID(v.Text) == v.Text
	default:
		return true
	}
}

// textual says whether a column of texts is compared as text.
func (col *column) textual() bool {
	return col.Storage == sqlcond.Plain || col.Storage == sqlcond.Label
}

// content says in a word what a column of texts holds.
func (col *column) content() string {
	switch col.Storage {
	case sqlcond.Whole:
		return "integers"
	case sqlcond.UUID:
		return "UUIDs"
	default:
		return "text"
	}
}

// otherwise says how an attribute that no column is compared for may have one.
func (col *column) otherwise() string {
	switch col.typ.Extension {
	case "datetime":
		return "; set Column.As to Timestamp, or to Date"
	case "decimal":
		return "; declare it Long, in the smallest unit, such as cents"
	default:
		return ""
	}
}

// decimal says whether an id is an integer as it is written in base ten: "7",
// and not "07".
func decimal(id string) bool {
	n, err := strconv.ParseInt(id, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == id
}

// canonicalUUID is the spelling of a UUID that values are compared in, empty
// where the text is none in one of either case.
func canonicalUUID(text string) string {
	text = strings.ToLower(text)
	for i := range len(text) {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		if hyphen != (text[i] == '-') || !hyphen && !strings.Contains("0123456789abcdef", text[i:i+1]) {
			return ""
		}
	}
	if len(text) != 36 {
		return ""
	}
	return text
}

// settle turns a text of a record into the one that is compared.
func (col *column) settle(v sqlcond.Value) (sqlcond.Value, error) {
	if v.Kind == sqlcond.Text && col.Storage == sqlcond.UUID {
		if v.Text = canonicalUUID(v.Text); v.Text == "" {
			return v, errKind
		}
	}
	return v, nil
}

// readInstant reads a time of a record.
func readInstant(v any, into *sqlcond.Value) error {
	at, there, err := timeOf(v)
	if err == nil && there {
		*into = sqlcond.IntegerOf(at.UnixMilli())
	}
	return err
}

// readDay reads a date of a record: also a time at midnight of its own zone.
func readDay(v any, into *sqlcond.Value) error {
	read, err := value.Of(v)
	if err != nil || read.IsNull() {
		return err
	}
	text, err := read.Date()
	if err != nil {
		return err
	}
	at, err := time.Parse(time.DateOnly, text)
	*into = sqlcond.IntegerOf(at.UnixMilli())
	return err
}

// timeOf reads a time, if there is one. Text without a zone, as MySQL's driver
// leaves it, is UTC.
func timeOf(v any) (at time.Time, there bool, err error) {
	read, err := value.Of(v)
	if err != nil || read.IsNull() {
		return at, false, err
	}
	at, err = read.Time(time.UTC)
	if err == nil && !within(at.UnixMilli()) {
		err = errKind
	}
	return at, true, err
}

// tenant is the tenant of a record as the column of tenants gives it.
func (col *column) tenant(of string) string {
	if col.Storage == sqlcond.UUID {
		return canonicalUUID(of)
	}
	return of
}

// sameID says whether two ids, or tenants, are one: a UUID is, however it is written.
func (col *column) sameID(a, b string) bool {
	if a == b {
		return true
	}
	id := canonicalUUID(a)
	return col.Storage == sqlcond.UUID && id != "" && id == canonicalUUID(b)
}

// The first and the last millisecond of a Timestamp.
var (
	firstMilli = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastMilli  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
)

// within says whether a time is one that a Timestamp may hold.
func within(ms int64) bool { return firstMilli <= ms && ms <= lastMilli }
