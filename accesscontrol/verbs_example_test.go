package accesscontrol_test

import "fmt"

func ExampleWhere_Nothing() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	for _, role := range []string{"sales", "outsider"} {
		where, err := policy.Filter(ctx, crmPeople()[role], "contact.read", "contact")
		condition, args := where.Marks("c")
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
