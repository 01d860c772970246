package testdb

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// A Right is one right on one table, or on one column of it.
type Right struct {
	Table         string
	Grant, Revoke string // statements
}

// Rights reads the GRANT statements that a storing package ships, in
// postgres.sql and mysql.sql, as the rights of a role, one by one. Whatever the
// file holds besides them and comments fails the test.
func (d Database) Rights(tb testing.TB, grants fs.FS, role string) []Right {
	tb.Helper()
	file := map[Name]string{MariaDB: "mysql.sql"}[d.Name]
	if file == "" {
		file = "postgres.sql"
	}
	text, err := fs.ReadFile(grants, file)
	if err != nil {
		tb.Fatalf("testdb: read the grants: %v", err)
	}
	statement := regexp.MustCompile(`^GRANT (.+) ON (crmguard_[a-z_]+) TO crm_app;$`)
	right := regexp.MustCompile(`(SELECT|INSERT|UPDATE|DELETE)(?: \(([a-z_, ]+)\))?`)
	var out []Right
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		match := statement.FindStringSubmatch(line)
		if match == nil {
			tb.Fatalf("testdb: %s has a line that is no GRANT on a table of the library: %s", file, line)
		}
		for _, one := range right.FindAllStringSubmatch(match[1], -1) {
			for column := range strings.SplitSeq(one[2], ", ") {
				what := one[1]
				if column != "" {
					what += " (" + column + ")"
				}
				out = append(out, Right{
					Table: match[2],
					Grant: "GRANT " + what + " ON " + match[2] + " TO " + role, Revoke: "REVOKE " + what + " ON " + match[2] + " FROM " + role,
				})
			}
		}
	}
	if len(out) == 0 {
		tb.Fatalf("testdb: %s grants nothing", file)
	}
	return out
}
