package backup_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
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

// Two stores, one key, and back.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "backup"))
	defer os.RemoveAll(dir)
	attachments, staging := filepath.Join(dir, "attachments"), filepath.Join(dir, "staging")
	diskA, diskB := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	check(os.Mkdir(attachments, 0o700))
	check(os.WriteFile(filepath.Join(attachments, "offer.txt"), []byte("12 chairs"), 0o600))
	password := backup.NewMachineKey().Password() // once; keep it where the backups are not
	replay := func(context.Context, string) error { return nil }

	key := must(backup.ParseMachineKey(password)) // the restic program takes the same password
	a, b := must(localstore.Open(diskA)), must(localstore.Open(diskB))
	repos := must(backup.Create(ctx, backup.Config{Key: key}, a, b)) // once; Open at every other start
	job := backup.Job{Name: "nightly", Repositories: repos, Sources: []backup.Source{backup.Folder("attachments", attachments)}}
	result := must(job.RunOnce(ctx)) // keep result.Snapshot elsewhere
	problems := must(repos[1].Check(ctx, backup.ReadAll, result.Snapshot)).Problems
	report := must(repos[1].Restore(ctx, result.Snapshot, staging, backup.Step{Name: "replay erasures", Run: replay}))
	fmt.Println(len(problems), report.Verified, backup.Opened(staging) == nil)

	// Output: 0 true true
}
