package audit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit"
)

func ExampleNewDiffer() {
	type Contact struct { // fields go by the names of their columns
		ID         int64  `db:"id"`
		Email      string `db:"email"`
		Notes      *string
		SpouseID   string
		SpouseName string
	}
	contacts, err := audit.NewDiffer[Contact](audit.Shape{
		Kind: "contact",
		Show: []string{"email"},
		Hide: []string{"notes", "spouse_name"},
		Skip: []string{"id", "spouse_id"},
		Who:  map[string]string{"spouse_name": "spouse_id"}, // a value about somebody else
	})
	fmt.Println(contacts.Shape().Show, err)

	// Somebody adds a field, and has not decided.
	type ContactOfTomorrow struct {
		Contact
		Religion string
	}
	_, err = audit.NewDiffer[ContactOfTomorrow](contacts.Shape())
	fmt.Println(errors.Is(err, audit.ErrInvalid), err)
	// Output:
	// [email] <nil>
	// true audit: invalid: differ of audit_test.ContactOfTomorrow: in none of Show, Hide and Skip: Religion (religion)
}

func ExampleDiffer_Of() {
	type Contact struct {
		ID                      int64
		Email, SpouseID, Spouse string
		UpdatedAt               int64
	}
	contacts, err := audit.NewDiffer[Contact](audit.Shape{
		Kind: "contact", Show: []string{"email"}, Hide: []string{"spouse"}, Skip: []string{"id", "spouse_id", "updated_at"},
		Who: map[string]string{"spouse": "spouse_id"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	before := Contact{ID: 17, Email: "ann@a.example", SpouseID: "p-18", Spouse: "Eve"}
	after := before // a copy: what pointers, slices and maps lead to would be shared
	after.Email, after.Spouse, after.UpdatedAt = "ann@b.example", "Eva", 1_790_000_000
	for _, c := range contacts.Of("p-17", &before, &after) { // for Event.Changes
		fmt.Println(c.Path, c.Who, c.Old, c.New)
	}
	fmt.Println(len(contacts.Of("p-17", &before, nil))) // the row was deleted: each field is Absent
	// Output:
	// email p-17 ann@a.example ann@b.example
	// spouse p-18 Eve Eva
	// 2
}

func ExampleTrail_Check() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	type Contact struct{ Email, Notes, Stage string }
	contacts, err := audit.NewDiffer[Contact](audit.Shape{Kind: "contact", Show: []string{"email", "stage"}, Hide: []string{"notes"}})
	fmt.Println(err)
	fmt.Println(s.trail.Check(contacts)) // at the start, behind Open

	s.config.Fields = map[string][]string{"contact": contacts.Shape().Show} // or take the list from there
	fmt.Println(s.reopen(ctx))
	fmt.Println(s.trail.Check(contacts))
	// Output:
	// <nil>
	// audit: invalid: Check: kind "contact": Config.Fields lacks what is in Show: stage
	// <nil>
	// <nil>
}
