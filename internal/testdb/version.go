package testdb

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"testing"
	"testing/fstest"
)

// NextVersion is the migrations of a package as a later library would ship
// them: all of them, and one more that adds a column to each table, and a
// table. version is the number of that step by folder.
func NextVersion(tb testing.TB, pkg string, migrations fs.FS) (later fs.FS, version map[string]int) {
	tb.Helper()
	files, added := fstest.MapFS{}, map[string]string{}
	version = map[string]int{}
	create := regexp.MustCompile(`(?m)^CREATE TABLE IF NOT EXISTS (crmguard_` + pkg + `_[a-z_]+)`)
	for _, folder := range []string{"sqlite", "postgres", "mysql"} {
		found, err := fs.Glob(migrations, folder+"/*.sql")
		if err != nil || len(found) == 0 {
			tb.Fatalf("testdb: %s has no migrations in %s: %v", pkg, folder, err)
		}
		for _, path := range found {
			text, err := fs.ReadFile(migrations, path)
			if err != nil {
				tb.Fatalf("testdb: read a migration of %s: %v", pkg, err)
			}
			files[path] = &fstest.MapFile{Data: text}
			for _, match := range create.FindAllStringSubmatch(string(text), -1) {
				added[folder] += "ALTER TABLE " + match[1] + " ADD COLUMN later INTEGER;\n"
			}
		}
		if added[folder] == "" {
			tb.Fatalf("testdb: the migrations of %s in %s create no table that is found", pkg, folder)
		}
		version[folder] = len(found) + 1
	}
	for folder, n := range maps.All(version) {
		files[fmt.Sprintf("%s/20991231000000_crmguard_%s_%d.up.sql", folder, pkg, n)] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"-- +goose Up\nCREATE TABLE IF NOT EXISTS crmguard_%s_later (a INTEGER);\n%sINSERT INTO crmguard_schema (package, version, installed) VALUES ('%s', %d, 0);\n",
			pkg, added[folder], pkg, n)}
	}
	return files, version
}
