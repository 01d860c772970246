// Package sqlitesource backs up a SQLite database.
package sqlitesource

import (
	"database/sql"

	"github.com/crmguard/crmguard/backup"
)

// Config describes a database to back up.
type Config struct {
	// Name is the source's folder in the snapshot, and File the database
	// file in it: "db" and "crm.db".
	Name, File string
	// DB is the live database.
	DB *sql.DB
	// Strip names, by table, the lookup index columns that are set to NULL in
	// the copy.
	Strip map[string][]string
	// Staging is the folder in which the private copy is made; "" means the
	// system's temporary folder. The copy holds what the database holds.
	Staging string
}

// New makes a source.
func New(cfg Config) (backup.Source, error) { return nil, nil }

// VerifyRows is a restore step that compares every table of the restored
// database with the manifest: put it first.
func VerifyRows(manifests backup.Tagger) backup.Step { return backup.Step{} }
