package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jmoiron/sqlx"
	"github.com/libtnb/sqlite"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// opened is one database, opened by each library.
type opened struct {
	numbered       bool // placeholders are $1
	sql            *sql.DB
	sqlx           *sqlx.DB
	gorm, prepared *gorm.DB
	bun            *bun.DB
}

// open has each library open the database that database/sql has opened with a
// driver.
func open(driver string, db *sql.DB) (o *opened, err error) {
	var (
		dialector gorm.Dialector
		dialect   schema.Dialect
	)
	o = &opened{sql: db}
	switch driver {
	case "sqlite":
		dialector, dialect, o.sqlx = sqlite.New(sqlite.Config{Conn: db}), sqlitedialect.New(), sqlx.NewDb(db, "sqlite3")
	case "mysql":
		dialector, dialect, o.sqlx = mysql.New(mysql.Config{Conn: db}), mysqldialect.New(), sqlx.NewDb(db, "mysql")
	case "pgx", "postgres": // postgres is the name of lib/pq
		dialector, dialect, o.sqlx = postgres.New(postgres.Config{Conn: db}), pgdialect.New(), sqlx.NewDb(db, "postgres")
		o.numbered = true
	default:
		return nil, fmt.Errorf("no library here knows the driver %s", driver)
	}
	o.bun = bun.NewDB(db, dialect)
	quiet := logger.Default.LogMode(logger.Silent)
	if o.gorm, err = gorm.Open(dialector, &gorm.Config{Logger: quiet}); err != nil {
		return nil, err
	}
	o.prepared, err = gorm.Open(dialector, &gorm.Config{Logger: quiet, PrepareStmt: true})
	return o, err
}

// ways are those of all libraries that know the database.
func (c *crm) ways(ctx context.Context, driver, dsn string) (all []way, closeAll func(), err error) {
	o, err := open(driver, c.db)
	if err != nil {
		return nil, nil, err
	}
	add := func(name string, move func(ctx context.Context, id, email string, rest func() error) error) {
		all = append(all, way{name, move})
	}
	add("database/sql", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withSQL(ctx, o.sql, o.numbered, id, email, rest)
	})
	add("sqlx", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withSQLX(ctx, o.sqlx, id, email, rest)
	})
	add("GORM", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withGORM(ctx, o.gorm, id, email, rest)
	})
	add("GORM, nested", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withGORMNested(ctx, o.gorm, id, email, rest)
	})
	add("GORM, PrepareStmt", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withGORM(ctx, o.prepared, id, email, rest)
	})
	add("GORM, both", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withGORMNested(ctx, o.prepared, id, email, rest)
	})
	add("bun", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withBun(ctx, o.bun, id, email, rest)
	})
	add("bun, nested", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withBunNested(ctx, o.bun, id, email, rest)
	})
	if driver != "pgx" {
		return all, func() {}, nil
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	add("pgx", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withPgx(ctx, conn, id, email, rest)
	})
	add("pgx, nested", func(ctx context.Context, id, email string, rest func() error) error {
		return c.withPgxNested(ctx, conn, id, email, rest)
	})
	return all, func() { _ = conn.Close(context.WithoutCancel(ctx)) }, nil
}
