package sqlledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

//go:embed migrations grants
var files embed.FS

// ErrSchema is returned by Open when the tables are older than the library
// needs: call Install, or apply Migrations.
// Its fields: Package; Have and Want, the versions; Found, what stands elsewhere
// or is missing.
type ErrSchema = sqldb.SchemaError //nolint:errname // every storing package calls it so

// ErrStandby says that the connection leads to a standby or read-only replica,
// whose ledger may be of an older state: connect to the primary.
var ErrStandby = sqldb.ErrStandby

// ErrRowSecurity says that policies of PostgreSQL hide lines from the role of
// the connection: a ledger that is shown in part looks like another one.
var ErrRowSecurity = sqldb.ErrRowSecurity

// ErrPragmas says that the SQLite connection would lose an entry that was
// appended, or leave a note that was forgotten in free pages.
var ErrPragmas = errors.New("sqlledger: SQLite is opened with synchronous below FULL or without secure_delete: put _pragma=synchronous(FULL) and _pragma=secure_delete(1) into the data source name")

// Migrations returns the numbered migrations, in the folders sqlite, postgres
// and mysql (MariaDB's, too), for goose, golang-migrate, psql or mysql.
func Migrations() fs.FS { return sqldb.Folder(files, "migrations") }

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too). [Install] and the
// migrations are for the owner of the tables; all else works as that role.
func Grants() fs.FS { return sqldb.Folder(files, "grants") }

func schema() sqldb.Schema {
	return sqldb.Schema{Package: "ledger", Migrations: Migrations()}
}

// Install creates the tables that are missing. It may be called at every start,
// by any number of processes at once. It makes no ledger: see
// erasurelog.Log.Create.
func Install(ctx context.Context, db *sql.DB) error {
	if _, err := open(ctx, db); err != nil {
		return err
	}
	return schema().Install(ctx, db)
}

// Ledger is a table of lines, and one of notes. It is an [erasurelog.Medium].
type Ledger struct{ db *sqldb.DB }

var _ erasurelog.Medium = (*Ledger)(nil)

// Open checks the tables and returns the ledger in them. It writes nothing, and
// leaves db to whoever opened it.
func Open(ctx context.Context, db *sql.DB) (*Ledger, error) {
	asked, err := open(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := schema().Check(ctx, asked); err != nil {
		return nil, err
	}
	return &Ledger{db: asked.Whole()}, nil
}

func open(ctx context.Context, db *sql.DB) (*sqldb.DB, error) {
	asked, err := sqldb.Open(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("sqlledger: %w", err)
	}
	return asked, checkPragmas(ctx, asked.Dialect, asked)
}

// checkPragmas refuses what a connection of SQLite is set to: pragmas belong to
// connections, so each change asks its own.
func checkPragmas(ctx context.Context, d sqldb.Dialect, q sqldb.Querier) error {
	if d.Kind != sqldb.SQLite {
		return nil
	}
	var secure, synchronous int
	if err := sqldb.One(ctx, q, []any{&secure, &synchronous}, `SELECT d.secure_delete, s.synchronous FROM pragma_secure_delete d, pragma_synchronous s`); err != nil {
		return fmt.Errorf("sqlledger: read secure_delete and synchronous: %w", err)
	}
	const full = 2
	if secure != 1 || synchronous < full {
		return ErrPragmas
	}
	return nil
}

// String says in errors which place it is.
func (l *Ledger) String() string { return "table crmguard_ledger_line" }

// write is a transaction of this package.
func (l *Ledger) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	return l.db.Write(ctx, func(tx *sql.Tx) error {
		if err := checkPragmas(ctx, l.db.Dialect, tx); err != nil {
			return err
		}
		return f(tx)
	})
}

// Create is Medium.Create. The ledger begins with a line of number 0 that is
// empty: so a table that was emptied is told from a ledger without entries.
func (l *Ledger) Create(ctx context.Context) error {
	err := l.write(ctx, func(tx *sql.Tx) error { return l.insert(ctx, tx, 0, []byte{}) })
	if _, refused := sqldb.Refused(err); refused {
		if there, asked := l.stands(ctx, l.db, 0); asked == nil && there {
			return fs.ErrExist
		}
	}
	return err
}

func (l *Ledger) insert(ctx context.Context, tx *sql.Tx, n int64, line []byte) error {
	return l.db.Insert(ctx, tx, sqldb.Insert{Table: "crmguard_ledger_line", Columns: []string{"n", "line"}, Key: []string{"n"}, New: true}, [][]any{{n, line}})
}

// stands says whether there is a line of a number.
func (l *Ledger) stands(ctx context.Context, q sqldb.Querier, n int64) (bool, error) {
	err := sqldb.One(ctx, q, []any{&n}, l.db.Bind(`SELECT n FROM crmguard_ledger_line WHERE n = ?`), n)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// created says whether there is a ledger; line 0 is never anything else's.
func (l *Ledger) created(ctx context.Context, tx *sql.Tx) error {
	there, err := l.stands(ctx, tx, 0)
	if err == nil && !there {
		err = fs.ErrNotExist
	}
	return err
}

// upTo selects bytes unless they are too long, in which case they are never read;
// and their number.
func upTo(column string) string {
	return fmt.Sprintf(`CASE WHEN length(%s) <= %d THEN %[1]s END, length(%[1]s)`, column, erasurelog.MaxLine)
}

// Read is Medium.Read. It reads in pages and holds no connection while the
// caller works: that may be the only one of its pool, which the keys need.
func (l *Ledger) Read(ctx context.Context, from erasurelog.Position) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for n := from.N; ; {
			page, err := l.page(ctx, n)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case n == 0 && (len(page) == 0 || page[0].n != 0):
				yield(nil, fs.ErrNotExist)
				return
			case len(page) == 0 || page[0].n != n: // what was there is gone
				return
			}
			for i, row := range page[1:] {
				want := n + int64(i) + 1
				switch {
				case row.n != want:
					err = fmt.Errorf("%w: line %d is missing, and others follow", erasurelog.ErrForged, want)
				case row.size > erasurelog.MaxLine:
					err = fmt.Errorf("%w: a line of more than %d bytes", erasurelog.ErrForged, erasurelog.MaxLine)
				}
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(append(row.line, '\n'), nil) {
					return
				}
			}
			if len(page) == 1 {
				return
			}
			n = page[len(page)-1].n
		}
	}
}

type row struct {
	n, size int64
	line    []byte // nil where it is too long
}

// page reads the line of a number and some that follow, and no more of long ones
// than a few.
func (l *Ledger) page(ctx context.Context, n int64) (rows []row, err error) {
	const most, mostBytes = 500, 4 << 20
	size := 0
	err = l.db.Snapshot(ctx, func(tx *sql.Tx) error {
		return sqldb.Each(ctx, tx, func(scan *sql.Rows) error {
			var r row
			if err := scan.Scan(&r.n, &r.line, &r.size); err != nil {
				return sqldb.Safe(err)
			}
			rows = append(rows, r)
			if size += len(r.line); size > mostBytes && len(rows) > 1 {
				return errFull
			}
			return nil
		}, l.db.Bind(fmt.Sprintf(`SELECT n, %s FROM crmguard_ledger_line WHERE n >= ? ORDER BY n LIMIT %d`, upTo("line"), most)), n)
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	return rows, err
}

var errFull = errors.New("sqlledger: the page is full")

// Append is Medium.Append: a compare-and-swap on the number of the line, which
// is the primary key.
func (l *Ledger) Append(ctx context.Context, at erasurelog.Position, last, line []byte) error {
	err := l.write(ctx, func(tx *sql.Tx) error {
		var found []byte
		var size int64
		err := sqldb.One(ctx, tx, []any{&found, &size}, l.db.Bind(`SELECT `+upTo("line")+` FROM crmguard_ledger_line WHERE n = ?`), at.N)
		switch {
		case errors.Is(err, sql.ErrNoRows) && at.N == 0:
			return fs.ErrNotExist
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		case err != nil || string(found) != string(last):
			return erasurelog.ErrMoved
		}
		if moved, err := l.stands(ctx, tx, at.N+1); err != nil || moved {
			return errors.Join(err, movedIf(moved))
		}
		if line == nil {
			return nil // what is committed is durable
		}
		return l.insert(ctx, tx, at.N+1, line)
	})
	if _, refused := sqldb.Refused(err); refused {
		if there, asked := l.stands(ctx, l.db, at.N+1); asked == nil && there { // another process was faster
			return erasurelog.ErrMoved
		}
	}
	return err
}

func movedIf(moved bool) error {
	if moved {
		return erasurelog.ErrMoved
	}
	return nil
}

// PutNotes is Medium.PutNotes.
func (l *Ledger) PutNotes(ctx context.Context, notes ...erasurelog.SealedNote) error {
	return l.write(ctx, func(tx *sql.Tx) error {
		if err := l.created(ctx, tx); err != nil {
			return err
		}
		for _, note := range notes {
			if note.Sealed == nil {
				if _, err := tx.ExecContext(ctx, l.db.Bind(`DELETE FROM crmguard_ledger_note WHERE name = ?`), note.Name); err != nil {
					return sqldb.Safe(err)
				}
				continue
			}
			in := sqldb.Insert{Table: "crmguard_ledger_note", Columns: []string{"name", "sealed"}, Key: []string{"name"}, Replace: true}
			if err := l.db.Insert(ctx, tx, in, [][]any{{note.Name, note.Sealed}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Notes is Medium.Notes.
func (l *Ledger) Notes(ctx context.Context) iter.Seq2[erasurelog.SealedNote, error] {
	return func(yield func(erasurelog.SealedNote, error) bool) {
		for name := ""; ; {
			var note erasurelog.SealedNote
			var size int64
			err := l.db.Snapshot(ctx, func(tx *sql.Tx) error {
				if err := l.created(ctx, tx); err != nil {
					return err
				}
				return sqldb.One(ctx, tx, []any{&note.Name, &note.Sealed, &size},
					l.db.Bind(`SELECT name, `+upTo("sealed")+` FROM crmguard_ledger_note WHERE name > ? ORDER BY name LIMIT 1`), name)
			})
			if errors.Is(err, sql.ErrNoRows) {
				return
			}
			failed := err
			if size > erasurelog.MaxLine {
				failed = fmt.Errorf("a note of more than %d bytes", erasurelog.MaxLine)
			}
			if !yield(note, failed) || err != nil {
				return
			}
			name = note.Name
		}
	}
}
