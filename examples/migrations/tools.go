package main

import (
	"context"
	"database/sql"
	"errors"
	"os"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"
)

// The two funcs stand in the README, word for word, and a test runs them.

// withGoose applies the files of a folder that are missing.
func withGoose(ctx context.Context, dialect goose.Dialect, db *sql.DB, folder string) error {
	provider, err := goose.NewProvider(dialect, db, os.DirFS(folder))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// withGolangMigrate applies the files of a folder that are missing. The driver
// is what WithInstance of database/pgx/v5, database/mysql or database/sqlite
// makes of a database handle; it is closed at the end, and the handle with it.
func withGolangMigrate(name string, driver database.Driver, folder string) (err error) {
	files, err := iofs.New(os.DirFS(folder), ".")
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", files, name, driver)
	if err != nil {
		return err
	}
	defer func() {
		source, handle := m.Close()
		err = errors.Join(err, source, handle)
	}()
	if err := m.Up(); !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}
