package capture_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/audit/capture"
)

func Example() {
	up, _, err := capture.Pack(
		capture.Table{Name: "public.contacts", Kind: "contact", TenantColumn: "tenant", Skip: []string{"updated_at"}},
		capture.Table{Name: "public.deals", Kind: "deal", Tenant: "main"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = fmt.Println(strings.Split(up, "\n")[0], len(up) > 0) // apply it as a migration
	_, _, bad := capture.Pack(capture.Table{Name: "public.notes", Kind: "note"})
	fmt.Println(bad, err)
	// Output:
	// -- +goose Up true
	// capture: table public.notes: Tenant and TenantColumn are both empty or both set: give the tenant of all rows, or the column that says it <nil>
}

func ExampleFiling_Leaf() {
	row := capture.Row{
		N: 1, ID: "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01", Tx: "731/1767225599000000", At: time.UnixMicro(1767225600000000),
		Table: "public.deals", Kind: "deal", Tenant: "main", Key: "17",
		Op: capture.OpUpdate, Cols: []string{"stage"}, Who: "crm_app", Claimed: "user/7",
	}
	leaf, err := capture.Filing{
		Log: "crm.example/audit", Tenant: "main",
		Opaque:    func(id string) bool { return !strings.ContainsAny(id, "@ ") },
		Surrogate: func(_, _, _ string) (string, bool) { return "", false }, // no kind of persons
	}.Leaf(row)
	fmt.Println(leaf.Action, leaf.Object, leaf.Cols, leaf.Actor, leaf.Claimed, err)
	fmt.Println(row.ToldBy(capture.Event{Tx: row.Tx, Tenant: "main", Table: "public.deals", Key: "17", Paths: map[string]bool{"stage": true}}))
	// Output:
	// capture.update {deal 17} [stage] db/crm_app user/7 <nil>
	// true
}
