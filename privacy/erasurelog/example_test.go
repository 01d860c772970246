package erasurelog_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// opened is a ledger in a fresh folder, which the func returned removes.
func opened() (*erasurelog.Log, func()) {
	dir := must(os.MkdirTemp("", "erasurelog"))
	ledger := must(erasurelog.Open(erasurelog.Config{
		Medium:  erasurelog.Folder(filepath.Join(dir, "ledger")),
		Digests: must(erasurelog.KeysFrom(append(bytes.Repeat([]byte{7}, 31), 8))),
	}))
	check(ledger.Create(context.Background()))
	return ledger, func() { _ = os.RemoveAll(dir) }
}

func ExampleLog_Append() {
	// opened stands in example_test.go, must and check in firstlines_example_test.go
	ctx := context.Background()
	ledger, end := opened()
	defer end()
	hold := must(ledger.NewEntry(ctx, erasurelog.Hold, "01a2054d-dfbe-790e-a264-7c9f86b09ab7", "main", "p1"))
	_, by, err := ledger.Digest(ctx, erasurelog.KindPrincipal, "main", []byte("user/1"))
	check(err)
	hold.By, hold.Because, hold.Until = by, "litigation", time.Now().Add(24*time.Hour)
	state := must(ledger.Append(ctx, nil, func(*erasurelog.State) (*erasurelog.Entry, error) { return &hold, nil }))
	person := state.Person(must(ledger.Keys(ctx, erasurelog.KindPerson, "main", []byte("p1")))...)
	_, today := person.Held(time.Now())
	_, tomorrow := person.Held(time.Now().Add(48 * time.Hour))
	fmt.Println(today, tomorrow)
	// Output: true false
}

func ExampleLog_Read() {
	// opened stands in example_test.go, must and check in firstlines_example_test.go
	ctx := context.Background()
	ledger, end := opened()
	defer end()
	mark := must(ledger.Read(ctx)).Head() // what the database keeps
	state := must(ledger.Read(ctx, erasurelog.Kept{Name: "the application database", Head: mark}))
	for e := range state.After(mark.N) {
		fmt.Println("not carried out here:", e.Plan)
	}
	fmt.Println(state.Head().N, len(state.Anchors()))
	// Output: 0 0
}

func ExampleLog_Verify() {
	// opened stands in example_test.go, must and check in firstlines_example_test.go
	ledger, end := opened()
	defer end()
	state, err := ledger.Verify(context.Background())
	fmt.Println(state.Head().N, err)
	// Output: 0 <nil>
}

func ExampleLog_Head() {
	// opened stands in example_test.go, must and check in firstlines_example_test.go
	ledger, end := opened()
	defer end()
	fmt.Println(string(must(ledger.Head(context.Background()))))
	// Output: {"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","n":0}
}

func ExampleLog_Note() {
	// opened stands in example_test.go, must and check in firstlines_example_test.go
	ctx := context.Background()
	ledger, end := opened()
	defer end()
	check(ledger.Note(ctx, "a-plan", []byte("what finds the rest")))
	for note, err := range ledger.Notes(ctx) {
		check(err)
		fmt.Println(note.Name, string(note.Data))
		check(ledger.Forget(ctx, note.Name)) // when nothing is left
	}
	// Output: a-plan what finds the rest
}

func ExampleLog_Tag() {
	// opened stands in example_test.go, must and check in firstlines_example_test.go
	ctx := context.Background()
	ledger, end := opened()
	defer end()
	tag := must(ledger.Tag(ctx, "crmguard/privacy/plan/v1", []byte("a plan")))
	fmt.Println(must(ledger.VerifyTag(ctx, "crmguard/privacy/plan/v1", []byte("a plan"), tag)))
	fmt.Println(must(ledger.VerifyTag(ctx, "crmguard/privacy/plan/v1", []byte("another"), tag)))
	// Output:
	// true
	// false
}
