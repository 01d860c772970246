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
// On MySQL and MariaDB a file has one statement of DDL, which may be repeated,
// because it commits by itself.
type Schema struct {
	Package    string
	Migrations fs.FS
}

// SchemaError says that the tables of a package are older than this library
// needs.
type SchemaError struct {
	Package    string
	Have, Want int
}

// Error names the package, both versions and the remedy.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("%s: tables are at version %d, this library needs %d: call Install, or apply the migrations it ships", e.Package, e.Have, e.Want)
}

// Check answers a [*SchemaError] where tables are missing or too old, and
// [ErrStandby] where they may show an old state. Newer ones are fine: the
// version before runs beside them.
func (s Schema) Check(ctx context.Context, db *DB) error {
	files, err := s.files(db.Kind)
	if err != nil {
		return err
	}
	if err := db.Primary(ctx, db); err != nil {
		return fmt.Errorf("%s: open: %w", s.Package, err)
	}
	have, err := s.installed(ctx, db.Dialect, db)
	if err != nil {
		return fmt.Errorf("%s: read the version of the tables: %w", s.Package, err)
	}
	if have < len(files) {
		return &SchemaError{Package: s.Package, Have: have, Want: len(files)}
	}
	return nil
}

func (s Schema) version(ctx context.Context, d Dialect, q Querier) (int, error) {
	var version sql.NullInt64
	err := One(ctx, q, []any{&version}, d.Bind(`SELECT MAX(version) FROM crmguard_schema WHERE package = ?`), s.Package)
	return int(version.Int64), err
}

// Install applies the steps that are missing. Any number of processes may call
// it at once, at every start: one after the other does.
func (s Schema) Install(ctx context.Context, handle *sql.DB) error {
	db, err := Open(ctx, handle)
	if err != nil {
		return fmt.Errorf("%s: install: %w", s.Package, err)
	}
	files, err := s.files(db.Kind)
	if err != nil {
		return err
	}
	err = db.alone(ctx, func(conn *sql.Conn) error {
		if err := db.Primary(ctx, conn); err != nil {
			return err
		}
		have, err := s.installed(ctx, db.Dialect, conn)
		if err != nil {
			return err
		}
		for _, file := range files[min(have, len(files)):] {
			if err := s.apply(ctx, db.Dialect, conn, file); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		if have, err = s.version(ctx, db.Dialect, conn); err == nil && have < len(files) {
			err = &SchemaError{Package: s.Package, Have: have, Want: len(files)}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: install: %w", s.Package, err)
	}
	return nil
}

// installed is the version, 0 without a table of versions. Whether there is one
// is asked first: inside PostgreSQL's transaction no statement may fail, and a
// table that may not be read is another fault than one that is not there.
func (s Schema) installed(ctx context.Context, d Dialect, q Querier) (int, error) {
	there := map[Kind]string{
		SQLite:   `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'crmguard_schema'`,
		Postgres: `SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('crmguard_schema')`,
		MariaDB:  `SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'crmguard_schema'`,
	}
	there[MySQL] = there[MariaDB]
	var n int
	if err := One(ctx, q, []any{&n}, there[d.Kind]); err != nil || n == 0 {
		return 0, err
	}
	return s.version(ctx, d, q)
}

func (s Schema) apply(ctx context.Context, d Dialect, conn *sql.Conn, file string) error {
	text, err := fs.ReadFile(s.Migrations, file)
	if err != nil {
		return err
	}
	for _, statement := range d.statements(string(text)) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
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
