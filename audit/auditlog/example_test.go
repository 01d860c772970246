package auditlog_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
)

const sample = "testdata/v1/"

func verifierKey() string {
	key, err := os.ReadFile(sample + "log.vkey")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(key))
}

// An auditor needs the folder, the verifier key, and a checkpoint that was kept
// where nobody who can write the folder can write.
func ExampleVerifyLog() {
	// sample and verifierKey stand in example_test.go.
	ctx, folder := context.Background(), os.DirFS(sample+"log")
	kept, err := os.ReadFile(sample + "kept/checkpoint")
	if err != nil {
		panic(err)
	}
	report, err := auditlog.VerifyLog(ctx, folder, auditlog.Trust{Key: verifierKey(), Kept: kept})
	fmt.Println(report.Verdict, report.Verified, report.KeptSize, err)
	report, err = auditlog.VerifyLog(ctx, folder, auditlog.Trust{Key: verifierKey()})
	fmt.Println(report.Verdict, report.Verified, err)
	// Output:
	// ok 8 5 <nil>
	// unanchored 8 <nil>
}

// One entry and its proof are enough; the folder need not be there.
func ExampleVerify() {
	// sample and verifierKey stand in example_test.go.
	proof, err := os.ReadFile(sample + "first.tlog-proof")
	if err != nil {
		panic(err)
	}
	for entry, err := range auditlog.Entries(context.Background(), os.DirFS(sample+"log")) {
		if err != nil {
			panic(err)
		}
		leaf, err := auditlog.Verify(auditlog.Trust{Key: verifierKey()}, entry.Leaf, proof)
		fmt.Println(leaf.Actor, leaf.Action, err)
		_, err = auditlog.Verify(auditlog.Trust{Key: verifierKey()}, []byte(strings.Replace(string(entry.Leaf), leaf.Actor, "u-9", 1)), proof)
		fmt.Println(err != nil)
		break
	}
	// Output:
	// u-1 contact.update <nil>
	// true
}

// What an entry says, without any proof that it stands in the log.
func ExampleParseLeaf() {
	// sample stands in example_test.go.
	kinds := map[string]int{}
	for entry, err := range auditlog.Entries(context.Background(), os.DirFS(sample+"log")) {
		if err != nil {
			panic(err)
		}
		leaf, err := auditlog.ParseLeaf(entry.Leaf)
		if err != nil {
			panic(err)
		}
		kinds[leaf.Kind]++
	}
	fmt.Println(kinds)
	// Output: map[beat:2 erase:1 event:5]
}
