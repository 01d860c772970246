package accesscontrol_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
)

func ExamplePolicy_WhoCan() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	people := crmPeople()
	candidates := accesscontrol.Each(people["sales"], people["manager"], people["support"], people["outsider"])
	record := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann", "country": "DE"}}
	for access, err := range policy.WhoCan(ctx, candidates, "contact.read.pii", record) {
		fmt.Println(access.Principal.ID, access.Policies, access.Err, err)
	}
	// Output:
	// ann [sales-own] <nil> <nil>
	// mia [manager-region] <nil> <nil>
}

func ExamplePolicy_WhatCan() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	list, err := policy.WhatCan(ctx, crmPeople()["manager"])
	if err != nil {
		log.Fatal(err)
	}
	for _, ability := range list {
		fmt.Println(ability.Action, ability.Permits[0].Condition)
	}
	fmt.Println(list[0])
	// Output:
	// contact.delete resource has country && principal.countries.contains(resource.country)
	// contact.read resource has country && principal.countries.contains(resource.country)
	// contact.read.pii resource has country && principal.countries.contains(resource.country)
	// contact.update resource has country && principal.countries.contains(resource.country)
	// contact.delete on contact when resource has country && principal.countries.contains(resource.country) [manager-region] unless resource has blocked && resource.blocked [blocked]
}

// The requests of a day, asked again of the policy that is to come.
func ExampleDiff() {
	// exampleCRM, crmConfig and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	config := crmConfig()
	config.Texts["crm.cedar"] += `@id("no-export") forbid (principal, action == Action::"contact.read", resource) when { resource.owner == User::"bob" };`
	next, err := accesscontrol.Load(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	recorded := accesscontrol.Each(
		accesscontrol.Request{Principal: crmPeople()["sales"], Action: "contact.read", Resource: accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}},
		accesscontrol.Request{Principal: crmPeople()["support"], Action: "contact.read", Resource: accesscontrol.Resource{Type: "contact", ID: "c2", Tenant: "main", Attrs: map[string]any{"owner": "bob"}}},
	)
	for change, err := range accesscontrol.Diff(ctx, policy, next, recorded) {
		fmt.Println(change.Index, change.Before.Allowed, change.After.Allowed, change.Policies(), err)
	}
	// Output: 1 true false [no-export support-read] <nil>
}

// All contacts that support will not see any longer.
func ExampleDiffRows() {
	// exampleCRM, crmConfig, crmPeople and selected stand in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	config := crmConfig()
	config.Texts["crm.cedar"] = strings.Replace(config.Texts["crm.cedar"], `action == Action::"contact.read", resource is Contact);`,
		`action == Action::"contact.read", resource is Contact) unless { resource.owner == User::"bob" };`, 1)
	next, err := accesscontrol.Load(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	gained, lost, err := accesscontrol.DiffRows(ctx, policy, next, crmPeople()["support"], "contact.read", "contact")
	if err != nil {
		log.Fatal(err)
	}
	ids, err := selected(ctx, db, "contacts", lost)
	fmt.Println(ids, err)
	ids, err = selected(ctx, db, "contacts", gained)
	fmt.Println(ids, err)
	// Output:
	// [c2 c3] <nil>
	// [] <nil>
}

// The old if stays where it is and decides; the policy answers beside it.
func ExampleShadow() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	shadow := &accesscontrol.Shadow{
		Policy: policy,
		Old: func(_ context.Context, who accesscontrol.Principal, action string, record accesscontrol.Resource) bool {
			return record.Attrs["owner"] == who.ID // what decides today
		},
		Report: func(_ context.Context, d accesscontrol.Difference) {
			fmt.Println(d.Action, d.Old, d.New.Allowed, d.New.Reason, d.New.Policies, d.Err)
		},
		Wait: time.Second, // so that this Example prints in order
	}
	record := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}
	if shadow.Check(ctx, crmPeople()["sales"], "contact.read", record) {
		fmt.Println("ann reads it")
	}
	if shadow.Check(ctx, crmPeople()["sales"], "contact.delete", record) {
		fmt.Println("ann deletes it")
	}
	fmt.Println(shadow.Count())
	// Output:
	// ann reads it
	// contact.delete true false not_permitted [] <nil>
	// ann deletes it
	// {2 2 1 0}
}

func ExampleActor_Outside() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	ann, err := policy.For(crmPeople()["sales"])
	if err != nil {
		log.Fatal(err)
	}
	own := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}
	foreign := own
	foreign.Tenant = "other"
	for _, record := range []accesscontrol.Resource{own, foreign} {
		answer, err := ann.Outside(ctx, "contact.delete", record)
		switch answer {
		case accesscontrol.Permitted:
			fmt.Println("200")
		case accesscontrol.Refused:
			fmt.Println("403", err)
		case accesscontrol.Missing:
			fmt.Println("404", err)
		default:
			fmt.Println("503", err)
		}
	}
	// Output:
	// 403 accesscontrol: denied: contact.delete on contact: not_permitted
	// 404 accesscontrol: denied: contact.delete on contact: not_permitted
}
