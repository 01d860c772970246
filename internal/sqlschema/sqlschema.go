// Package sqlschema installs and checks the tables of one crmguard package.
//
// Each package that stores rows ships numbered, additive migrations
// (0001_name.sql, 0002_name.sql, …) in an [fs.FS]. The table
// crmguard_schema(package, version, installed) says what is there. An older
// or newer library runs beside the tables as long as they are not older than
// it needs: additive migrations keep versions N and N-1 working together.
package sqlschema

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Set is the migrations of one package.
type Set struct {
	Package    string // "audit"
	Migrations fs.FS  // *.sql at its root
}

// VersionError says that the tables are older than the library needs.
type VersionError struct {
	Package    string
	Have, Want int
}

// Error names the package, both versions and the remedy.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: tables are at version %d, this library needs %d: call Install, or apply the migrations it ships", e.Package, e.Have, e.Want)
}

// Querier is what a check needs: *sql.DB, *sql.Conn or *sql.Tx.
type Querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Check reports whether the tables are recent enough.
func (s Set) Check(ctx context.Context, q Querier) error {
	files, err := s.files()
	if err != nil {
		return err
	}
	have, err := s.version(ctx, q)
	if err != nil {
		return &VersionError{Package: s.Package, Have: 0, Want: len(files)}
	}
	if have < len(files) {
		return &VersionError{Package: s.Package, Have: have, Want: len(files)}
	}
	return nil
}

func (s Set) version(ctx context.Context, q Querier) (int, error) {
	var version sql.NullInt64
	err := q.QueryRowContext(ctx, `SELECT MAX(version) FROM crmguard_schema WHERE package = '`+s.Package+`'`).Scan(&version)
	return int(version.Int64), err
}

// Install applies the migrations that are missing, each in a transaction of
// its own. It may be called at every start, by several processes at once: a
// migration that failed because another process was faster counts as applied.
func (s Set) Install(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return fmt.Errorf("%s: install: no database was handed in", s.Package)
	}
	files, err := s.files()
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS crmguard_schema (
	package VARCHAR(64) NOT NULL, version INTEGER NOT NULL, installed BIGINT NOT NULL, PRIMARY KEY (package, version))`); err != nil {
		return fmt.Errorf("%s: install: %w", s.Package, err)
	}
	have, err := s.version(ctx, db)
	if err != nil {
		return fmt.Errorf("%s: install: %w", s.Package, err)
	}
	for i := have; i < len(files); i++ {
		if err := s.ensure(ctx, db, files[i], i+1); err != nil {
			return fmt.Errorf("%s: install %s: %w", s.Package, files[i], err)
		}
	}
	return nil
}

// ensure applies a migration, unless another process is faster. It tries again
// because a database may refuse one of two that come at once before the other
// is through.
func (s Set) ensure(ctx context.Context, db *sql.DB, file string, version int) (first error) {
	for range 3 {
		err := s.apply(ctx, db, file, version)
		if err == nil {
			return nil
		}
		if now, err := s.version(ctx, db); err == nil && now >= version {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

func (s Set) apply(ctx context.Context, db *sql.DB, file string, version int) error {
	text, err := fs.ReadFile(s.Migrations, file)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	insert := fmt.Sprintf(`INSERT INTO crmguard_schema (package, version, installed) VALUES ('%s', %d, %d)`, s.Package, version, time.Now().UnixMicro())
	if _, err := tx.ExecContext(ctx, insert); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// files lists the migrations and insists on the numbers 1, 2, 3, …
func (s Set) files() ([]string, error) {
	files, err := fs.Glob(s.Migrations, "*.sql")
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		number, _, _ := strings.Cut(path.Base(file), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("%s: migration %s should have number %d", s.Package, file, i+1)
		}
	}
	return files, nil
}
