package sqldb

import (
	"slices"
	"strconv"
	"strings"
)

// A Page reads rows of a table in the order of its key, from behind the last
// row of the page before: its cost does not grow with the number of pages, and
// a row that is inserted or deleted meanwhile makes no other be read twice or
// left out.
type Page struct {
	Table   string
	Columns []string
	Key     []string // of one or several columns, an index of the table begins with them
	Where   string   // a further condition, or ""
	Args    []any    // of Where
	After   []any    // the key of the last row seen, empty at first
	Limit   int
}

// Page writes the query and its arguments. Names are taken as they stand:
// they are the library's own, or quoted.
func (d Dialect) Page(p Page) (query string, args []any) { return d.page(p, nil) }

func (d Dialect) page(p Page, marks []string) (query string, args []any) {
	var where []string
	if p.Where != "" {
		where, args = append(where, "("+p.Where+")"), append(args, p.Args...)
	}
	if len(p.After) == len(p.Key) {
		condition, values := d.behind(p.Key, marks, p.After)
		where, args = append(where, condition), append(args, values...)
	}
	query = "SELECT " + strings.Join(p.Columns, ", ") + " FROM " + p.Table
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY " + strings.Join(p.Key, ", ") + " LIMIT " + strconv.Itoa(p.Limit)
	return d.Bind(query), args
}

// behind is the condition that a row comes after the key. MariaDB and MySQL
// find the place in the index by a range of single columns only, and so does
// SQLite where a collation is stated, so the row comparison is written out there,
// with a range over the first column in front.
// marks are the placeholders where they are not bare.
func (d Dialect) behind(key, marks []string, after []any) (condition string, args []any) {
	if marks == nil {
		marks = slices.Repeat([]string{"?"}, len(key))
	}
	stated := d.Kind == SQLite && slices.ContainsFunc(key, func(column string) bool { return strings.Contains(column, " COLLATE ") })
	if !d.mysql() && !stated || len(key) == 1 {
		return "(" + strings.Join(key, ", ") + ") > (" + strings.Join(marks, ", ") + ")", after
	}
	condition, args = key[0]+" >= "+marks[0]+" AND (", []any{after[0]}
	for i, column := range key {
		if i > 0 {
			condition += " OR "
		}
		var equal strings.Builder
		for j := range i {
			equal.WriteString(key[j] + " = " + marks[j] + " AND ")
			args = append(args, after[j])
		}
		condition += "(" + equal.String() + column + " > " + marks[i] + ")"
		args = append(args, after[i])
	}
	return condition + ")", args
}
