package erasurelog_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// must and check stand for what an application does about an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// An erasure begins, and the ledger knows.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "erasurelog"))
	defer os.RemoveAll(dir)
	outside, secret, plan := filepath.Join(dir, "ledger"), filepath.Join(dir, "crm.secret"), "01a2054d-dfbe-790e-a264-7c9f86b09ab7"
	check(erasurelog.NewKeysFile(secret)) // once
	ledger := must(erasurelog.In(outside, must(erasurelog.KeysFile(secret))))
	check(ledger.Create(ctx)) // once in the life of the system
	intent := must(ledger.NewEntry(ctx, erasurelog.Intent, plan, "main", "p1"))
	state := must(ledger.Append(ctx, nil, func(s *erasurelog.State) (*erasurelog.Entry, error) {
		if s.Status(plan) != erasurelog.Unknown {
			return nil, nil // another process was faster
		}
		return &intent, nil
	}))
	keys := must(ledger.Keys(ctx, erasurelog.KindPerson, "main", []byte("p1")))
	fmt.Println(state.Status(plan), len(state.Person(keys...).Erasures))
	// Output: begun 1
}
