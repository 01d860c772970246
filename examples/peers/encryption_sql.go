package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
)

// The rows of the contests on PostgreSQL: a person each, 5 values, 2 of them
// searched by. The sealed table has bytes and two lookup values, the plain one the
// values themselves; each has an index on what it is searched by.
var sqlColumns = []string{"name", "email", "phone", "street", "city"}

const (
	sealedTableSQL = `CREATE TABLE %s (id text PRIMARY KEY, person text NOT NULL, name bytea, email bytea, phone bytea, street bytea, city bytea, email_idx bigint, phone_idx bigint)`
	plainTableSQL  = `CREATE TABLE %s (id text PRIMARY KEY, person text NOT NULL, name text, email text, phone text, street text, city text)`
)

func sqlValues(n int) []string {
	return []string{
		fmt.Sprintf("Zoe Mueller-%06d", n), fmt.Sprintf("zoe.mueller.%06d@crm.example", n), fmt.Sprintf("+49 30 %08d", n),
		fmt.Sprintf("Lange Strasse %d", n%500), "Frankfurt am Main",
	}
}

// rowID is a key in text, in no order.
func rowID(n int) string { return fmt.Sprintf("%08x-%04x", uint32(n)*2654435761, n%65536) }

func personID(n int) string { return fmt.Sprintf("019a8f3e-6d2b-7c51-9f4e-%012d", n) }

// A crm is a database with a sealed and a plain table of the same rows.
type crm struct {
	db      *sql.DB
	dsn     string
	vault   *encryption.Vault
	table   *encryption.SealedTable
	persons int
	next    int // number of the next row
}

func sealedColumns() []encryption.Column {
	columns := columnsOf(sqlColumns)
	columns[1].Find, columns[2].Find = encryption.Email, encryption.Exact
	return columns
}

// newCRM makes the tables without rows, and the keys of the persons.
func newCRM(ctx context.Context, p *bench, vault *encryption.Vault, persons int) (*crm, error) {
	s, err := p.postgres()
	if err != nil {
		return nil, err
	}
	dsn, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	c := &crm{dsn: dsn, vault: vault, persons: persons}
	if c.db, err = p.connect(dsn, 4); err != nil {
		return nil, err
	}
	if c.table, err = vault.Table(encryption.Table{Name: "people", Columns: sealedColumns()}); err != nil {
		return nil, err
	}
	for _, statement := range []string{
		fmt.Sprintf(sealedTableSQL, "people"), `CREATE INDEX ON people (email_idx)`, `CREATE INDEX ON people (phone_idx)`,
		fmt.Sprintf(plainTableSQL, "plain"), `CREATE INDEX ON plain (email)`, `CREATE INDEX ON plain (phone)`,
	} {
		if _, err := c.db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	return c, c.ensure(ctx)
}

func (c *crm) ensure(ctx context.Context) error {
	ids := make([]string, c.persons)
	for i := range ids {
		ids[i] = personID(i)
	}
	return c.vault.Ensure(ctx, tenant, ids...)
}

const (
	insertSealed = `INSERT INTO people (id, person, name, email, phone, street, city, email_idx, phone_idx) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	insertPlain  = `INSERT INTO plain (id, person, name, email, phone, street, city) VALUES ($1, $2, $3, $4, $5, $6, $7)`
)

func (c *crm) sealedArgs(ctx context.Context, n int) ([]any, error) {
	who := personID(n % c.persons)
	w, err := c.table.Writer(ctx, tenant, who)
	if err != nil {
		return nil, err
	}
	values := sqlValues(n)
	args := make([]any, 0, 9)
	args = append(args, rowID(n), who)
	for i, column := range sqlColumns {
		args = append(args, w.Text(column, values[i]))
	}
	return append(args, w.Index("email_idx", values[1]), w.Index("phone_idx", values[2])), nil
}

func plainArgs(c *crm, n int) []any {
	args := make([]any, 0, 7)
	args = append(args, rowID(n), personID(n%c.persons))
	for _, v := range sqlValues(n) {
		args = append(args, v)
	}
	return args
}

// fill writes rows into both tables.
func (c *crm) fill(ctx context.Context, rows int) error {
	for begin := c.next; c.next < begin+rows; {
		err := within(ctx, c.db, func(tx *sql.Tx) error {
			for range min(1000, begin+rows-c.next) {
				args, err := c.sealedArgs(ctx, c.next)
				if err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, insertSealed, args...); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, insertPlain, plainArgs(c, c.next)...); err != nil {
					return err
				}
				c.next++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	_, err := c.db.ExecContext(ctx, `VACUUM (ANALYZE)`)
	return err
}

// A sqlPerson is a row of either table as an application reads it.
type sqlPerson struct {
	id, person string
	sealed     [5]encryption.Sealed
	values     [5]string
}

func (p *sqlPerson) SealedCells() (owner, row string, cells []encryption.Cell) {
	cells = make([]encryption.Cell, len(sqlColumns))
	for i, column := range sqlColumns {
		cells[i] = encryption.Cell{Column: column, Sealed: p.sealed[i].Bytes(), Text: &p.values[i]}
	}
	return p.person, p.id, cells
}

func (c *crm) page(ctx context.Context, query string, sealed bool, args ...any) (page []*sqlPerson, err error) {
	rows, err := c.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		p := &sqlPerson{}
		to := []any{&p.id, &p.person, &p.values[0], &p.values[1], &p.values[2], &p.values[3], &p.values[4]}
		if sealed {
			to = []any{&p.id, &p.person, &p.sealed[0], &p.sealed[1], &p.sealed[2], &p.sealed[3], &p.sealed[4]}
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		page = append(page, p)
	}
	if err := rows.Err(); err != nil || !sealed {
		return page, err
	}
	return page, encryption.OpenAll(ctx, c.table, tenant, page)
}

const pageColumns = `SELECT id, person, name, email, phone, street, city FROM `

func textOf(page []*sqlPerson) string {
	var b strings.Builder
	for _, p := range page {
		fmt.Fprintln(&b, p.id, p.person, p.values)
	}
	return b.String()
}

// statementContests are left out where there is no server, as are the others on
// PostgreSQL.
func statementContests(ctx context.Context, p *bench) ([]contest, error) {
	return onServer(p, func() ([]contest, error) {
		vault, err := newVault(ctx, p)
		if err != nil {
			return nil, err
		}
		persons := 1000
		if p.small {
			persons = 60
		}
		c, err := newCRM(ctx, p, vault, persons)
		if err != nil {
			return nil, err
		}
		if err := c.fill(ctx, 20*persons); err != nil {
			return nil, err
		}
		far := *c // by TCP, as most applications have it
		if far.db, err = p.connect(p.server.overTCP(c.dsn), 4); err != nil {
			return nil, err
		}
		return []contest{c.inserting(ctx), c.selecting(ctx, ""), far.selecting(ctx, " over TCP")}, nil
	})
}

func resealContests(ctx context.Context, p *bench) ([]contest, error) {
	return onServer(p, func() ([]contest, error) {
		vault, err := newVault(ctx, p)
		if err != nil {
			return nil, err
		}
		one, err := newResealing(ctx, p, vault, p.rows())
		return []contest{one}, err
	})
}

func pageContests(ctx context.Context, p *bench) ([]contest, error) {
	return onServer(p, func() ([]contest, error) {
		return twiceContests(ctx, p, p.rows())
	})
}

// rows of a large table.
func (p *bench) rows() int {
	if p.small {
		return 300
	}
	return 100_000
}

func onServer(p *bench, set func() ([]contest, error)) ([]contest, error) {
	_, err := p.postgres()
	if errors.Is(err, errNoServer) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return set()
}

const onPostgres = "PostgreSQL with the settings it is shipped with, over a socket: what is committed is on the disk. Text is in the order of ICU's en-US. Keys are warm. "

// inserting is one row a transaction.
func (c *crm) inserting(ctx context.Context) contest {
	insert := func(query string, args func(n int) ([]any, error)) func(runs int) error {
		return func(runs int) error {
			for range runs {
				some, err := args(c.next)
				if err != nil {
					return err
				}
				if _, err := c.db.ExecContext(ctx, query, some...); err != nil {
					return err
				}
				c.next++
			}
			return nil
		}
	}
	sealed := insert(insertSealed, func(n int) ([]any, error) { return c.sealedArgs(ctx, n) })
	plain := insert(insertPlain, func(n int) ([]any, error) { return plainArgs(c, n), nil })
	answer := func(run func(int) error, table string, sealed bool) func() (string, error) {
		return func() (string, error) {
			n := c.next
			if err := run(1); err != nil {
				return "", err
			}
			page, err := c.page(ctx, pageColumns+table+` WHERE id = $1`, sealed, rowID(n))
			if err == nil && len(page) == 1 && page[0].values == [5]string(sqlValues(n)) {
				return "the row stands there", nil
			}
			return "", fmt.Errorf("row %d is not there as it was written: %w", n, err)
		}
	}
	return contest{
		Package: "encryption", What: "INSERT of 5 sealed fields and 2 lookup values, PostgreSQL",
		Note: onPostgres + "A row a transaction. Ours takes a Writer for its person, seals, and writes the lookup values into two indexed columns; the plain table has indexes on the two values themselves.",
		Contestants: []contestant{
			{Name: "Writer, 5 Text, 2 Index, INSERT", Role: ours, Answer: answer(sealed, "people", true), Run: sealed},
			{Name: "INSERT of the plain row", Role: peer, Answer: answer(plain, "plain", false), Run: plain, Must: []string{"<= 1.1"}},
		},
	}
}

// selecting is a page of rows, a person each.
func (c *crm) selecting(ctx context.Context, way string) contest {
	read := func(table string, sealed bool) func() ([]*sqlPerson, error) {
		return func() ([]*sqlPerson, error) {
			return c.page(ctx, pageColumns+table+` WHERE id >= $1 ORDER BY id LIMIT 50`, sealed, "7")
		}
	}
	contestants := []contestant{
		{Name: "SELECT and OpenAll", Role: ours}, {Name: "SELECT of plain rows", Role: peer, Must: []string{"<= 1.1"}},
	}
	for i, page := range []func() ([]*sqlPerson, error){read("people", true), read("plain", false)} {
		contestants[i].Answer = func() (string, error) {
			rows, err := page()
			if err == nil && len(rows) != 50 {
				err = fmt.Errorf("%d rows", len(rows))
			}
			// Contests that insert go on beside this one: the rows differ by then.
			return fmt.Sprint(len(rows), " rows, 5 values each: ", !strings.Contains(textOf(rows), "[    ]")), err
		}
		contestants[i].Run = func(n int) error {
			for range n {
				if _, err := page(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return contest{
		Package: "encryption", What: "SELECT of 50 rows of 5 sealed fields and opening them, PostgreSQL" + way,
		Note: onPostgres + "50 rows of 50 persons, in the order of their key; 250 values are opened.", Contestants: contestants,
	}
}

// newResealing: a table that another key version has sealed is brought under the
// active one.
func newResealing(ctx context.Context, p *bench, vault *encryption.Vault, rows int) (contest, error) {
	c, err := newCRM(ctx, p, vault, max(1, rows/10))
	if err != nil {
		return contest{}, err
	}
	for _, statement := range []string{`DROP TABLE plain`, strings.ReplaceAll(fmt.Sprintf(plainTableSQL, "plain"), "city text", "city text, email_idx bigint, phone_idx bigint")} {
		if _, err := c.db.ExecContext(ctx, statement); err != nil {
			return contest{}, err
		}
	}
	if err := c.fill(ctx, rows); err != nil {
		return contest{}, err
	}
	for _, statement := range []string{`CREATE TABLE wide (LIKE people INCLUDING ALL)`, `INSERT INTO wide SELECT * FROM people ORDER BY ctid`, `VACUUM (ANALYZE) wide`} {
		if _, err := c.db.ExecContext(ctx, statement); err != nil {
			return contest{}, err
		}
	}
	vacuum := func() error {
		_, err := c.db.ExecContext(ctx, `VACUUM people, plain, wide`)
		return err
	}
	reseal := func(n int) error {
		for range n {
			report, err := c.table.Reseal(ctx, c.db, tenant, jobs.ResealOptions{})
			if err != nil {
				return err
			}
			if report.Cells != 5*rows {
				return fmt.Errorf("%d cells were resealed of %d", report.Cells, 5*rows)
			}
		}
		return nil
	}
	next := func(int) error {
		if _, err := vault.NewKeyVersion(ctx, tenant); err != nil {
			return err
		}
		return c.ensure(ctx)
	}
	update := func(table string, each func(tx *sql.Tx, page []otherRow) error) func(n int) error {
		return func(n int) error {
			for range n {
				if err := c.update(ctx, rows, table, each); err != nil {
					return err
				}
			}
			return nil
		}
	}
	one := update("plain", func(tx *sql.Tx, page []otherRow) error {
		for _, p := range page {
			if _, err := tx.ExecContext(ctx, `UPDATE plain SET name = $2, email = $3, phone = $4, street = $5, city = $6 WHERE id = $1`, p.id, string(p.values[0]), string(p.values[1]), string(p.values[2]), string(p.values[3]), string(p.values[4])); err != nil {
				return err
			}
		}
		return nil
	})
	many := update("plain", func(tx *sql.Tx, page []otherRow) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(manySQL, "plain", "text"), manyArgs(page, func(b []byte) string { return string(b) })...)
		return err
	})
	wide := update("wide", func(tx *sql.Tx, page []otherRow) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(manySQL, "wide", "bytea"), manyArgs(page, func(b []byte) []byte { return b })...)
		return err
	})
	answer := func(setup func(int) error, run func(int) error) func() (string, error) {
		return func() (string, error) {
			return fmt.Sprint(rows, " rows changed"), errors.Join(setup(1), run(1), vacuum())
		}
	}
	none := func(int) error { return nil }
	return contest{
		Package: "encryption", What: fmt.Sprintf("Reseal of %d rows of 5 sealed fields, PostgreSQL", rows),
		Note: onPostgres + "10 rows a person; the persons have keys of the active key version already. Everyone reads pages of 100 rows in the order of the key and changes them in a transaction each. The peers write other values of the same length, update by the key alone and compare nothing: one of them as many bytes as ours has, a page a statement, the others the values as they are without sealing, which is a third of the bytes. VACUUM runs after each, off the clock.",
		Contestants: []contestant{
			{Name: "SealedTable.Reseal", Role: ours, Answer: answer(next, reseal), Setup: next, Run: reseal, Clean: vacuum},
			{Name: "UPDATE of 100 rows of as many bytes a statement", Role: peer, Answer: answer(none, wide), Run: wide, Clean: vacuum, Must: []string{">= 0.7"}},
			{Name: "UPDATE of 100 plain rows a statement", Role: peer, Answer: answer(none, many), Run: many, Clean: vacuum, Must: []string{">= 0.7"}},
			{Name: "UPDATE of each plain row, 100 a transaction", Role: peer, Answer: answer(none, one), Run: one, Clean: vacuum, Must: []string{">= 0.7"}},
		},
		Time: 200 * time.Second,
	}, nil
}

// manySQL changes many rows with one statement.
const manySQL = `UPDATE %[1]s SET name = n.name, email = n.email, phone = n.phone, street = n.street, city = n.city
	FROM unnest($1::text[], $2::%[2]s[], $3::%[2]s[], $4::%[2]s[], $5::%[2]s[], $6::%[2]s[]) AS n (id, name, email, phone, street, city) WHERE %[1]s.id = n.id`

func manyArgs[T any](page []otherRow, as func([]byte) T) []any {
	ids, arrays := make([]string, 0, len(page)), make([][]T, len(sqlColumns))
	for _, p := range page {
		ids = append(ids, p.id)
		for i, v := range p.values {
			arrays[i] = append(arrays[i], as(v))
		}
	}
	args := []any{ids}
	for _, array := range arrays {
		args = append(args, array)
	}
	return args
}

// An otherRow is a row that is to hold other values of the same length: to write
// what is there already costs a database next to nothing.
type otherRow struct {
	id     string
	values [5][]byte
}

func (c *crm) others(ctx context.Context, table, after string) (page []otherRow, err error) {
	rows, err := c.db.QueryContext(ctx, `SELECT id, name, email, phone, street, city FROM `+table+` WHERE id > $1 ORDER BY id LIMIT 100`, after)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p otherRow
		if err := rows.Scan(&p.id, &p.values[0], &p.values[1], &p.values[2], &p.values[3], &p.values[4]); err != nil {
			return nil, err
		}
		for _, v := range p.values {
			first := v[0]
			copy(v, v[1:])
			v[len(v)-1] = first
		}
		page = append(page, p)
	}
	return page, rows.Err()
}

// update goes through a table page by page, a transaction each.
func (c *crm) update(ctx context.Context, rows int, table string, each func(tx *sql.Tx, page []otherRow) error) error {
	after, done := "", 0
	for {
		page, err := c.others(ctx, table, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if err := within(ctx, c.db, func(tx *sql.Tx) error { return each(tx, page) }); err != nil {
			return err
		}
		after, done = page[len(page)-1].id, done+len(page)
	}
	if done != rows {
		return fmt.Errorf("%d rows were changed of %d", done, rows)
	}
	return nil
}
