package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

func ExampleOpen() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT); INSERT INTO contacts VALUES ('c1', 'p1')`)
	if err := errors.Join(err, privacy.Install(ctx, db)); err != nil {
		fmt.Println(err)
		return
	}
	store, err := sqlstore.Open(ctx, sqlstore.Config{DB: db, Map: &datamap.Map{Tenant: "main", Tables: []datamap.Table{
		{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	scope := datastore.Scope{Tenant: "main", Person: "p1"}
	rows, err := store.Find(ctx, scope)
	fmt.Println(len(rows), err)
	fmt.Println(store.Erase(ctx, scope, nil))
	left, err := store.Remaining(ctx, scope, rows)
	fmt.Println(left, err)
	// Output:
	// 1 <nil>
	// <nil>
	// 0 <nil>
}
