package backup_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
	"github.com/crmguard/crmguard/backup/localstore"
)

// workspace makes a folder with two files for an example.
func workspace() (dir string, done func()) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
	}
	attachments := filepath.Join(dir, "attachments")
	if err := os.Mkdir(attachments, 0o700); err != nil {
		fmt.Println(err)
	}
	for name, text := range map[string]string{"offer.txt": "12 chairs", "terms.txt": "30 days"} {
		if err := os.WriteFile(filepath.Join(attachments, name), []byte(text), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// One snapshot into two stores, and back.
func Example() {
	// workspace stands in example_test.go.
	ctx := context.Background()
	dir, done := workspace()
	defer done()

	a, _ := localstore.Open(filepath.Join(dir, "backup", "a"))
	b, _ := localstore.Open(filepath.Join(dir, "backup", "b"))
	key := backup.NewMachineKey() // key.Password() opens both stores with the restic program
	repos, err := backup.Create(ctx, backup.Config{Key: key}, a, b)
	if err != nil {
		fmt.Println(err)
		return
	}
	job := backup.Job{Name: "nightly", Repositories: repos, Sources: []backup.Source{backup.Folder("attachments", filepath.Join(dir, "attachments"))}}
	result, err := job.RunOnce(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("files:", result.Files, "stores:", len(result.Stores))

	target := filepath.Join(dir, "staging")
	report, err := repos[1].Restore(ctx, backup.LatestOf("nightly"), target, backup.Step{Name: "replay erasures", Meets: backup.NeedLedger, Run: func(context.Context, string) error {
		return nil // desk.Replay
	}})
	fmt.Println("verified:", report.Verified, "open:", backup.Opened(target) == nil, err)
	// Output:
	// files: 2 stores: 2
	// verified: true open: true <nil>
}

// exampleRepository is a repository in memory with one snapshot.
func exampleRepository(ctx context.Context) (*backup.Repository, *backup.Result) {
	dir, done := workspace()
	defer done()
	repos, err := backup.Create(ctx, backup.Config{Key: backup.NewMachineKey()}, backuptest.NewMemory("memory"))
	if err != nil {
		fmt.Println(err)
	}
	job := backup.Job{
		Name: "nightly", Repositories: repos, Sources: []backup.Source{backup.Folder("attachments", filepath.Join(dir, "attachments"))},
		KeyVersions: func(context.Context) (map[string]map[uint32]int64, error) {
			return map[string]map[uint32]int64{"main": {16909060: 12}}, nil
		},
	}
	result, err := job.RunOnce(ctx)
	if err != nil {
		fmt.Println(err)
	}
	return repos[0], result
}

func ExampleJob_RunOnce() {
	// exampleRepository stands in example_test.go.
	_, result := exampleRepository(context.Background())
	fmt.Println(result.Files, "files,", result.Bytes, "bytes,", "failed store:", result.Stores[0].Err)
	// Output: 2 files, 16 bytes, failed store: <nil>
}

func ExampleCreate() {
	ctx := context.Background()
	store := backuptest.NewMemory("memory")
	key := backup.NewMachineKey()
	_, err := backup.Create(ctx, backup.Config{Key: key}, store)
	fmt.Println(err)
	_, err = backup.Open(ctx, store, backup.Config{Key: backup.NewMachineKey()})
	fmt.Println(err)
	// Output:
	// <nil>
	// backup: no key file opens with this key (memory: keys)
}

func ExampleOpen() {
	store := backuptest.NewMemory("memory")
	_, err := backup.Open(context.Background(), store, backup.Config{Key: backup.NewMachineKey()})
	fmt.Println(err)
	// Output: backup: there is no repository here (memory: config)
}

func ExampleRepository_Mirror() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, _ := exampleRepository(ctx)
	mirror, err := repo.Mirror(ctx, backuptest.NewMemory("second"))
	fmt.Println(mirror.ID() == repo.ID(), err)
	// Output: true <nil>
}

func ExampleRepository_Check() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, result := exampleRepository(ctx)
	report, err := repo.Check(ctx, backup.ReadAll, result.Snapshot)
	fmt.Println("problems:", len(report.Problems), "not read:", len(report.NotRead), err)
	// Output: problems: 0 not read: 0 <nil>
}

func ExampleRepository_Restore() {
	// workspace and exampleRepository stand in example_test.go.
	ctx := context.Background()
	dir, done := workspace()
	defer done()
	repo, _ := exampleRepository(ctx)
	target := filepath.Join(dir, "staging")
	_, err := repo.Restore(ctx, backup.Latest, target, backup.Step{Name: "replay erasures", Run: func(context.Context, string) error {
		return fs.ErrNotExist // the ledger is not there
	}})
	fmt.Println(err)
	fmt.Println("open:", backup.Opened(target) == nil)
	// Output:
	// backup: a restore step failed: "replay erasures": file does not exist; the target stays closed: remove the cause, then restore again into an empty folder
	// open: false
}

func ExampleRepository_Snapshots() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, _ := exampleRepository(ctx)
	snapshots, err := repo.Snapshots(ctx)
	fmt.Println(snapshots[0].Job, snapshots[0].Paths, err)
	// Output: nightly [/.crmguard /attachments] <nil>
}

func ExampleRepository_Manifest() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, _ := exampleRepository(ctx)
	m, err := repo.Manifest(ctx, backup.Latest)
	fmt.Println(m.Sources[0].Name, m.Sources[0].Rows, m.KeyVersions, err)
	// Output: attachments 2 [{main 16909060 12}] <nil>
}

// A manifest says what a restore of its snapshot has to do.
func ExampleManifest_Needs() {
	m := backup.Manifest{LedgerHead: `{"n":7}`, AuditCheckpoint: "crm.example/audit/0"}
	fmt.Println(m.Needs())
	// Output: [trail ledger]
}

// Where several jobs write to one repository, nobody guesses whose newest
// snapshot is meant.
func ExampleLatestOf() {
	// workspace and exampleRepository stand in example_test.go.
	ctx := context.Background()
	dir, done := workspace()
	defer done()
	repo, _ := exampleRepository(ctx)
	hourly := backup.Job{Name: "hourly", Repositories: []*backup.Repository{repo}, Sources: []backup.Source{backup.Folder("attachments", filepath.Join(dir, "attachments"))}}
	if _, err := hourly.RunOnce(ctx); err != nil {
		fmt.Println(err)
	}
	_, err := repo.Manifest(ctx, backup.Latest)
	fmt.Println(err)
	m, err := repo.Manifest(ctx, backup.LatestOf("nightly"))
	fmt.Println(m.Job, err)
	// Output:
	// backup: no such snapshot: memory holds snapshots of job "hourly", job "nightly": ask for backup.LatestOf one of them
	// nightly <nil>
}

func ExampleRepository_Files() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, _ := exampleRepository(ctx)
	fsys, _ := repo.Files(ctx, backup.Latest)
	text, err := fs.ReadFile(fsys, "attachments/offer.txt")
	fmt.Println(string(text), err)
	// Output: 12 chairs <nil>
}

func ExampleRepository_Blobs() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, _ := exampleRepository(ctx)
	content, listings := 0, 0
	for blob, err := range repo.Blobs(ctx) {
		switch {
		case err != nil:
			fmt.Println(err)
		case blob.Tree:
			listings++
		default:
			content++
		}
	}
	fmt.Println(content, listings)
	// Output: 3 3
}

func ExampleRepository_KeyHolders() {
	// exampleRepository stands in example_test.go.
	ctx := context.Background()
	repo, result := exampleRepository(ctx)
	count, where, err := repo.KeyHolders(ctx, "main", 16909060)
	fmt.Println(count, where[:len("snapshots")+9] == "snapshots "+result.Snapshot[:8], err)
	// Output: 1 true <nil>
}

func ExampleParseMachineKey() {
	_, err := backup.ParseMachineKey("hunter2")
	fmt.Println(err)
	// Output: backup: bad configuration: a machine key is 64 lower-case hex digits
}

func ExampleNewPassphrase() {
	key := backup.NewPassphrase("correct horse battery staple")
	fmt.Println(key)
	// Output: backup.Passphrase(hidden)
}

func ExampleFolder() {
	source := backup.Folder("attachments", "/srv/crm/attachments")
	fmt.Println(source.Name(), source.Kind())
	// Output: attachments folder
}

func ExampleOpened() {
	fmt.Println(backup.Opened(os.TempDir()) == nil)
	// Output: false
}

func ExampleDecodeManifest() {
	_, err := backup.DecodeManifest(context.Background(), []byte(`{"v": 1}`), backup.NewMachineKey().Manifests())
	fmt.Println(err)
	// Output: backup: manifest is missing, forged or does not fit the data: not canonical JSON
}
