package integrity

// Type is what a field or column holds.
type Type int

// The types. The first seven are text with a rule. [Bytes], [JSON], [Float]
// and [Sealed] are types of a stored [Column] only.
//
// A record may hold the Go types on the left, and named types, pointers,
// sql.Null* and other valuers that lead to one. [Field.Check] sees and
// [Accepted] holds the one on the right, whatever the record held: in a form,
// in a struct of [For] and in an import.
//
//	Text to Card  string                                            string, as it came
//	Integer       Go integers, float64 without a fraction,          int64
//	              json.Number
//	Decimal       string, json.Number, Go integers; never floats,   string with all digits of the
//	              which have lost their cents already               scale: 3 is "3.00"
//	Boolean       bool                                              bool
//	Date          YYYY-MM-DD, time.Time (its day in its own zone)   string YYYY-MM-DD
//	Time          RFC 3339, time.Time                               time.Time
//
// Dates and times are of the years 1 to 9999; a leap second is refused.
// In an import a text may stand for each of them; see [Import].
const (
	Text     Type = iota // any text; one line unless Field.FreeText
	Email                // an address as RFC 5321 and RFC 6531 deliver it
	Phone                // digits with the usual marks; see Field.Check
	URL                  // absolute, http or https
	Country              // ISO 3166 alpha-2
	Language             // BCP 47
	Card                 // 12 to 19 digits with a Luhn check digit
	Integer              // 64 bits, signed
	Decimal              // decimal digits at a declared scale
	Boolean              // true or false
	Date                 // a calendar date
	Time                 // a point in time, microseconds
	Bytes                // bytes as they are
	JSON                 // a JSON document, compared as RFC 8785
	Float                // IEEE-754 binary64
	Sealed               // an encrypted field as stored, in binary or in its text form
)

var typeNames = [...]string{
	"text", "email", "phone", "url", "country", "language", "card", "integer", "decimal",
	"boolean", "date", "time", "bytes", "json", "float", "sealed",
}

// String is the lower-case name of the type.
func (t Type) String() string {
	if !t.known() {
		return "unknown"
	}
	return typeNames[t]
}

func (t Type) known() bool  { return t >= 0 && int(t) < len(typeNames) }
func (t Type) isText() bool { return t >= Text && t <= Card }
