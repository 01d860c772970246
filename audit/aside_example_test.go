package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

func ExampleTrail_Merge() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.change(ctx, "p-2", "ann@work.example") // the same Ann, as somebody finds out later
	fmt.Println(s.trail.Merge(ctx, "main", "p-2", "p-1"))
	for entry, err := range s.trail.History(ctx, "main", audit.About("p-1"), audit.Page{}) {
		fmt.Println(entry.Leaf.Action, len(entry.Changes), err)
	}
	fmt.Println(s.trail.Merge(ctx, "main", "p-1", "p-2")) // p-1 is who stays
	// Output:
	// <nil>
	// audit.merge 0 <nil>
	// contact.create 1 <nil>
	// contact.create 1 <nil>
	// audit: invalid: merge: into was merged into from before, and from is who stays
}

func ExampleTrail_Left() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	left, err := s.trail.Left(ctx, "main", "p-1") // the head of the surrogate, and what is sealed
	fmt.Println(left, err)
	s.trail.Erase(ctx, "main", "p-1")
	left, err = s.trail.Left(ctx, "main", "p-1")
	fmt.Println(left, err)
	// Output:
	// 2 <nil>
	// 0 <nil>
}

func ExampleTrail_Readmit() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, _ := s.change(ctx, "p-1", "ann@b.example")
	// Somebody with rights on the table, and without the keys, changes who acted.
	const body = `UPDATE crmguard_audit_events SET body = CAST(replace(body, ?, ?) AS BLOB) WHERE idx IS NULL`
	s.db.ExecContext(ctx, body, []byte(`"actor":"u-1"`), []byte(`"actor":"u-2"`))
	result, _ := s.trail.RunOnce(ctx)
	fmt.Println(result.Sequenced, result.Refused[0].Event == id, result.Refused[0].What, result.Aside)

	// Nothing is lost of it: whoever knows what it was puts that right, and back.
	s.db.ExecContext(ctx, `UPDATE crmguard_audit_aside SET body = CAST(replace(body, ?, ?) AS BLOB)`, []byte(`"actor":"u-2"`), []byte(`"actor":"u-1"`))
	n, err := s.trail.Readmit(ctx)
	fmt.Println(n, err)
	result, _ = s.trail.RunOnce(ctx)
	fmt.Println(result.Sequenced, len(result.Refused))
	// Output:
	// 0 true no valid tag 1
	// 1 <nil>
	// 1 0
}

func ExampleTrail_Dismiss() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.db.ExecContext(ctx, `INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (randomblob(16), 1, x'', x'00')`)
	result, _ := s.trail.RunOnce(ctx)
	fmt.Println(result.Sequenced, result.Refused[0].What)
	aside := func() {
		findings, _ := s.trail.Status(ctx)
		for _, f := range findings {
			if f.Name == "audit.aside" {
				fmt.Println(f.Name, f.Level, f.Value)
			}
		}
	}
	aside() // until somebody has looked at it
	n, err := s.trail.Dismiss(ctx)
	fmt.Println(n, err)
	aside()
	// Output:
	// 0 malformed
	// audit.aside alarm 1
	// 1 <nil>
	// audit.aside ok 0
}

func ExampleTrail_CatchUpReport() {
	// openShop and shopPragmas stand in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.config.Mirror = &audittest.Sink{} // in earnest a place of its own, which is not published
	s.config.Interval = time.Minute     // a pass waits so long for it
	s.reopen(ctx)
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	backup := s.dir + "/backup.db"
	s.db.ExecContext(ctx, `VACUUM INTO ?`, backup)
	s.change(ctx, "p-2", "bob@b.example")
	s.trail.RunOnce(ctx)

	s.db.Close() // the database is lost; an older one comes back
	s.db, _ = sql.Open("sqlite", "file:"+backup+shopPragmas)
	s.reopen(ctx)
	came, err := s.trail.CatchUpReport(ctx)
	fmt.Printf("%+v %v\n", came, err)
	// Output: {Entries:1 Openings:1 Lost:0 People:1 Aside:0} <nil>
}
