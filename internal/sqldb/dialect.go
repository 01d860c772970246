package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// A Kind is one of the ways in which databases say things.
type Kind string

// The kinds. MariaDB and MySQL have parted far enough to be told apart.
const (
	SQLite   Kind = "SQLite"
	Postgres Kind = "PostgreSQL"
	MariaDB  Kind = "MariaDB"
	MySQL    Kind = "MySQL"
)

// A Dialect is the way in which one database says things.
type Dialect struct {
	Kind    Kind
	Version string // as the database gives it, for reports
}

// A Querier asks: *sql.DB, *sql.Conn and *sql.Tx are one.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// One reads one row into dest; sql.ErrNoRows says that there is none. From a
// *DB it reads as [DB.Read] does.
func One(ctx context.Context, q Querier, dest []any, query string, args ...any) (err error) {
	if db, ok := q.(*DB); ok {
		return db.Read(ctx, func(q Querier) error { return One(ctx, q, dest, query, args...) })
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return Safe(err)
	}
	defer func() { err = errors.Join(err, Safe(rows.Close())) }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return Safe(err) // a connection that broke is no absent row
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(dest...); err != nil {
		return Safe(err)
	}
	return Safe(rows.Err())
}

// The oldest versions whose words are used here: ON CONFLICT with a row value
// on SQLite, the ICU provider of a database on PostgreSQL being optional,
// SKIP LOCKED on MariaDB and on MySQL.
var oldest = map[Kind][2]int{SQLite: {3, 35}, Postgres: {13, 0}, MariaDB: {10, 6}, MySQL: {8, 0}}

// Ask finds out what the database is. Another one, or one that is too old, is
// errors.ErrUnsupported with the name of what was found; a database that does
// not answer is the error of its driver.
func Ask(ctx context.Context, q Querier) (d Dialect, err error) {
	err = retry(ctx, func() error { // SQLite may be too busy to be opened
		d, err = ask(ctx, q)
		return err
	})
	return d, err
}

func ask(ctx context.Context, q Querier) (Dialect, error) {
	// PostgreSQL, MariaDB and MySQL know version(). SQLite does not, and a
	// failed statement harms nothing there.
	var text string
	err := One(ctx, q, []any{&text}, `SELECT version()`)
	if err == nil {
		return dialectOf(text)
	}
	if !unreachable(ctx, err) && !passing(err) {
		if err = One(ctx, q, []any{&text}, `SELECT sqlite_version()`); err == nil {
			return supported(SQLite, text, text)
		}
	}
	if unreachable(ctx, err) || passing(err) {
		return Dialect{}, fmt.Errorf("sqldb: the database does not answer: %w", err)
	}
	if One(ctx, q, []any{&text}, `SELECT @@VERSION`) == nil {
		return dialectOf(text) // MariaDB and MySQL, too, where the first answer was lost
	}
	// A file that cannot be opened fails at every question; all databases that
	// are supported understand this one.
	var one int64
	if err := One(ctx, q, []any{&one}, `SELECT 1`); err != nil {
		return Dialect{}, fmt.Errorf("sqldb: the database does not answer: %w", err)
	}
	return Dialect{}, unsupported("a database that names no version")
}

// unreachable tells a database that does not answer from one that does not
// understand the question.
func unreachable(ctx context.Context, err error) bool {
	var network net.Error
	return ctx.Err() != nil || atTheDoor(codeOf(err)) || hungUp(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// dialectOf reads what version() answers. Databases that speak PostgreSQL's or
// MySQL's protocol and are neither are refused by name: their locks and
// isolation are others.
func dialectOf(text string) (Dialect, error) {
	for _, other := range []string{"CockroachDB", "-YB-", "Redshift", "Greenplum", "TiDB", "OceanBase", "Vitess", "StarRocks", "Doris", "SingleStore"} {
		if strings.Contains(text, other) {
			return Dialect{}, unsupported(text)
		}
	}
	if number, ok := strings.CutPrefix(text, "PostgreSQL "); ok {
		return supported(Postgres, number, text)
	}
	if i := strings.Index(text, "-MariaDB"); i > 0 {
		// Behind a replication prefix of its clients the true number stands last.
		return supported(MariaDB, strings.TrimPrefix(text[:i], "5.5.5-"), text)
	}
	if text != "" && text[0] >= '0' && text[0] <= '9' {
		return supported(MySQL, text, text)
	}
	return Dialect{}, unsupported(text)
}

func supported(kind Kind, number, text string) (Dialect, error) {
	major, rest, _ := strings.Cut(number, ".")
	have := [2]int{leadingNumber(major), leadingNumber(rest)}
	want := oldest[kind]
	if have[0] < want[0] || have[0] == want[0] && have[1] < want[1] {
		return Dialect{}, fmt.Errorf("%w; %s %d.%d is the oldest that is", unsupported(text), kind, want[0], want[1])
	}
	return Dialect{Kind: kind, Version: firstWords(text)}, nil
}

func unsupported(found string) error {
	return fmt.Errorf("sqldb: %s is not supported; SQLite, PostgreSQL, MariaDB and MySQL are: %w", firstWords(found), errors.ErrUnsupported)
}

// firstWords keeps an answer readable: PostgreSQL tells its compiler, too.
func firstWords(s string) string {
	s, _, _ = strings.Cut(s, " on ")
	s, _, _ = strings.Cut(s, "\n")
	return strings.ToValidUTF8(s[:min(len(s), 80)], "")
}

func leadingNumber(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}

// mysql says that the database speaks as MySQL and MariaDB both do.
func (d Dialect) mysql() bool { return d.Kind == MySQL || d.Kind == MariaDB }
