package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tourOf runs the program as the command line does, into a folder that stays.
func tourOf(t *testing.T, args ...string) (dir, output string, code int) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "crm")
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"-dir", dir}, args...), &out, &errs)
	return dir, out.String() + errs.String(), code
}

func readReport(t *testing.T, dir string) (r report) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &r))
	return r
}

func figures(t *testing.T, r report, step string) map[string]int {
	t.Helper()
	for _, s := range r.Steps {
		if s.Name == step {
			return s.Figures
		}
	}
	t.Fatalf("no step %s in the report", step)
	return nil
}

func TestTheTourWithTheBundledPeople(t *testing.T) {
	dir, output, code := tourOf(t)
	require.Zero(t, code, output)
	r := readReport(t, dir)
	require.True(t, r.OK)
	require.Len(t, r.Steps, 12)
	require.Equal(t, map[string]int{"read": 200, "accepted": 199, "rejected": 1}, figures(t, r, "import"))
	require.Zero(t, figures(t, r, "filter")["differences"])
	require.Equal(t, 5*199, figures(t, r, "filter")["comparisons"])
	require.Equal(t, figures(t, r, "tamper")["attacks"], figures(t, r, "tamper")["caught"])
	require.Positive(t, figures(t, r, "rotation")["reads"])
	require.Zero(t, figures(t, r, "rotation")["failures"])
	require.Positive(t, figures(t, r, "search")["found_before"])
	require.Zero(t, figures(t, r, "search")["found_after"])
	for line := range strings.Lines(output) {
		require.LessOrEqual(t, columns(strings.TrimSuffix(line, "\n")), width, "a line is wider than the screen: %s", line)
	}
	require.NotContains(t, output, "\x1b", "colour although nobody looks")

	for _, name := range []string{
		"live/crm.db", "live/attachments", "keys/keys.db", "keys/kek", "keys/repository-password", "keys/export-identity.txt", "keycopy",
		"audit/log/checkpoint", "audit/log/tile", "audit/log.vkey", "kept/checkpoint", "backup/a/config", "backup/b/config", "export", "ledger",
		"rejected.csv", "certificate.dsse.json", "certificate.pub.pem", "report.json", "README.txt",
	} {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		require.NoError(t, err, "what README.txt promises")
	}
	for _, name := range []string{"kek", "repository-password", "export-identity.txt"} {
		info, err := os.Stat(filepath.Join(dir, "keys", name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	checkRejects(t, dir)
	checkForeign(t, dir)
}

// checkRejects wants line, field, code and outcome, and no value of the file.
func checkRejects(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "rejected.csv"))
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"line", "field", "code", "outcome"}, rows[0])
	for _, want := range []string{
		"\n42,email,email,field_dropped\n", "\n94,email,duplicate,row_rejected\n",
		"\n126,birthday,date,field_dropped\n", "\n136,country,country,field_dropped\n",
	} {
		require.True(t, strings.Contains(string(data), want), "no line %q", want)
	}
	require.NotContains(t, string(data), "not-an-address")
	require.NotContains(t, string(data), "31/31")
}

func TestTheTourWith3000ContactsOfOthers_SharedData(t *testing.T) {
	folder := os.Getenv("CRMGUARD_TESTDATA")
	if folder == "" {
		t.Skip("CRMGUARD_TESTDATA is not set: the data by others is not here")
	}
	data, err := os.ReadFile(filepath.Join(folder, "contacts", "fake_name_generator_3000.csv"))
	require.NoError(t, err)
	lines := bytes.SplitAfter(data, []byte("\n")) // no cell of this file holds a line end
	path := filepath.Join(t.TempDir(), "contacts.csv")
	require.NoError(t, os.WriteFile(path, bytes.Join(lines[:contactsOfOthers+1], nil), 0o600))

	dir, output, code := tourOf(t, "-contacts", path)
	require.Zero(t, code, output)
	r := readReport(t, dir)
	require.Equal(t, map[string]int{"read": contactsOfOthers, "accepted": contactsOfOthers, "rejected": 0}, figures(t, r, "import"))
	require.Contains(t, output, "card_number in "+thousands(contactsOfOthers)+" rows: card, field_dropped")
	require.Zero(t, figures(t, r, "search")["found_after"])

	line := figures(t, r, "erasure")["erased_line"]
	number, _, _ := bytes.Cut(lines[line-1], []byte(","))
	require.Equal(t, line-1, atoi(t, string(number)), "the erased line names the row of that number")
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(s), &n))
	return n
}

// A check that stays green when its protection is gone checks nothing.
func TestEveryMutantIsCaught(t *testing.T) {
	caughtBy := map[string]string{
		breakRow: "tamper", breakOldRow: "tamper", breakLogDrop: "tamper", breakLogReorder: "tamper", breakLogCut: "tamper",
		breakErase: "erasure", breakReplay: "disaster", breakLedger: "disaster", breakKeyVersion: "erasure", breakKeyCopy: "erasure",
	}
	require.Len(t, caughtBy, len(mutants()))
	for _, mutant := range mutants() {
		t.Run(mutant, func(t *testing.T) {
			dir, output, code := tourOf(t, "-break", mutant)
			require.Equal(t, 1, code, "the mutant went through: %s", output)
			require.Contains(t, output, "FAILED at step "+caughtBy[mutant]+"\n")
			r := readReport(t, dir)
			require.False(t, r.OK)
			require.Equal(t, caughtBy[mutant], r.Steps[len(r.Steps)-1].Name)
			require.False(t, r.Steps[len(r.Steps)-1].OK)
		})
	}
}

func TestTheCommandLine(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown mutant": {"-break", "everything"}, "an argument": {"people.csv"}, "unknown flag": {"-quick"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			require.Equal(t, 2, run(t.Context(), args, &out, &errs))
			require.NotEmpty(t, errs.String())
		})
	}
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "mine.txt"), []byte("mine"), 0o600))
	var out, errs bytes.Buffer
	require.Equal(t, 2, run(t.Context(), []string{"-dir", full}, &out, &errs))
	require.Contains(t, errs.String(), "not empty")
	left, err := os.ReadDir(full)
	require.NoError(t, err)
	require.Len(t, left, 1, "a refused folder is left alone")
}

func digestOf(t *testing.T, path string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return sha256.Sum256(data)
}
