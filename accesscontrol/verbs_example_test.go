package accesscontrol_test

import (
	"fmt"
	"log"
)

func ExampleWhere_Nothing() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	for _, role := range []string{"sales", "outsider"} {
		where, err := policy.Filter(ctx, crmPeople()[role], "contact.read", "contact")
		condition, args := where.SQLite("c")
		if where.Nothing() { // the query can be spared; asked all the same, it selects nothing
			fmt.Println(role, condition, args, err)
			continue
		}
		fmt.Println(role, len(args), "values", err)
	}
	// Output:
	// sales 3 values <nil>
	// outsider (1 = 0) [] <nil>
}

func ExampleWhere_MySQL() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	where, err := policy.Filter(ctx, crmPeople()["sales"], "deal.read", "deal")
	if err != nil {
		log.Fatal(err)
	}
	condition, args := where.MySQL("d")
	fmt.Println(condition[:57], len(args)) // tenants whose collation takes them for equal are told apart by their bytes
	// Output:
	// ((`d`.`tenant` = ? AND CAST(`d`.`tenant` AS BINARY) = ?)  6
}

func ExampleWhere_Gorm() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	where, err := policy.Filter(ctx, crmPeople()["outsider"], "deal.read", "deal")
	if err != nil {
		log.Fatal(err)
	}
	condition, args := where.Gorm("deals") // db.Where(condition, args...).Find(&deals)
	fmt.Println(condition, args)
	// Output:
	// (1 = 0) []
}
