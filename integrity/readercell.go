package integrity

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
)

// class is what a database that keeps to the types of its columns holds in one,
// as far as its drivers differ about it.
type class int

const (
	dynamic  class = iota // SQLite: each value has a class of its own
	letters               // text, enums, UUIDs
	spelled               // the same of MySQL, and what Reader.Columns makes of integers that are times
	padded                // char(n) of PostgreSQL, which hands over blanks that do not count
	document              // JSON that the database may have written anew
	blob                  // bytes
	whole                 // integers
	number                // decimal digits, as text
	real64                // binary64
	real32                // binary32
	truth                 // booleans
	bits                  // BIT of MySQL, as bytes
	moment                // dates and times
	foreign               // what drivers show in different ways
	single                // FLOAT of MySQL, of which the text protocol shows six digits
)

// holds are the types that a class can hold, so that a layout that cannot be is
// found before the first row; nil takes all.
var holds = [...][]Type{
	dynamic:  nil,
	letters:  {Text, Email, Phone, URL, Country, Language, Card, JSON, Sealed, Decimal, Date},
	spelled:  {Text, Email, Phone, URL, Country, Language, Card, JSON, Sealed, Decimal, Date, Time},
	padded:   {Text, Email, Phone, URL, Country, Language, Card},
	document: {JSON},
	blob:     {Bytes, Sealed, Text, Email, Phone, URL, Country, Language, Card, JSON},
	whole:    {Integer, Boolean, Decimal, Float, Time},
	number:   {Decimal, Integer, Float},
	real64:   {Float, Decimal},
	real32:   {Float, Decimal},
	truth:    {Boolean},
	bits:     {Boolean, Integer, Bytes},
	moment:   {Date, Time},
	foreign:  {},
	single:   {},
}

// classOf reads the driver's name of a type.
func classOf(kind sqldb.Kind, name string) class {
	switch kind {
	case sqldb.SQLite:
		return dynamic
	case sqldb.Postgres:
		return postgresClass(name)
	default:
		return mysqlClass(name)
	}
}

func postgresClass(name string) class {
	switch name {
	case "BPCHAR":
		return padded
	case "JSON", "JSONB":
		return document
	case "BYTEA":
		return blob
	case "INT2", "INT4", "INT8":
		return whole
	case "NUMERIC":
		return number
	case "FLOAT8":
		return real64
	case "FLOAT4":
		return real32
	case "BOOL":
		return truth
	case "DATE", "TIMESTAMP", "TIMESTAMPTZ":
		return moment
	case "TIME", "TIMETZ", "INTERVAL", "INET", "CIDR", "MACADDR", "MACADDR8", "MONEY", "BIT", "VARBIT", "XML", "HSTORE", "RECORD", "JSONPATH", "OID", "XID", "CID", "TID",
		"POINT", "LINE", "LSEG", "BOX", "PATH", "POLYGON", "CIRCLE":
		return foreign
	}
	if strings.HasPrefix(name, "_") || strings.HasSuffix(name, "RANGE") {
		return foreign
	}
	return letters // enums and types of extensions have numbers or no names
}

func mysqlClass(name string) class {
	switch name = strings.TrimPrefix(name, "UNSIGNED "); name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		return whole
	case "DECIMAL":
		return number
	case "DOUBLE":
		return real64
	case "FLOAT":
		return single
	case "BIT":
		return bits
	case "DATE", "DATETIME", "TIMESTAMP":
		return moment
	case "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY", "VARBINARY":
		return blob
	case "JSON":
		return document
	case "NULL":
		return dynamic
	case "GEOMETRY", "VECTOR", "TIME":
		return foreign
	}
	return spelled
}

// check says what to do about a column that cannot hold what the layout says.
func (b bound) check(name string) error {
	if b.class == dynamic || slices.Contains(holds[b.class], b.Type) {
		return nil
	}
	switch b.class {
	case single:
		return configErr("column %q: a FLOAT loses digits on the way: select it cast to DOUBLE, or make it one", b.Name)
	case foreign:
		return configErr("column %q: drivers show %s in different ways: select it cast to text and declare it as Text", b.Name, name)
	default:
		var may []string
		for _, t := range holds[b.class] {
			may = append(may, t.String())
		}
		return configErr("column %q: the database's %s cannot be declared as %s, but as %s", b.Name, name, b.Type, strings.Join(may, ", "))
	}
}

// value is a cell of the row at hand as the database holds it: nil, string,
// int64, float64, bool, []byte or time.Time, as [Column] encodes them. What is no
// value of the column stays what it is, so that the column refuses it.
func (s *resultSet) value(b bound) (any, error) {
	v := s.cells[b.index]
	if raw, isBytes := v.([]byte); isBytes && raw == nil {
		v = []byte{} // some drivers give an empty blob as nil bytes, and NULL as nil
	}
	if s.kind == sqldb.SQLite {
		switch v.(type) {
		case bool, time.Time:
			return nil, configErr("column %q: SQLite holds no %T, the driver has made it: select the column with Reader.Columns, and open the database without an option that makes times of text", b.Name, v)
		}
		return v, nil
	}
	switch x := v.(type) {
	case []byte:
		return b.ofBytes(x)
	case string:
		return b.ofString(x)
	case float32:
		return float64(x), nil
	case float64:
		if b.class == real32 { // 0.1 from one driver, 0.10000000149011612 from the other
			return float64(float32(x)), nil
		}
	case uint64:
		if x > math.MaxInt64 {
			return strconv.FormatUint(x, 10), nil
		}
		return int64(x), nil
	case time.Time:
		if x.Year() == 1 && x.YearDay() == 1 && s.kind != sqldb.Postgres {
			return noTime, nil // the driver gives 0000-00-00 as the first day of year 1
		}
	}
	return v, nil
}

// ofBytes is what a driver has left as bytes.
func (b bound) ofBytes(raw []byte) (any, error) {
	if b.Type == Bytes || b.Type == Sealed && isSealed(raw) {
		return raw, nil
	}
	if b.class == bits && len(raw) <= 8 {
		var n uint64
		for _, x := range raw {
			n = n<<8 | uint64(x)
		}
		if n <= math.MaxInt64 {
			return int64(n), nil
		}
	}
	return b.ofString(string(raw))
}

func (b bound) ofString(text string) (any, error) {
	switch {
	case b.class == padded:
		return strings.TrimRight(text, " "), nil
	case b.class == number || b.class == whole: // whole: beyond 63 bits
		return b.ofDigits(text), nil
	case b.class == moment && b.Type == Date:
		if day, err := textOf(text).Date(); err == nil {
			return day, nil
		}
		return noTime, nil
	case b.class == moment && b.Type == Time && strings.ContainsAny(text, "0123456789"):
		return nil, configErr("column %q: a time without its zone: open the database with parseTime=true", b.Name)
	case b.class == spelled && b.Type == Time:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
			return n, nil
		}
	}
	return text, nil
}

// ofDigits is the number that digits stand for: 12.5 and 12.50 are one to the
// database, and a driver may give either.
func (b bound) ofDigits(text string) any {
	switch b.Type {
	case Decimal:
		if d, ok := value.Scaled(text, b.Scale); ok {
			return d
		}
	case Integer:
		if n, err := textOf(text).Integer(); err == nil {
			return n
		}
	case Float:
		if x, err := textOf(text).Float(); err == nil {
			return x
		}
	default:
	}
	return text
}

func textOf(text string) value.Value {
	read, _ := value.Of(text) // a string is always read
	return read
}
