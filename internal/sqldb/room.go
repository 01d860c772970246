package sqldb

import "strconv"

// room is what a column takes, as the catalog has it.
type room struct {
	of       Kind
	typ      string
	unsigned bool
	size     int64 // of MariaDB and MySQL: characters or bytes, or digits before the point
}

// Generated says that the database makes the value of a column itself: no statement
// writes one.
func (c Column) Generated() bool { return c.generated }

// Takes says whether a column holds every whole number of so many bits, 63 at most,
// as it is, or where bytes are asked for, all bytes of so many bits. MariaDB and
// MySQL cut what is too large for a column, and say nothing, where they are not
// strict; they fill up what is too short for BINARY.
func (c Column) Takes(bits int, bytes bool) bool {
	r := c.room
	if r.of == SQLite {
		return true // a type only prefers a class of values
	}
	if bytes {
		fits := r.of == Postgres || r.size*8 == int64(bits) || r.typ != "binary" && r.size*8 > int64(bits)
		return c.kind == binary && fits
	}
	width := map[string]int{
		"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64, "int2": 16, "int4": 32, "int8": 64,
		"float": 20, "float4": 20, "double": 50, "float8": 50, // of which text has all digits
		"year": 1,
	}[r.typ]
	if width > 0 && !r.unsigned {
		width-- // the sign
	}
	if width > 0 || r.of == Postgres { // which refuses what does not fit
		return width == 0 || bits <= width
	}
	return int64(len(strconv.FormatUint(1<<bits-1, 10))) <= r.size
}
