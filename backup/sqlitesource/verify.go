package sqlitesource

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/crmguard/crmguard/backup"
)

// VerifyRows is a restore step, the first one: it compares every table of
// every restored SQLite database with the manifest, row by row, and proves
// that stripped columns are empty. driverName is that of database/sql
// ("sqlite"); the databases are only read. manifests is Config.Manifests of the
// repository, or MachineKey.Manifests where that was nil.
func VerifyRows(driverName string, manifests backup.Tagger) backup.Step {
	return backup.Step{Name: "verify rows", Run: func(ctx context.Context, dir string) error {
		if manifests == nil {
			return fmt.Errorf("sqlitesource: VerifyRows needs a tagger: %w", backup.ErrConfig)
		}
		data, err := os.ReadFile(filepath.Join(dir, ".crmguard", "manifest.json"))
		if err != nil {
			return fmt.Errorf("%w: %w", backup.ErrManifest, err)
		}
		m, err := backup.DecodeManifest(ctx, data, manifests)
		if err != nil {
			return err
		}
		for _, s := range m.Sources {
			if s.Kind != Kind {
				continue
			}
			if err := verifyDatabase(ctx, driverName, dir, s.Name, m, manifests); err != nil {
				return err
			}
		}
		return nil
	}}
}

func verifyDatabase(ctx context.Context, driverName, dir, name string, m *backup.Manifest, manifests backup.Tagger) (err error) {
	files, err := os.ReadDir(filepath.Join(dir, name))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("%w: source %q is not one database file", backup.ErrManifest, name)
	}
	path := filepath.Join(dir, name, files[0].Name())
	if strings.ContainsAny(path, "?#%") {
		return fmt.Errorf("sqlitesource: the restore folder must not contain '?', '#' or '%%': %w", backup.ErrConfig)
	}
	db, err := sql.Open(driverName, path)
	if err != nil {
		return fmt.Errorf("sqlitesource: open the restored database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if err := pragmaText(ctx, db, "query_only=ON"); err != nil {
		return err
	}
	entries := map[string]backup.ManifestSource{}
	for _, s := range m.Sources {
		if t, ok := strings.CutPrefix(s.Name, name+"/"); ok && s.Kind == backup.KindTable {
			entries[t] = s
		}
	}
	tables, err := listTables(ctx, db)
	if err != nil {
		return err
	}
	if len(tables) != len(entries) {
		return fmt.Errorf("%w: source %q has %d tables, not %d", backup.ErrManifest, name, len(tables), len(entries))
	}
	for _, t := range tables {
		entry, ok := entries[t.name]
		if !ok {
			return fmt.Errorf("%w: table %q of source %q is not named", backup.ErrManifest, t.name, name)
		}
		if err := verifyTable(ctx, db, t, entry, manifests); err != nil {
			return err
		}
	}
	return nil
}

func verifyTable(ctx context.Context, db *sql.DB, t table, entry backup.ManifestSource, manifests backup.Tagger) error {
	if err := provesStripped(ctx, db, t.name, entry.Stripped); err != nil {
		return err
	}
	rows, sum, err := t.digest(ctx, db, entry.Stripped)
	if err != nil {
		return err
	}
	if rows != entry.Rows {
		return fmt.Errorf("%w: %q has %d rows, not %d", backup.ErrManifest, entry.Name, rows, entry.Rows)
	}
	return entry.VerifyDigest(ctx, manifests, sum)
}
