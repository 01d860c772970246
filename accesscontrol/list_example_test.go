package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"log"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A whole list page: what the person searches for and sorts by, what they may
// see, counted, hidden and masked by the database, and where the next page
// begins.
func ExampleActor_Page_list() {
	// exampleStaff stands in fields_example_test.go, employee in visibility_test.go.
	ctx, policy, db, done := exampleStaff()
	defer done()
	search, by, after := "%", "name", "" // of ?q=, ?sort= and ?after=

	session, err := policy.For(employee("desk", "dan"))
	if err != nil {
		log.Fatal(err)
	}
	if err := session.CheckUse(ctx, "employee", "name"); err != nil { // what is searched; Page asks of what is sorted by
		log.Fatal(err)
	}
	list, err := session.Columns(ctx, "employee")
	if err != nil {
		log.Fatal(err)
	}
	page, err := session.Page(ctx, "employee", []accesscontrol.Order{{Field: by}}, after)
	if err != nil {
		log.Fatal(err)
	}
	columns, shown := list.SQLite("s") // arguments stand in the order of the text; Postgres counts instead
	where, allowed := list.Where().SQLite("s")
	behind, order, begin := page.SQLite("s")
	asked := slices.Concat([]any{search}, allowed)
	var total int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM staff AS s WHERE s.name LIKE ? AND "+where, asked...).Scan(&total); err != nil {
		log.Fatal(err)
	}
	rows, err := db.QueryContext(ctx, "SELECT s.id, "+columns+" FROM staff AS s WHERE s.name LIKE ? AND "+where+" AND "+behind+" ORDER BY "+order+" LIMIT 1",
		slices.Concat(shown, asked, begin)...)
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Close()
	last := accesscontrol.Resource{Type: "employee"}
	for rows.Next() {
		var owner, name, email, phone, salary sql.NullString // the columns of the binding, in its order
		if err := rows.Scan(&last.ID, &owner, &name, &email, &phone, &salary); err != nil {
			log.Fatal(err)
		}
		last.Attrs = map[string]any{"name": name} // what the list is sorted by
		fmt.Println(name.String, email.String, phone.String, "of", total)
	}
	next, err := page.Cursor(last)
	fmt.Println(next != "", err, rows.Err())
	// Output:
	// Ann a***@example.com ***5678 of 2
	// true <nil> <nil>
}
