// Package tables has the tables that package privacy keeps in the application's
// database, for the rooms that use them.
package tables

import (
	"embed"
	"io/fs"

	"github.com/crmguard/crmguard/internal/sqldb"
)

//go:embed migrations grants
var files embed.FS

// Migrations are the numbered migrations, in the folders sqlite, postgres and
// mysql.
func Migrations() fs.FS { return sqldb.Folder(files, "migrations") }

// Grants are the rights that the application's account needs.
func Grants() fs.FS { return sqldb.Folder(files, "grants") }

// Schema is what the migrations come to.
func Schema() sqldb.Schema { return sqldb.Schema{Package: "privacy", Migrations: Migrations()} }
