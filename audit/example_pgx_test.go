package audit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// pgxTx is a transaction of pgx's own: it has Commit, by which the trail sees that it
// is one.
type pgxTx struct{ pgx.Tx }

// ExecContext is all that recording needs.
func (t pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := t.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

// openOnPool opens a trail whose own work goes over the application's pool. key comes
// of audit.GenerateKey and secret of audit.NewKeysFile, once.
func openOnPool(ctx context.Context, pool *pgxpool.Pool, key, secret, folder string) (*audit.Trail, error) {
	db := stdlib.OpenDBFromPool(pool)
	if err := sqltrail.Install(ctx, db); err != nil {
		return nil, err
	}
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	sink, err := tilesink.Open(folder)
	if err != nil {
		return nil, err
	}
	keys, err := audit.KeysFile(secret)
	if err != nil {
		return nil, err
	}
	return audit.Open(ctx, store, audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: sink, Keys: keys,
		Fields: map[string][]string{"contact": {"email"}}, PersonKinds: []string{"contact"},
		From: func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} }, // who is logged in
	})
}

// changeEmail is a sale: its row and its event commit together, or neither does.
func changeEmail(ctx context.Context, pool *pgxpool.Pool, trail *audit.Trail, person, email string) error {
	if err := trail.Prepare(ctx, "", person); err != nil { // before BEGIN; the id of a new person is drawn by then
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var before string
		if err := tx.QueryRow(ctx, `SELECT email FROM contacts WHERE id = $1 FOR UPDATE`, person).Scan(&before); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE contacts SET email = $1 WHERE id = $2`, email, person); err != nil {
			return err
		}
		_, err := trail.Record(ctx, pgxTx{tx}, audit.Event{
			Action: "contact.update", Object: audit.PersonRef("contact", person),
			Changes: audit.Diff(person, map[string]any{"email": before}, map[string]any{"email": email}),
		})
		return err
	})
}

// On pgx's own pool and transactions: Prepare before BEGIN, Record within.
func ExampleTrail_Record_pgx() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	trail, err := openOnPool(ctx, pool, os.Getenv("AUDIT_KEY"), "crm.secret", "log")
	if err != nil {
		log.Fatal(err)
	}
	if err := changeEmail(ctx, pool, trail, "p-1", "ann@b.example"); err != nil {
		log.Fatal(err)
	}
}
