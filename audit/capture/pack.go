package capture

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/frame"
)

//go:embed up.sql
var upText string

// functionText says of a table what its trigger function has to be: up makes it, and
// Missing compares.
//
//go:embed function.sql
var functionText string

//go:embed down.sql
var downText string

// Pack writes the statements that begin to capture the changes of these tables,
// and those that end it: two files of migrations for PostgreSQL, each one
// statement, whole or not at all, for goose, golang-migrate, psql, or one Exec.
//
// Both may be applied again. After a migration of one of the tables up is
// applied once more, so that columns which came are known; see [Missing]. A
// table that is taken out of the pack goes on being captured until the down of
// a pack that names it is applied. What is wrong with a description is a
// [TableError], a column or a table that is not there an error of PostgreSQL
// from up.
func Pack(tables ...Table) (up, down string, err error) {
	if len(tables) == 0 {
		return "", "", &TableError{Field: "Pack", Why: "was given no table: name those whose changes are to be captured"}
	}
	var rows, routines []string
	for i, t := range tables {
		if err := t.check(); err != nil {
			return "", "", err
		}
		if slices.ContainsFunc(tables[:i], func(other Table) bool { return other.Name == t.Name }) {
			return "", "", &TableError{Table: t.Name, Field: "Name", Why: "stands in the pack twice: name each table once"}
		}
		row, err := t.row()
		if err != nil {
			return "", "", fmt.Errorf("capture: %w", err)
		}
		rows = append(rows, "\t\t\t"+row)
		routines = append(routines, "\t\t\t"+literal(t.routine()))
	}
	return strings.Replace(withFunction(upText), "/* tables */", strings.Join(rows, ",\n"), 1),
		strings.Replace(downText, "/* routines */", strings.Join(routines, ",\n"), 1), nil
}

// withFunction puts in what the function of a table has to be.
func withFunction(text string) string {
	return strings.Replace(text, "/* function */\n", functionText, 1)
}

// row is the table as both statements read it.
func (t *Table) row() (string, error) {
	target, err := t.target()
	return "(" + strings.Join([]string{
		literal(target), literal(t.Name), literal(t.Kind), list(t.Key), orNull(t.Tenant), orNull(t.TenantColumn), orNull(t.Person), list(t.Skip),
		literal(t.routine()), literal(t.spec()),
	}, ", ") + ")", err
}

// routine is the name of the table's trigger function. It comes from the name
// of the table, so that packing again replaces it.
func (t *Table) routine() string {
	sum := sha256.Sum256(frame.Join("crmguard/audit/capture/routine/v1", t.Name))
	return "crmguard_audit_capture_" + hex.EncodeToString(sum[:8])
}

// spec tells one description of a table from another; it stands in the comment
// of the function, where Missing finds it.
func (t *Table) spec() string {
	parts := append([]string{"crmguard/audit/capture/spec/v1", withFunction(upText), t.Name, t.Kind, t.Tenant, t.TenantColumn, t.Person, fmt.Sprint(len(t.Key))}, t.Key...)
	sum := sha256.Sum256(frame.Join(append(parts, t.Skip...)...))
	return hex.EncodeToString(sum[:8])
}

// literal writes a text on one line, so that it is the same whatever
// standard_conforming_strings says, and no tool takes part of it for a line of
// its own.
func literal(s string) string {
	plain := true
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '\'':
			out.WriteString("''")
		case r == '\\':
			out.WriteString(`\\`)
		case r < ' ', r == 0x7f, r == 0x85, r == 0x2028, r == 0x2029:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
			continue
		}
		plain = plain && r == '\''
	}
	if plain {
		return `'` + out.String() + `'`
	}
	return `E'` + out.String() + `'`
}

func orNull(s string) string {
	if s == "" {
		return "NULL::text"
	}
	return literal(s)
}

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = literal(name)
	}
	return "ARRAY[" + strings.Join(quoted, ", ") + "]::text[]"
}
