package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// listShop is an application whose lists are exported.
type listShop struct {
	db    *sql.DB
	trail *audit.Trail
}

func openListShop(ctx context.Context, dir string) (s listShop, err error) {
	if s.db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"); err != nil {
		return s, err
	}
	if _, err = s.db.ExecContext(ctx, `CREATE TABLE exports (id TEXT PRIMARY KEY) STRICT`); err != nil {
		return s, err
	}
	if err = sqltrail.Install(ctx, s.db); err != nil {
		return s, err
	}
	store, err := sqltrail.Open(ctx, s.db)
	if err != nil {
		return s, err
	}
	folder, err := tilesink.Open(filepath.Join(dir, "log"))
	if err != nil {
		return s, err
	}
	secret := filepath.Join(dir, "crm.secret")
	if err = audit.NewKeysFile(secret); err != nil { // once
		return s, err
	}
	keys, err := audit.KeysFile(secret)
	if err != nil {
		return s, err
	}
	key, _, err := audit.GenerateKey("crm.example/audit", 0) // once
	if err != nil {
		return s, err
	}
	s.trail, err = audit.Open(ctx, store, audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: folder, Keys: keys, PersonKinds: []string{"contact"},
		From: func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} }, // who is logged in
	})
	return s, err
}

// export records who was exported. An event names 500 persons at most: of more each
// part is an event, and For of all names the first of them.
func (s listShop) export(ctx context.Context, persons []string) error {
	if err := s.trail.Prepare(ctx, "", persons...); err != nil { // the query for them ran before BEGIN
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	first, err := audit.NewID()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO exports (id) VALUES (?)`, first); err != nil { // the row that the event belongs to
		return err
	}
	e := audit.Event{ID: first, Action: "contact.export", Object: audit.Ref("export", first)}
	e.Changes = []audit.Change{{Path: "count", Old: audit.Absent{}, New: len(persons)}}
	for part := range slices.Chunk(persons, 500) {
		e.Persons = part
		if _, err := s.trail.Record(ctx, tx, e); err != nil {
			return err
		}
		e.ID, e.For, e.Changes = "", first, nil
	}
	return tx.Commit()
}

// An export of contacts that is itself recorded, and the trail's own export of who did
// it: CSV for a spreadsheet, a line for each change.
func ExampleTrail_Export() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	shop, err := openListShop(ctx, dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	persons := make([]string, 1200)
	for i := range persons {
		persons[i] = fmt.Sprint("p-", i)
	}
	if err := shop.export(ctx, persons); err != nil {
		fmt.Println(err)
		return
	}

	var sheet strings.Builder // a file, or a response
	out, err := shop.trail.Export(ctx, &sheet, audit.Filter{Person: "p-17"})
	fmt.Println(out.Entries, out.Rows, out.Pending, err)
	for line := range strings.Lines(sheet.String()) {
		column := strings.Split(line, ",")
		fmt.Println(column[4], column[6], column[7], column[8], column[9], column[17], column[22])
	}
	out, err = shop.trail.Export(ctx, &sheet, audit.Filter{Action: "contact.export"})
	fmt.Println(out.Entries, err)
	// Output:
	// 1 1 0 <nil>
	// kind actor action outcome object kind field new
	// event u-7 contact.export ok export count 1200
	// 3 <nil>
}
