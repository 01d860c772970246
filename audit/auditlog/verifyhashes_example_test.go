package auditlog_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Every few minutes by the hashes, once a night in full.
func ExampleVerifyHashes() {
	ctx := context.Background()
	key, err := os.ReadFile("testdata/v1/log.vkey")
	if err != nil {
		fmt.Println(err)
		return
	}
	kept, err := os.ReadFile("testdata/v1/kept/checkpoint") // as it was kept elsewhere
	if err != nil {
		fmt.Println(err)
		return
	}
	log, trust := os.DirFS("testdata/v1/log"), auditlog.Trust{Key: strings.TrimSpace(string(key)), Kept: kept}
	often, err := auditlog.VerifyHashes(ctx, log, trust)
	fmt.Println(often.Verdict, often.Verified == often.Size, often.Parsed == often.Verified, err)
	nightly, err := auditlog.VerifyLog(ctx, log, trust)
	fmt.Println(nightly.Verdict, nightly.Verified == nightly.Size, nightly.Parsed == nightly.Verified, err)
	// Output:
	// ok true false <nil>
	// ok true true <nil>
}
