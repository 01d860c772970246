package sqldb_test

import (
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// demo is a package with a table of words and numbers, in as many steps as
// asked for.
func demo(steps int) sqldb.Schema {
	versions := map[string]string{
		"sqlite": `CREATE TABLE IF NOT EXISTS crmguard_schema (package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;`,
		"postgres": `CREATE TABLE IF NOT EXISTS crmguard_schema
			(package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));`,
		"mysql": `CREATE TABLE IF NOT EXISTS crmguard_schema (package VARBINARY(64) NOT NULL, version INTEGER NOT NULL, installed BIGINT NOT NULL, PRIMARY KEY (package, version));`,
	}
	tables := map[string]string{
		"sqlite":   `CREATE TABLE crmguard_demo_word (tenant TEXT NOT NULL, word TEXT NOT NULL, n INTEGER NOT NULL, body BLOB, PRIMARY KEY (tenant, word)) STRICT, WITHOUT ROWID;`,
		"postgres": `CREATE TABLE crmguard_demo_word (tenant text COLLATE "C" NOT NULL, word text COLLATE "C" NOT NULL, n bigint NOT NULL, body bytea, PRIMARY KEY (tenant, word));`,
		"mysql":    `CREATE TABLE IF NOT EXISTS crmguard_demo_word (tenant VARBINARY(255) NOT NULL, word VARBINARY(255) NOT NULL, n BIGINT NOT NULL, body LONGBLOB, PRIMARY KEY (tenant, word));`,
	}
	files := fstest.MapFS{}
	for folder := range versions {
		for step := 1; step <= steps; step++ {
			text := "-- +goose Up\n-- a comment; with a semicolon and a '\n"
			switch step {
			case 1:
				text += versions[folder] + "\n"
			case 2:
				text += tables[folder] + "\n"
			}
			text += fmt.Sprintf("INSERT INTO crmguard_schema (package, version, installed) VALUES ('demo', %d, 0);\n", step)
			files[fmt.Sprintf("%s/%014d_crmguard_demo_%d.up.sql", folder, 20261126000000+step, step)] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return sqldb.Schema{Package: "demo", Migrations: fs.FS(files)}
}
