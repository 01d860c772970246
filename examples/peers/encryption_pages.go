package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
)

// A large table, whose key is text in no order, as a job sees it that goes through
// it page by page: five sealed columns, and one in the clear that is to be sealed.
type large struct {
	rows   int
	table  *encryption.SealedTable
	remark *adoption.Adoption
}

const largePersons = 1000

// newLarge makes a large table. What looks sealed there begins like a sealed field,
// and is none: no job here opens it.
func newLarge(ctx context.Context, db *sql.DB, vault *encryption.Vault, rows int) (*large, error) {
	name := fmt.Sprintf("people_%d", rows)
	for _, statement := range []string{
		fmt.Sprintf(sealedTableSQL, name),
		`ALTER TABLE ` + name + ` ADD remark text, ADD remark_sealed bytea`,
		fmt.Sprintf(`INSERT INTO %s (id, person, name, email, phone, street, city, remark)
			SELECT md5(n::text), '019a8f3e-6d2b-7c51-9f4e-' || lpad((n %% %d)::text, 12, '0'), v, v, v, v, v, 'calls back in week ' || n %% 53
			FROM (SELECT n, '\x0100000001'::bytea || sha256(n::text::bytea) AS v FROM generate_series(1, %d) n) AS all_rows`, name, largePersons, rows),
		`VACUUM (ANALYZE) ` + name,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	columns := append(columnsOf(sqlColumns), encryption.Column{Name: "remark", SQL: "remark_sealed"})
	table, err := vault.Table(encryption.Table{Name: name, Columns: columns})
	if err != nil {
		return nil, err
	}
	remark, err := adoption.Open(ctx, adoption.Config{
		DB: db, Table: table, Columns: []adoption.Column{{Name: "remark", Plain: "remark"}}, Lease: 100 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	return &large{rows, table, remark}, remark.Move(ctx, tenant, adoption.WriteBoth, adoption.MoveOptions{})
}

// largeVault is a vault with keys for the persons of large tables, and a database
// in which an adoption can keep its stage.
func largeVault(ctx context.Context, p *bench, db *sql.DB) (*encryption.Vault, error) {
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	ids := make([]string, largePersons)
	for i := range ids {
		ids[i] = personID(i)
	}
	if err := vault.Ensure(ctx, tenant, ids...); err != nil {
		return nil, err
	}
	return vault, adoption.Install(ctx, db)
}

func (l *large) census(ctx context.Context, db *sql.DB) error {
	census, err := l.table.Census(ctx, db, tenant)
	if err != nil {
		return err
	}
	if got, null := census.KeyVersions[1], census.Null; got != int64(5*l.rows) || null != int64(l.rows) {
		return fmt.Errorf("%d sealed cells and %d without a value were counted of %d and %d", got, null, 5*l.rows, l.rows)
	}
	return nil
}

// backfill reads as a backfill does, and changes nothing: it can be done again.
func (l *large) backfill(ctx context.Context) error {
	report, err := l.remark.Backfill(ctx, tenant, adoption.JobOptions{DryRun: true})
	if err != nil {
		return err
	}
	if report.Rows != int64(l.rows) || report.Changed != report.Rows {
		return fmt.Errorf("%d rows were read and %d to be sealed of %d", report.Rows, report.Changed, l.rows)
	}
	return nil
}

// twiceContests: a job that goes through a table page by page takes twice as long
// for twice as many rows, and no longer.
func twiceContests(ctx context.Context, p *bench, rows int) ([]contest, error) {
	s, err := p.postgres()
	if err != nil {
		return nil, err
	}
	dsn, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	db, err := p.connect(dsn, 2)
	if err != nil {
		return nil, err
	}
	vault, err := largeVault(ctx, p, db)
	if err != nil {
		return nil, err
	}
	var census, backfill []contestant
	for _, n := range []int{2 * rows, rows} {
		l, err := newLarge(ctx, db, vault, n)
		if err != nil {
			return nil, err
		}
		one := func(name string, job func() error) contestant {
			run := func(runs int) error {
				for range runs {
					if err := job(); err != nil {
						return err
					}
				}
				return nil
			}
			return contestant{
				Name: fmt.Sprintf("%s of %d rows", name, n), Role: peer, Run: run,
				Answer: func() (string, error) { return "all rows are read", run(1) },
			}
		}
		census = append(census, one("SealedTable.Census", func() error { return l.census(ctx, db) }))
		backfill = append(backfill, one("Adoption.Backfill, dry run,", func() error { return l.backfill(ctx) }))
	}
	for _, both := range [][]contestant{census, backfill} {
		both[0].Role, both[1].Must = ours, []string{"<= 2.3"}
	}
	note := onPostgres + "The key is text in no order. Pages that sorted, or read the table from its beginning, would make the larger table take four times as long."
	return []contest{
		{Package: "encryption", What: "Census of twice as many rows, PostgreSQL", Note: note, Contestants: census},
		{Package: "encryption", What: "Backfill of twice as many rows, PostgreSQL", Note: note + " A dry run reads, fetches the keys and changes nothing; what a backfill writes is a row at a time by its key.", Contestants: backfill},
	}, nil
}

// pagePlans lets the server say by which plan it carried out each page that the
// jobs asked for, and counts what must not be in there.
func pagePlans(ctx context.Context, p *bench) ([]taken, error) {
	rows := 1_000_000
	if p.small {
		rows = 5000
	}
	s, err := p.postgres()
	if err != nil {
		return nil, err
	}
	dsn, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	db, seen, err := p.explained(dsn)
	if err != nil {
		return nil, err
	}
	vault, err := largeVault(ctx, p, db)
	if err != nil {
		return nil, err
	}
	l, err := newLarge(ctx, db, vault, rows)
	if err != nil {
		return nil, err
	}
	// What cannot be done without them must be found to have them.
	seen.forget()
	if _, err := db.ExecContext(ctx, fmt.Sprintf(`SELECT id FROM people_%d ORDER BY city LIMIT 3`, rows)); err != nil {
		return nil, err
	}
	if pages, bad := seen.count(); pages != 1 || bad < 2 {
		return nil, fmt.Errorf("a question that sorts a whole table is explained as %d questions with %d nodes", pages, bad)
	}
	var out []taken
	for _, job := range []struct {
		name string
		page int
		run  func() error
	}{
		{"Census", 500, func() error { return l.census(ctx, db) }},
		{"Backfill", 200, func() error { return l.backfill(ctx) }},
	} {
		seen.forget()
		if err := job.run(); err != nil {
			return nil, err
		}
		pages, bad := seen.count()
		out = append(
			out,
			taken{job.name + ": pages that were asked for", float64(pages), "pages", fmt.Sprintf(">= %d pages", rows/job.page)},
			taken{job.name + ": Sort and Seq Scan nodes in their plans", float64(bad), "nodes", "<= 0 nodes"},
		)
	}
	return out, nil
}
