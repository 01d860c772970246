package main

import (
	"context"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption"
)

// censusContest: a job that goes through a table page by page takes twice as long
// for twice as many rows, and no longer. The pages of a backfill belong here, too,
// as another contestant.
func censusContest(ctx context.Context, p *bench, rows int) (contest, error) {
	s, err := p.postgres()
	if err != nil {
		return contest{}, err
	}
	dsn, err := s.database(ctx)
	if err != nil {
		return contest{}, err
	}
	db, err := p.connect(dsn, 2)
	if err != nil {
		return contest{}, err
	}
	vault, err := newVault(ctx, p)
	if err != nil {
		return contest{}, err
	}
	var contestants []contestant
	for _, n := range []int{2 * rows, rows} {
		name := fmt.Sprintf("people_%d", n)
		for _, statement := range []string{
			fmt.Sprintf(sealedTableSQL, name),
			fmt.Sprintf(`INSERT INTO %s (id, person, name, email, phone, street, city)
				SELECT md5(n::text), 'p', v, v, v, v, v FROM (SELECT n, '\x0100000001'::bytea || sha256(n::text::bytea) || sha256(n::text::bytea) AS v FROM generate_series(1, %d) n) AS all_rows`, name, n),
			`VACUUM (ANALYZE) ` + name,
		} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return contest{}, err
			}
		}
		table, err := vault.Table(encryption.Table{Name: name, Columns: columnsOf(sqlColumns)})
		if err != nil {
			return contest{}, err
		}
		run := func(runs int) error {
			for range runs {
				census, err := table.Census(ctx, db, tenant)
				if err != nil {
					return err
				}
				if got := census.KeyVersions[1]; got != int64(5*n) {
					return fmt.Errorf("%d cells were counted of %d", got, 5*n)
				}
			}
			return nil
		}
		contestants = append(contestants, contestant{
			Name: fmt.Sprintf("SealedTable.Census of %d rows", n), Role: peer, Run: run,
			Answer: func() (string, error) { return "all cells are counted", run(1) },
		})
	}
	contestants[0].Role, contestants[1].Must = ours, []string{"<= 2.3"}
	return contest{
		Package: "encryption", What: "Census of twice as many rows, PostgreSQL",
		Note: onPostgres + "The key is text in no order. Pages that sorted, or read the table from its beginning, would make the larger table take four times as long; that none does is a test of the package, which asks EXPLAIN.", Contestants: contestants, Time: 3 * time.Minute,
	}, nil
}
