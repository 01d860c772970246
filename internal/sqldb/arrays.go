package sqldb

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// PostgreSQL is told of many rows by an array for each column: the text of the
// statement is the same for any number of rows, so that drivers and the server
// prepare it once. Values in bytes stand one behind the other in one value, and the
// arrays say where each begins and how long it is: every driver passes bytes on as
// they are, an array of them only as text.

// The types of columns that an [Insert] may say.
const (
	Bigint = "bigint"
	Bytea  = "bytea"
)

// arraysText is the statement of rows in arrays.
func (d Dialect) arraysText(in Insert) string {
	var arrays, names, values []string
	array := func(kind string) string {
		name := "c" + strconv.Itoa(len(names))
		arrays, names = append(arrays, "CAST(? AS "+kind+"[])"), append(names, name)
		return "r." + name
	}
	for _, kind := range in.Types {
		if kind == Bytea {
			values = append(values, "substring(b.v FROM "+array("integer")+" FOR "+array("integer")+")")
		} else {
			values = append(values, array(kind))
		}
	}
	return d.inserting(in) + " SELECT " + strings.Join(values, ", ") + " FROM unnest(" + strings.Join(arrays, ", ") + ") AS r (" + strings.Join(names, ", ") + "), (SELECT CAST(? AS bytea)) AS b (v)" + d.conflict(in)
}

// arraysOf are its arguments.
func arraysOf(in Insert, rows [][]any) ([]any, error) {
	var args []any
	var joined []byte
	for i, kind := range in.Types {
		first, second := []byte{'{'}, []byte{'{'}
		for _, row := range rows {
			if len(row) != len(in.Columns) {
				return nil, wrongRow(in, row)
			}
			switch v := row[i].(type) {
			case int64:
				first = strconv.AppendInt(first, v, 10)
			case []byte:
				first = strconv.AppendInt(first, int64(len(joined)+1), 10)
				second = strconv.AppendInt(second, int64(len(v)), 10)
				joined = append(joined, v...)
			case nil:
				first, second = append(first, "NULL"...), append(second, "NULL"...)
			default:
				return nil, fmt.Errorf("sqldb: a %T is no %s of an array", v, kind)
			}
			first, second = append(first, ','), append(second, ',')
		}
		if args = append(args, closed(first)); kind == Bytea {
			args = append(args, closed(second))
		}
	}
	return append(args, joined), nil
}

// closed ends an array, in place of its last comma.
func closed(array []byte) string {
	if len(array) == 1 {
		return "{}"
	}
	array[len(array)-1] = '}'
	return string(array)
}

// Bigints is an array of numbers as PostgreSQL reads it.
func Bigints(numbers []int64) string {
	out := []byte{'{'}
	for _, n := range numbers {
		out = append(strconv.AppendInt(out, n, 10), ',')
	}
	return closed(out)
}

// Byteas is an array of short values in bytes as PostgreSQL reads it.
func Byteas(values [][16]byte) string {
	out := []byte{'{'}
	for i := range values {
		out = append(hex.AppendEncode(append(out, `"\\x`...), values[i][:]), `",`...)
	}
	return closed(out)
}
