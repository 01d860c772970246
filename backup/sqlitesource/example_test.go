package sqlitesource_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
	"github.com/crmguard/crmguard/backup/sqlitesource"
)

// The blind index is not in the snapshot; the rows are proved after restore.
func ExampleNew() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "example-")
	defer os.RemoveAll(dir)
	db, _ := sql.Open("sqlite", filepath.Join(dir, "crm.db"))
	defer db.Close()
	_, err := db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, email BLOB, email_idx INTEGER) STRICT;
INSERT INTO contacts VALUES ('p1', x'01', 748043624)`)
	if err != nil {
		fmt.Println(err)
	}
	source, err := sqlitesource.New(sqlitesource.Config{
		Name: "db", File: "crm.db", DB: db, Strip: map[string][]string{"contacts": {"email_idx"}}, Staging: dir,
	})
	if err != nil {
		fmt.Println(err)
	}
	key := backup.NewMachineKey()
	repos, _ := backup.Create(ctx, backup.Config{Key: key}, backuptest.NewMemory("memory"))
	job := backup.Job{Name: "nightly", Repositories: repos, Sources: []backup.Source{source}}
	if _, err := job.RunOnce(ctx); err != nil {
		fmt.Println(err)
	}
	rebuild := backup.Step{Name: "rebuild indexes", Meets: backup.NeedIndexes, Run: func(context.Context, string) error {
		return nil // table.RebuildIndexes
	}}
	report, err := repos[0].Restore(ctx, backup.LatestOf("nightly"), filepath.Join(dir, "staging"), sqlitesource.VerifyRows("sqlite", key.Manifests()), rebuild)
	fmt.Println(report.Steps[0].Name, report.Manifest.Sources[1].Rows, report.Manifest.Sources[1].Stripped, err)
	// Output: verify rows 1 [email_idx] <nil>
}
