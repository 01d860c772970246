package crmguard_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// During a rolling deployment this library and the next one run beside each
// other. On the tables of the next one this one installs nothing, opens, and
// does its main job; on the tables of this one the next one says what to do.
func TestEachStoringPackageRunsBesideItsNextVersion(t *testing.T) {
	for _, s := range storingPackages() {
		files, version := testdb.NextVersion(t, s.name, s.migrations())
		later := sqldb.Schema{Package: s.name, Migrations: files}
		ran := 0
		for column, byPackage := range proofs() {
			for _, name := range databasesOf(column) {
				job := byPackage[s.name]
				if job == nil || !slices.Contains(s.databases, name) {
					continue
				}
				ran++
				t.Run(s.name+"/"+string(name), func(t *testing.T) {
					old := opened(t, name)
					require.NoError(t, s.install(t.Context(), old))
					floor, err := sqldb.Open(t.Context(), old)
					require.NoError(t, err)
					n := version[map[sqldb.Kind]string{sqldb.SQLite: "sqlite", sqldb.Postgres: "postgres", sqldb.MariaDB: "mysql"}[floor.Kind]]
					var refused *sqldb.SchemaError
					require.ErrorAs(t, later.Check(t.Context(), floor), &refused)
					require.Equal(t, sqldb.SchemaError{Package: s.name, Have: n - 1, Want: n}, *refused)
					require.ErrorContains(t, refused, "call Install, or apply the migrations it ships")

					db := opened(t, name)
					require.NoError(t, later.Install(t.Context(), db))
					require.NoError(t, s.open(t.Context(), db))
					job(t, db)
				})
			}
		}
		require.NotZero(t, ran, "%s runs nowhere", s.name)
	}
}
