package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/encryption"
)

// These tests let programs that are not ours judge what the packages write.

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(text)
}

func newTestBench(t *testing.T) *bench {
	t.Helper()
	p, err := newBench(true)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	return p
}

// newTrailBench has what a trail stands on beside: a vault and a database.
func newTrailBench(t *testing.T) (*bench, *encryption.Vault, *sql.DB) {
	t.Helper()
	p := newTestBench(t)
	vault, err := newVault(t.Context(), p)
	require.NoError(t, err)
	db, err := p.database(t.Context(), "trail")
	require.NoError(t, err)
	return p, vault, db
}

// record makes a trail with n events about one person, not yet published.
func record(t *testing.T, n int) (dir, verifier string, trail *audit.Trail) {
	t.Helper()
	ctx := t.Context()
	_, vault, db := newTrailBench(t)
	log, err := openLog(ctx, vault, db, t.TempDir())
	require.NoError(t, err)
	trail = log.trail
	require.NoError(t, log.prepare(ctx))
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	for i := range n {
		_, err := trail.Record(ctx, tx, audit.Event{
			Tenant: tenant, Actor: "u7", Action: "deal.update", Object: audit.Ref("deal", fmt.Sprint("deal-", i)), Persons: []string{person},
			Changes: []audit.Change{{Path: "stage", Who: person, Old: "lead", New: "won"}},
		})
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	return log.dir, log.key, trail
}

// fsckVerdict is what tessera's own command fsck does with a folder: it reads every
// entry, builds the tree anew, and compares all tiles and the checkpoint.
func fsckVerdict(t *testing.T, dir, verifierKey string) error {
	t.Helper()
	return fsckOf(t, client.FileFetcher{Root: dir}, verifierKey, leafHashes)
}

// leafHashes are those of the entries of a bundle, as tessera's command has them.
func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func fsckOf(t *testing.T, files fsck.Fetcher, verifierKey string, leaves func(bundle []byte) ([][]byte, error)) (err error) {
	t.Helper()
	verifier, err := note.NewVerifier(verifierKey)
	require.NoError(t, err)
	defer func() { // on some damaged bundles fsck panics
		if p := recover(); p != nil {
			err = fmt.Errorf("fsck: %v", p)
		}
	}()
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	// Eight workers: with fewer than there are faulty tiles fsck waits for
	// ever, because a worker that found a fault takes no more work.
	return fsck.New(verifier.Name(), verifier, files, leaves, fsck.Opts{N: 8}).Check(t.Context())
}

// sizes of published logs: a handful of entries, and enough for full tiles
// and a second level.
var sizes = []int{2, 600}

// published has a log of exactly size entries: events and the first beat.
func published(t *testing.T, size int) (dir, verifier string) {
	t.Helper()
	dir, verifier, trail := record(t, size-1)
	result, err := trail.RunOnce(t.Context())
	require.NoError(t, err)
	require.Empty(t, result.Refused)
	require.EqualValues(t, size, result.Published)
	return dir, verifier
}

func TestTesseraAcceptsOurLog(t *testing.T) {
	for _, size := range sizes {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			dir, verifier := published(t, size)
			require.Contains(t, read(t, dir, "checkpoint"), "\n"+strconv.Itoa(size)+"\n")
			require.NoError(t, fsckVerdict(t, dir, verifier))
		})
	}
}

func TestTesseraAcceptsALogThatGrew(t *testing.T) {
	dir, verifier, trail := record(t, 255)
	_, err := trail.RunOnce(t.Context())
	require.NoError(t, err)
	require.NoError(t, fsckVerdict(t, dir, verifier))
	for range 3 {
		_, err := trail.Note(t.Context(), audit.Event{Tenant: tenant, Actor: "u7", Action: "report.read"})
		require.NoError(t, err)
		_, err = trail.RunOnce(t.Context())
		require.NoError(t, err)
		require.NoError(t, fsckVerdict(t, dir, verifier))
	}
}

func TestTesseraRefusesATamperedLog(t *testing.T) {
	for _, size := range sizes {
		dir, verifier := published(t, size)
		files, err := regular(dir)
		require.NoError(t, err)
		require.Contains(t, files, "checkpoint")
		if size > 256 {
			require.Contains(t, files, "tile/0/000")
			require.Contains(t, files, "tile/entries/000")
		}
		for _, name := range files {
			if name == ".lock" {
				continue // of whoever writes the log, and no part of it
			}
			file := filepath.Join(dir, filepath.FromSlash(name))
			sound := []byte(read(t, file))
			changed := bytes.Clone(sound)
			changed[len(changed)/2] ^= 1
			require.NoError(t, os.WriteFile(file, changed, 0o644))
			require.Error(t, fsckVerdict(t, dir, verifier), "size %d: a byte of %s changed", size, name)
			require.NoError(t, os.Remove(file))
			require.Error(t, fsckVerdict(t, dir, verifier), "size %d: %s removed", size, name)
			require.NoError(t, os.WriteFile(file, sound, 0o644))
		}
		require.NoError(t, fsckVerdict(t, dir, verifier), "put back, it is sound again")
		_, other, err := audit.GenerateKey(logName, 0)
		require.NoError(t, err)
		require.Error(t, fsckVerdict(t, dir, other), "the key of someone else")
	}
}

// Whoever serves or mirrors the folder runs under another account.
func TestThePublishedFolderIsReadableByAll(t *testing.T) {
	dir, _ := published(t, 2)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o444)
		switch {
		case d.IsDir():
			want = 0o555
		case d.Name() == ".lock": // of those who write: a reader could hold it
			require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), name)
			return nil
		}
		require.Equal(t, want, info.Mode().Perm()&want, name)
		return nil
	})
	require.NoError(t, err)
}

func TestOpenfieldImportsNothingOfOurs(t *testing.T) {
	names, err := filepath.Glob("foreign/openfield/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			first, _, _ := strings.Cut(imported, "/")
			require.True(t, !strings.Contains(first, ".") || strings.HasPrefix(imported, "github.com/tink-crypto/tink-go/v2/"), "%s imports %s", name, imported)
		}
	}
}

// openfield gives a description of a sealed field to the foreign program.
func openfield(t *testing.T, program string, field map[string]any) (string, error) {
	t.Helper()
	input, err := json.Marshal(field)
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), program)
	command.Stdin = bytes.NewReader(input)
	out, err := command.Output()
	return string(out), err
}

func buildOpenfield(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "openfield")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+path.Join("foreign", "openfield"))
	command.Env = append(os.Environ(), "GOWORK=off")
	text, err := command.CombinedOutput()
	require.NoError(t, err, string(text))
	return program
}

func TestPlainTinkOpensASealedField(t *testing.T) {
	const value = "zoë.müller@crm.example"
	ctx, p := t.Context(), newTestBench(t)
	vault, store, key, err := openVault(ctx, p)
	require.NoError(t, err)
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email"}, {Name: "phone", Level: encryption.LevelRow}, {Name: "notes", Text: true},
	}})
	require.NoError(t, err)
	shared, err := vault.Table(encryption.Table{Name: "settings", Shared: true, Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "token"}}})
	require.NoError(t, err)
	writer, err := table.Writer(ctx, tenant, person)
	require.NoError(t, err)
	row, err := writer.Row("r1")
	require.NoError(t, err)
	own, err := shared.TenantWriter(ctx, tenant)
	require.NoError(t, err)

	clear, err := key.clear()
	require.NoError(t, err)
	rows, err := store.Tenant(ctx, tenant)
	require.NoError(t, err)
	keysets := map[string][]byte{}
	for _, keyset := range rows.Keysets {
		keysets[keyset.Purpose] = keyset.Wrapped
	}
	require.NotEmpty(t, keysets["branch"])
	require.NotEmpty(t, keysets["wrap"])
	owners, err := store.Owners(ctx, tenant, []string{person, "t:"})
	require.NoError(t, err)
	wrapped := map[string][]byte{}
	for _, k := range owners.Keys {
		require.Len(t, k.Wrapped, 65)
		wrapped[k.Owner] = k.Wrapped
	}

	text, err := writer.Text("notes", value).Value()
	require.NoError(t, err)
	base := func(table, column, owner string, level int, more map[string]any) map[string]any {
		field := map[string]any{"kek": clear, "branch": keysets["branch"], "keyset": keysets["wrap"], "person_key": wrapped[owner], "level": level, "tenant": tenant, "table": table, "column": column, "owner": owner}
		maps.Copy(field, more)
		return field
	}
	program := buildOpenfield(t)
	for name, field := range map[string]map[string]any{
		"level 2, binary": base("contacts", "email", person, 2, map[string]any{"sealed": writer.Text("email", value).Bytes()}),
		"level 2, text":   base("contacts", "notes", person, 2, map[string]any{"text": text}),
		"level 3":         base("contacts", "phone", person, 3, map[string]any{"sealed": row.Text("phone", value).Bytes(), "row": "r1"}),
		"level 1":         base("settings", "token", "t:", 1, map[string]any{"sealed": own.Text("token", value).Bytes()}),
	} {
		got, err := openfield(t, program, field)
		require.NoError(t, err, name)
		require.Equal(t, value, got, name)
		for part, wrong := range map[string]any{"tenant": "other", "table": "deals", "column": "street", "owner": "p2", "level": 3} {
			if field[part] == wrong {
				wrong = 2
			}
			before := field[part]
			field[part] = wrong
			_, err := openfield(t, program, field)
			require.Error(t, err, "%s: opens with another %s", name, part)
			field[part] = before
		}
	}
}
