package accesscontrol_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/crmguard/crmguard/accesscontrol"
)

// exampleStaff has the policy of visibility_test.go and a table for it.
func exampleStaff() (context.Context, *accesscontrol.Policy, *sql.DB, func()) {
	ctx := context.Background()
	policy, err := accesscontrol.Load(ctx, staffConfig())
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "accesscontrol")
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+dir+"/staff.db")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, `
CREATE TABLE staff (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, name TEXT, email TEXT, phone TEXT, salary INTEGER) STRICT;
INSERT INTO staff VALUES
 ('e1', 'main',  'ann', 'Ann', 'ann@example.com', '+43 1 2345678', 5200),
 ('e2', 'main',  'bob', 'Bob', NULL,              '110',           4800),
 ('e3', 'other', 'ann', 'Cal', 'cal@example.com', NULL,            9000);`); err != nil {
		log.Fatal(err)
	}
	return ctx, policy, db, func() { _ = db.Close(); _ = os.RemoveAll(dir) }
}

// A list in which the database itself masks and hides: contact.mask suffices for
// the masks of e-mail and phone, and nothing that the policies permit to the
// help desk reads a salary.
func ExamplePolicy_Columns() {
	// exampleStaff stands in fields_example_test.go, employee in visibility_test.go.
	ctx, policy, db, done := exampleStaff()
	defer done()
	list, err := policy.Columns(ctx, employee("desk", "dan"), "employee")
	if err != nil {
		log.Fatal(err)
	}
	columns, args := list.SQLite("s")
	condition, more := list.Where().SQLite("s")
	rows, err := db.QueryContext(ctx, "SELECT "+columns+" FROM staff AS s WHERE "+condition+" ORDER BY s.name", append(args, more...)...)
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var owner, name, email, phone, salary sql.NullString
		if err := rows.Scan(&owner, &name, &email, &phone, &salary); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %q %q %q\n", name.String, email.String, phone.String, salary.String)
	}
	fmt.Println(rows.Err())
	// Output:
	// Ann "a***@example.com" "***5678" ""
	// Bob "" "***" ""
	// <nil>
}

// What may be sorted by is asked before: it tells of a field, row by row. A list
// by salary holds the people whose salary may be read.
func ExamplePolicy_CheckUse() {
	// exampleStaff stands in fields_example_test.go, employee in visibility_test.go.
	ctx, policy, db, done := exampleStaff()
	defer done()
	bob, order := employee("", "bob"), "salary" // of ?sort=salary
	fmt.Println(policy.CheckUse(ctx, bob, "employee", order))
	where, err := policy.FilterUsing(ctx, bob, "employee.read", "employee", order)
	if err != nil {
		log.Fatal(err) // the name is no field, too
	}
	condition, args := where.SQLite("s")
	var names string
	err = db.QueryRowContext(ctx, "SELECT group_concat(name ORDER BY "+order+") FROM staff AS s WHERE "+condition, args...).Scan(&names)
	fmt.Println(names, err)
	// Output:
	// accesscontrol: denied: employee.read on employee: hidden_field: salary
	// Bob <nil>
}

func ExamplePolicy_Redact() {
	// exampleStaff stands in fields_example_test.go, employee in visibility_test.go.
	ctx, policy, _, done := exampleStaff()
	defer done()
	record := accesscontrol.Resource{Type: "employee", ID: "e1", Tenant: "main", Attrs: map[string]any{"owner": "ann", "name": "Ann", "email": "ann@example.com", "salary": 5200}}
	shown, fields, err := policy.Redact(ctx, employee("desk", "dan"), record)
	fmt.Println(shown.Attrs, err)
	fmt.Println(fields["name"], fields["email"], fields["salary"])
	// Output:
	// map[email:a***@example.com name:Ann owner:ann] <nil>
	// writable masked hidden
}
