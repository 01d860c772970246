package integrity

// Type is what a field or column holds.
type Type int

// The types. The first seven are text with a rule. [Bytes], [JSON], [Float]
// and [Sealed] are types of a stored [Column] only.
const (
	Text     Type = iota // any text
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
