package sqldb

import (
	"slices"
	"strconv"
	"strings"
)

// room is what a column takes, as the catalog has it.
type room struct {
	of       Kind
	typ      string
	unsigned bool
	size     int64 // of MariaDB and MySQL: characters or bytes, or digits of what has none behind the point; of numeric: those behind it
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
		return bytes || bits <= 53 || !prefersFloats(r.typ) // a type only prefers a class of values
	}
	if bytes {
		fits := r.of == Postgres || r.size*8 == int64(bits) || r.typ != "binary" && r.size*8 > int64(bits)
		return c.kind == binary && fits
	}
	switch r.typ {
	case "float", "double", "float4", "float8", "money", "enum", "set":
		return false // what is read of them is no whole number
	case "numeric":
		return r.size == 0 // has as many digits behind the point
	}
	if r.of != Postgres && c.kind == binary {
		return false
	}
	width := map[string]int{
		"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64, "int2": 16, "int4": 32, "int8": 64,
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

// prefersFloats is REAL among the affinities of SQLite, by which it goes over the
// words of a type: a whole number becomes a float there, of 53 bits.
func prefersFloats(typ string) bool {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(typ, word) })
	}
	return has("real", "floa", "doub") && !has("int", "char", "clob", "text", "blob")
}
