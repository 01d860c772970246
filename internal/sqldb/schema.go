package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
)

// A Schema is the tables of one package, as migrations that its users may apply
// with a tool of their own: goose, golang-migrate, psql, mysql.
//
// Migrations holds a folder for each way of saying things, sqlite, postgres and
// mysql, with a file a step: <14 digits>_crmguard_<package>_<n>.up.sql, n from
// 1, the digits unique over all packages. Each file writes its own row of
// crmguard_schema(package, version, installed) as its last statement, so that
// [Schema.Check] knows what is there whoever applied it. Steps only ever add.
//
// Each file may be applied again and then changes nothing: whoever began with
// Install moves to a tool by letting it apply all of them, and what was killed
// in the middle is applied once more. On MySQL and MariaDB a file has one
// statement of DDL, because it commits by itself.
type Schema struct {
	Package    string
	Migrations fs.FS
}

// SchemaError says that the tables of a package are older than this library
// needs, or not where a statement of this connection would find all of them.
type SchemaError struct {
	Package    string
	Have, Want int
	// Found is what stands elsewhere or is missing, "" where the versions tell
	// everything.
	Found string
}

// Error names the package, both versions and the remedy.
func (e *SchemaError) Error() string {
	text := fmt.Sprintf("%s: tables are at version %d, this library needs %d: ", e.Package, e.Have, e.Want)
	if e.Have < e.Want {
		text += "call Install, or apply the migrations it ships"
		if e.Found != "" {
			text += "; but first see to it that "
		}
	}
	if e.Found != "" {
		text += e.Found
	}
	return text
}

// Check answers a [*SchemaError] where tables are missing, too old or parted,
// and [ErrStandby] where they may show an old state. Newer ones are fine: the
// version before runs beside them. A right that is missing is a [*DriverError].
func (s Schema) Check(ctx context.Context, db *DB) error {
	files, err := s.files(db.Kind)
	if err != nil {
		return err
	}
	if err := db.Primary(ctx, db); err != nil {
		return fmt.Errorf("%s: open: %w", s.Package, err)
	}
	return s.check(ctx, db.Dialect, db, files)
}

func (s Schema) check(ctx context.Context, d Dialect, q Querier, files []string) error {
	have, err := s.version(ctx, d, q)
	if err != nil {
		return fmt.Errorf("%s: read the version of the tables: %w", s.Package, err)
	}
	wrong := &SchemaError{Package: s.Package, Have: have, Want: len(files)}
	if have < len(files) {
		wrong.Found, err = elsewhere(ctx, d, q)
	} else {
		wrong.Found, err = s.parted(ctx, d, q, files)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: look for the tables: %w", s.Package, err)
	case have < len(files) || wrong.Found != "":
		return wrong
	}
	return nil
}

// version is what the table of versions says, 0 where there is none. Whether
// there is one is asked first: inside PostgreSQL's transaction no statement may
// fail.
func (s Schema) version(ctx context.Context, d Dialect, q Querier) (int, error) {
	there := map[Kind]string{
		SQLite:   `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'crmguard_schema'`,
		Postgres: `SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('crmguard_schema')`,
	}[d.Kind]
	if there != "" {
		var n int
		if err := One(ctx, q, []any{&n}, there); err != nil || n == 0 {
			return 0, err
		}
	}
	var version sql.NullInt64
	err := One(ctx, q, []any{&version}, d.Bind(`SELECT MAX(version) FROM crmguard_schema WHERE package = ?`), s.Package)
	if codeOf(err) == "mysql 1146" { // no such table; without a right it would not say so
		return 0, nil
	}
	return int(version.Int64), err
}

// Install applies the steps that are missing. Any number of processes may call
// it at once, at every start: one after the other does. Where nothing is missing
// it waits for nobody, also not for an installer that stands still.
func (s Schema) Install(ctx context.Context, handle *sql.DB) error {
	db, err := Open(ctx, handle)
	if err != nil {
		return fmt.Errorf("%s: install: %w", s.Package, err)
	}
	files, err := s.files(db.Kind)
	if err != nil {
		return err
	}
	if s.Check(ctx, db) == nil {
		return nil
	}
	err = db.alone(ctx, func(conn *sql.Conn) error {
		if err := db.Primary(ctx, conn); err != nil {
			return err
		}
		have, err := s.version(ctx, db.Dialect, conn)
		if err != nil {
			return err
		}
		if have < len(files) {
			if err := db.beside(ctx, conn); err != nil {
				return err
			}
		}
		for _, file := range files[min(have, len(files)):] {
			if err := s.apply(ctx, db.Dialect, conn, file); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return s.check(ctx, db.Dialect, conn, files)
	})
	if err != nil {
		return fmt.Errorf("%s: install: %w", s.Package, err)
	}
	return nil
}

func (s Schema) apply(ctx context.Context, d Dialect, conn *sql.Conn, file string) error {
	text, err := fs.ReadFile(s.Migrations, file)
	if err != nil {
		return err
	}
	for _, statement := range d.statements(string(text)) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return Safe(err)
		}
	}
	return nil
}

// files are the steps of one kind of database, in their order.
func (s Schema) files(kind Kind) ([]string, error) {
	folder := map[Kind]string{SQLite: "sqlite", Postgres: "postgres", MariaDB: "mysql", MySQL: "mysql"}[kind]
	entries, err := fs.ReadDir(s.Migrations, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there are no tables for %s yet: %w", s.Package, kind, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	form := regexp.MustCompile(`^[0-9]{14}_crmguard_` + regexp.QuoteMeta(s.Package) + `_([0-9]+)\.up\.sql$`)
	var files []string
	for i, entry := range entries {
		match := form.FindStringSubmatch(entry.Name())
		if match == nil || match[1] != strconv.Itoa(i+1) {
			return nil, fmt.Errorf("%s: migration %s should be <14 digits>_crmguard_%s_%d.up.sql", s.Package, entry.Name(), s.Package, i+1)
		}
		files = append(files, folder+"/"+entry.Name())
	}
	return files, nil
}
