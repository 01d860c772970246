package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// block is the n-th block of a language in a section of the README.
func block(t *testing.T, section, language string, n int) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n## "+section+"\n")
	require.True(t, found, "the README has no section %s", section)
	rest, _, _ = strings.Cut(rest, "\n## ")
	blocks := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(rest, -1)
	require.Greater(t, len(blocks), n, "the section %s has no such block", section)
	return blocks[n][1]
}

// The funcs of the README are those that the tests run, word for word.
func TestTheReadmesFuncsAreTheOnesThatRun(t *testing.T) {
	source, err := os.ReadFile("tools.go")
	require.NoError(t, err)
	for _, section := range []string{"goose", "golang-migrate"} {
		require.Contains(t, string(source), block(t, section, "go", 0))
	}
}

// The command of the README writes the files, and keeps what is there.
func TestTheFilesAreWrittenAsTheReadmeSays(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	first := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(string(text))
	folder := filepath.Join(t.TempDir(), "a folder")
	run(t, testdb.Database{Name: testdb.PostgresC}, folder, "go", first[1])
	want, err := os.ReadDir(merged(t, testdb.PostgresC))
	require.NoError(t, err)
	got, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Name(), got[i].Name())
	}
	require.NoError(t, writeMigrations("postgres", folder), "a second time changes nothing")
	mine := filepath.Join(folder, got[0].Name())
	require.NoError(t, os.WriteFile(mine, []byte("mine"), 0o600))
	require.ErrorContains(t, writeMigrations("postgres", folder), "is there with another text")
	kept, err := os.ReadFile(mine)
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))
	require.ErrorContains(t, writeMigrations("oracle", folder), "there are sqlite, postgres and mysql")
	require.Error(t, writeGrants(new(strings.Builder), "postgres", `x"; DROP`))
	require.Error(t, writeGrants(new(strings.Builder), "sqlite", "crm_app"))
}

// One folder takes the files of all packages: numbers are unique over all of
// them, and each file is whole by itself.
func TestTheFilesFitIntoOneFolder(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		folder, digits := merged(t, name), map[string]string{}
		files, err := os.ReadDir(folder)
		require.NoError(t, err)
		total := 0
		for _, p := range packages() {
			paths, err := os.ReadDir(folder)
			require.NoError(t, err)
			of := 0
			for _, path := range paths {
				if strings.Contains(path.Name(), "_crmguard_"+p.name+"_") {
					of++
				}
			}
			require.NotZero(t, of, p.name)
			total += of
		}
		require.Len(t, files, total, "each file belongs to a package of the table")
		for _, file := range files {
			match := regexp.MustCompile(`^([0-9]{14})_crmguard_([a-z]+)_([0-9]+)\.up\.sql$`).FindStringSubmatch(file.Name())
			require.NotNil(t, match, file.Name())
			require.Empty(t, digits[match[1]], "%s has the number of another file", file.Name())
			digits[match[1]] = file.Name()
			text, err := os.ReadFile(filepath.Join(folder, file.Name()))
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(text), "-- +goose Up\n"), file.Name())
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			require.Contains(t, lines[len(lines)-1], "INSERT INTO crmguard_schema (package, version, installed) VALUES ('"+match[2]+"', "+match[3]+", ", "the last statement says that the rest is there")
			if name == testdb.MariaDB { // DDL commits by itself, so what a file leaves half done must be one thing
				require.Equal(t, 1, len(regexp.MustCompile(`(?m)^(CREATE|ALTER|DROP) `).FindAllString(string(text), -1)), file.Name())
			}
		}
	}
}

// Keys stand in a database of their own, so each package's files and rights can
// be had alone, and together they are all.
func TestPackagesAreWrittenByName(t *testing.T) {
	all := t.TempDir()
	require.NoError(t, writeMigrations("postgres", all))
	want, err := os.ReadDir(all)
	require.NoError(t, err)
	var whole, parts strings.Builder
	require.NoError(t, writeGrants(&whole, "postgres", "web"))
	var files []string
	for _, p := range packages() {
		folder := t.TempDir()
		require.NoError(t, writeMigrations("postgres", folder, p.name))
		got, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.NotEmpty(t, got)
		for _, file := range got {
			files = append(files, file.Name())
		}
		require.NoError(t, writeGrants(&parts, "postgres", "web", p.name))
	}
	require.Len(t, files, len(want))
	require.Equal(t, whole.String(), parts.String())
	require.ErrorContains(t, writeMigrations("postgres", t.TempDir(), "backups"), "no package \"backups\" stores rows")
	require.Error(t, writeGrants(&parts, "postgres", "web", "backups"))
}
