package audit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit"
)

// Contact is a row as an application holds it; its fields go by the names of
// their columns.
type Contact struct {
	ID         int64  `db:"id"`
	Email      string `db:"email"`
	Notes      *string
	SpouseID   string
	SpouseName string
	UpdatedAt  int64
}

func ExampleNewDiffer() {
	contacts, err := audit.NewDiffer[Contact](audit.Shape{
		Kind: "contact",
		Show: []string{"email"},
		Hide: []string{"notes", "spouse_name"},
		Skip: []string{"id", "spouse_id", "updated_at"},
		Who:  map[string]string{"spouse_name": "spouse_id"}, // a value about somebody else
	})
	fmt.Println(contacts.Shape().Show, err)

	// Somebody adds a field, and has not decided.
	type contactOfTomorrow struct {
		Contact
		Religion string
	}
	_, err = audit.NewDiffer[contactOfTomorrow](contacts.Shape())
	fmt.Println(errors.Is(err, audit.ErrInvalid), err)
	// Output:
	// [email] <nil>
	// true audit: invalid: differ of audit_test.contactOfTomorrow: in none of Show, Hide and Skip: Religion (religion)
}

func ExampleDiffer_Of() {
	contacts := must(audit.NewDiffer[Contact](audit.Shape{
		Kind: "contact", Show: []string{"email"}, Hide: []string{"notes", "spouse_name"}, Skip: []string{"id", "spouse_id", "updated_at"},
		Who: map[string]string{"spouse_name": "spouse_id"},
	}))
	before := Contact{ID: 17, Email: "ann@a.example", SpouseID: "p-18", SpouseName: "Eve"}
	after := before // a copy; what its pointers lead to is shared
	after.Email, after.SpouseName, after.UpdatedAt = "ann@b.example", "Eva", 1_790_000_000
	for _, c := range contacts.Of("p-17", &before, &after) { // Event.Changes
		fmt.Println(c.Path, c.Who, c.Old, c.New)
	}
	fmt.Println(len(contacts.Of("p-17", &before, nil))) // the row was deleted: each field is Absent
	// Output:
	// email p-17 ann@a.example ann@b.example
	// spouse_name p-18 Eve Eva
	// 3
}

func ExampleTrail_Check() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	contacts := must(audit.NewDiffer[Contact](audit.Shape{
		Kind: "contact", Show: []string{"email", "notes"}, Hide: []string{"spouse_name"}, Skip: []string{"id", "spouse_id", "updated_at"},
	}))
	fmt.Println(s.trail.Check(contacts)) // at the start, behind Open

	s.config.Fields = map[string][]string{"contact": contacts.Shape().Show} // or take the list from there
	check(s.reopen(ctx))
	fmt.Println(s.trail.Check(contacts))
	// Output:
	// audit: invalid: Check: kind "contact": Config.Fields lacks what is in Show: notes
	// <nil>
}
