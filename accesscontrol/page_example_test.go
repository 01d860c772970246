package accesscontrol_test

import (
	"fmt"
	"log"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A list in parts of two, each of which begins behind the row that was shown
// last.
func ExampleActor_Page() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	session, err := policy.For(crmPeople()["support"])
	if err != nil {
		log.Fatal(err)
	}
	filter, err := session.Filter(ctx, "contact.read", "contact")
	if err != nil {
		log.Fatal(err)
	}
	where, args := filter.SQLite("c")
	for after := ""; ; {
		page, err := session.Page(ctx, "contact", []accesscontrol.Order{{Field: "country", Desc: true}}, after)
		if err != nil {
			log.Fatal(err)
		}
		behind, order, more := page.SQLite("c")
		rows, err := db.QueryContext(ctx, "SELECT c.id, c.country FROM contacts AS c WHERE "+where+" AND "+behind+" ORDER BY "+order+" LIMIT 2", append(args, more...)...)
		if err != nil {
			log.Fatal(err)
		}
		n, last := 0, accesscontrol.Resource{Type: "contact"}
		for ; rows.Next(); n++ {
			var country *string
			if err := rows.Scan(&last.ID, &country); err != nil {
				log.Fatal(err)
			}
			last.Attrs = map[string]any{"country": country}
			fmt.Print(last.ID, " ", *country, " ")
		}
		fmt.Println(rows.Err())
		if n < 2 {
			return
		}
		if after, err = page.Cursor(last); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// c2 FR c1 DE <nil>
	// c5 DE c3 CN <nil>
	// <nil>
}

// The condition of a list stands in a DELETE as well, and in an UPDATE and a
// count: nobody has to check first and hope that nothing changes meanwhile.
func ExampleActor_Filter_delete() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	session, err := policy.For(crmPeople()["manager"])
	if err != nil {
		log.Fatal(err)
	}
	filter, err := session.Filter(ctx, "contact.delete", "contact")
	if err != nil {
		log.Fatal(err)
	}
	where, args := filter.SQLite("")
	result, err := db.ExecContext(ctx, "DELETE FROM contacts WHERE language = 'de' AND "+where, args...)
	if err != nil {
		log.Fatal(err)
	}
	n, err := result.RowsAffected()
	fmt.Println(n, "of three: the other one is another tenant's", err)
	// Output: 2 of three: the other one is another tenant's <nil>
}
