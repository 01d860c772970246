package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// The test binary is the program where it is told to be.
const asProgram = "AUDITVERIFY_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program runs the program in a process of its own.
func program(t *testing.T, env []string, args ...string) (code int, out, complaint string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	// Built to be covered, it says so to whoever gives it no folder for that.
	cmd.Env = append([]string{asProgram + "=1", "GOCOVERDIR=" + t.TempDir()}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// pair are the keys of a log.
type pair struct{ secret, public string }

func newPair(t *testing.T) pair {
	t.Helper()
	secret, public, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	return pair{secret, public}
}

// aLog is a log as a trail has published it.
type aLog struct {
	t      *testing.T
	trail  *audit.Trail
	folder string
	key    string // file
}

func newLog(t *testing.T, keys pair) *aLog {
	t.Helper()
	dir := t.TempDir()
	l := &aLog{t: t, folder: filepath.Join(dir, "log"), key: filepath.Join(dir, "log.vkey")}
	require.NoError(t, os.WriteFile(l.key, []byte(keys.public+"\n"), 0o600))
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, sqltrail.Install(t.Context(), db))
	store, err := sqltrail.Open(t.Context(), db)
	require.NoError(t, err)
	sink, err := tilesink.Open(l.folder)
	require.NoError(t, err)
	require.NoError(t, audit.NewKeysFile(filepath.Join(dir, "secret")))
	own, err := audit.KeysFile(filepath.Join(dir, "secret"))
	require.NoError(t, err)
	l.trail, err = audit.Open(t.Context(), store, audit.Config{Name: "crm.example/audit", Tenant: "main", Key: keys.secret, Sink: sink, Keys: own})
	require.NoError(t, err)
	return l
}

// grow publishes n more events and returns a file with the checkpoint.
func (l *aLog) grow(n int) (kept string) {
	l.t.Helper()
	for range n {
		_, err := l.trail.Note(l.t.Context(), audit.Event{Tenant: "main", Actor: "u-1", Action: "page.read"})
		require.NoError(l.t, err)
	}
	_, err := l.trail.RunOnce(l.t.Context())
	require.NoError(l.t, err)
	data, err := l.trail.Checkpoint(l.t.Context())
	require.NoError(l.t, err)
	kept = filepath.Join(l.t.TempDir(), "kept")
	require.NoError(l.t, os.WriteFile(kept, data, 0o600))
	return kept
}

// change rewrites the one file of the log whose name begins so.
func (l *aLog) change(begin string, how func(data []byte) []byte) {
	l.t.Helper()
	changed := 0
	require.NoError(l.t, filepath.WalkDir(l.folder, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(l.folder, name)
		if err != nil || d.IsDir() || !strings.HasPrefix(filepath.ToSlash(rel), begin) {
			return err
		}
		changed++
		data, err := os.ReadFile(name)
		require.NoError(l.t, err)
		if data = how(data); data == nil {
			return os.Remove(name)
		}
		require.NoError(l.t, os.Chmod(name, 0o600))
		return os.WriteFile(name, data, 0o600)
	}))
	require.Equal(l.t, 1, changed, begin)
}

func TestTheExitCodeIsTheVerdict(t *testing.T) {
	keys := newPair(t)
	for name, c := range map[string]struct {
		code  int
		say   string
		after func(t *testing.T, l *aLog, kept string) (args []string)
	}{
		"good": {0, "OK:", func(_ *testing.T, l *aLog, kept string) []string { return []string{l.folder, l.key, kept} }},
		"good, and grown since": {0, "OK:", func(_ *testing.T, l *aLog, kept string) []string {
			l.grow(300)
			return []string{l.folder, l.key, kept}
		}},
		"the key in the arguments": {0, "OK:", func(_ *testing.T, l *aLog, kept string) []string { return []string{l.folder, keys.public, kept} }},
		"unanchored":               {10, "UNANCHORED:", func(_ *testing.T, l *aLog, _ string) []string { return []string{l.folder, l.key} }},
		"torn checkpoint": {11, "a write was torn", func(_ *testing.T, l *aLog, kept string) []string {
			l.change("checkpoint", func(data []byte) []byte { return data[:len(data)/2] })
			return []string{l.folder, l.key, kept}
		}},
		"entries gone": {11, "the entries cannot be read", func(_ *testing.T, l *aLog, kept string) []string {
			l.change("tile/entries/", func([]byte) []byte { return nil })
			return []string{l.folder, l.key, kept}
		}},
		"an empty folder": {11, "there is no checkpoint", func(t *testing.T, l *aLog, kept string) []string { return []string{t.TempDir(), l.key, kept} }},
		"cut off at the end": {12, "ROLLED BACK:", func(t *testing.T, _ *aLog, _ string) []string {
			long, short := newLog(t, keys), newLog(t, keys)
			short.grow(2)
			return []string{short.folder, short.key, long.grow(5)}
		}},
		"another history": {13, "FORKED:", func(t *testing.T, l *aLog, _ string) []string {
			return []string{l.folder, l.key, newLog(t, keys).grow(2)}
		}},
		"an entry changed": {14, "the entry does not match its hash", func(_ *testing.T, l *aLog, kept string) []string {
			l.change("tile/entries/", func(data []byte) []byte {
				return bytes.Replace(data, []byte("u-1"), []byte("u-2"), 1)
			})
			return []string{l.folder, l.key, kept}
		}},
		"a hash changed": {14, "TAMPERED:", func(_ *testing.T, l *aLog, kept string) []string {
			l.change("tile/0/", func(data []byte) []byte {
				data[0] ^= 1
				return data
			})
			return []string{l.folder, l.key, kept}
		}},
		"of another key": {14, "not signed by this key", func(t *testing.T, l *aLog, _ string) []string { return []string{l.folder, newPair(t).public} }},
		"a former key": {0, "OK:", func(t *testing.T, l *aLog, kept string) []string {
			return []string{"-former", l.key, l.folder, newPair(t).public, kept}
		}},
		"no folder": {64, "nothing was checked", func(t *testing.T, l *aLog, _ string) []string {
			return []string{filepath.Join(t.TempDir(), "x"), l.key}
		}},
		"no key":        {64, "nothing was checked", func(_ *testing.T, l *aLog, _ string) []string { return []string{l.folder, "x"} }},
		"a private key": {64, "it is the signing key", func(_ *testing.T, l *aLog, _ string) []string { return []string{l.folder, keys.secret} }},
		"no kept file": {64, "nothing was checked", func(_ *testing.T, l *aLog, kept string) []string {
			return []string{l.folder, l.key, kept + "x"}
		}},
		"a torn kept file": {64, "Kept", func(t *testing.T, l *aLog, _ string) []string {
			torn := filepath.Join(t.TempDir(), "torn")
			require.NoError(t, os.WriteFile(torn, []byte("crm.example/audit/0\n"), 0o600))
			return []string{l.folder, l.key, torn}
		}},
		"an empty kept name": {64, "nothing was checked", func(_ *testing.T, l *aLog, _ string) []string { return []string{l.folder, l.key, ""} }},
		"a folder as kept":   {64, "no file of a key or a checkpoint", func(_ *testing.T, l *aLog, _ string) []string { return []string{l.folder, l.key, l.folder} }},
		"nothing":            {64, "usage:", func(*testing.T, *aLog, string) []string { return nil }},
		"too much":           {64, "usage:", func(*testing.T, *aLog, string) []string { return []string{"a", "b", "c", "d"} }},
		"an unknown flag":    {64, "usage:", func(*testing.T, *aLog, string) []string { return []string{"-x", "a", "b"} }},
		"an unknown tongue":  {64, "usage:", func(*testing.T, *aLog, string) []string { return []string{"-lang", "tlh", "a", "b"} }},
		"help":               {0, "exit codes:", func(*testing.T, *aLog, string) []string { return []string{"-h"} }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t, keys)
			args := c.after(t, l, l.grow(2))
			code, out, complaint := program(t, nil, args...)
			require.Equal(t, c.code, code, "%s%s", out, complaint)
			require.Contains(t, out+complaint, c.say)
			require.Equal(t, code == exitUsage, complaint != "", "what was not checked is a complaint, a verdict is not: %s", complaint)
			require.NotContains(t, out+complaint, "PRIVATE+KEY")
		})
	}
}

// A link in the folder leads to nothing outside of it.
func TestNothingOutsideOfTheFolderIsRead(t *testing.T) {
	l := newLog(t, newPair(t))
	kept := l.grow(2)
	moved := filepath.Join(t.TempDir(), "tile")
	require.NoError(t, os.Rename(filepath.Join(l.folder, "tile"), moved))
	if err := os.Symlink(moved, filepath.Join(l.folder, "tile")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	code, out, _ := program(t, nil, l.folder, l.key, kept)
	require.Equal(t, 11, code, out)
}

func TestItSpeaksTwoLanguages(t *testing.T) {
	l := newLog(t, newPair(t))
	kept := l.grow(2)
	for _, c := range []struct {
		env, args []string
		say       string
	}{
		{nil, nil, "verdict: OK"},
		{[]string{"LANG=C"}, nil, "verdict: OK"},
		{[]string{"LANG=zh_CN.UTF-8"}, nil, "结论: 正常"},
		{[]string{"LANG=zh_CN.UTF-8", "LC_ALL=en_US.UTF-8"}, nil, "verdict: OK"},
		{[]string{"LANG=en_US.UTF-8", "LC_MESSAGES=zh_TW"}, nil, "结论: 正常"},
		{[]string{"LANG=zh_CN.UTF-8"}, []string{"-lang", "en"}, "verdict: OK"},
		{nil, []string{"-lang", "zh"}, "结论: 正常"},
	} {
		code, out, _ := program(t, c.env, append(c.args, l.folder, l.key, kept)...)
		require.Zero(t, code)
		require.True(t, strings.HasPrefix(out, c.say), "%v %v: %s", c.env, c.args, out)
		require.Contains(t, out, "crm.example/audit/0")
	}
	l.change("tile/entries/", func(data []byte) []byte { return bytes.Replace(data, []byte("u-1"), []byte("u-2"), 1) })
	code, out, _ := program(t, []string{"LANG=zh_CN.UTF-8"}, l.folder, l.key, kept)
	require.Equal(t, 14, code)
	require.Contains(t, out, "被篡改")
	require.Contains(t, out, "条目与其哈希不符")
}

// Whoever adds a fault to the verification adds the words for it here.
func TestEveryFaultHasWordsInEachLanguage(t *testing.T) {
	files, err := filepath.Glob("../../auditlog/*.go")
	require.NoError(t, err)
	found := map[string]bool{}
	literal := func(n ast.Expr) {
		if sum, ok := n.(*ast.BinaryExpr); ok {
			n = sum.X
		}
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 { // fmt.Sprintf
			n = call.Args[0]
		}
		if lit, ok := n.(*ast.BasicLit); ok {
			text, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			found[text] = true
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "fault" && len(n.Args) == 4 {
					literal(n.Args[3])
				}
			case *ast.KeyValueExpr:
				if id, ok := n.Key.(*ast.Ident); ok && id.Name == "What" {
					literal(n.Value)
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					id, name := left, ""
					switch x := id.(type) {
					case *ast.Ident:
						name = x.Name
					case *ast.SelectorExpr:
						name = x.Sel.Name
					}
					if strings.EqualFold(name, "what") && i < len(n.Rhs) {
						literal(n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	require.Greater(t, len(found), 15, "this test does not see the faults")
	zh := chinese()
	for what := range found {
		require.NotEqual(t, what, zh.translate(what), "no words for a fault")
	}
	en := english()
	for _, v := range []auditlog.Verdict{auditlog.OK, auditlog.Unanchored, auditlog.Incomplete, auditlog.RolledBack, auditlog.Forked, auditlog.Tampered} {
		require.NotEmpty(t, en.verdicts[v])
		require.NotEmpty(t, zh.verdicts[v])
	}
}

// The report of a check that was interrupted says so, and never ok.
func TestAnInterruptedCheckIsIncomplete(t *testing.T) {
	l := newLog(t, newPair(t))
	kept := l.grow(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, complaint bytes.Buffer
	require.Equal(t, 11, run(ctx, []string{l.folder, l.key, kept}, func(string) string { return "" }, &out, &complaint), out.String())
	require.Contains(t, out.String(), "INCOMPLETE")
	require.Empty(t, complaint.String())
}

// What comes out of a log cannot write to a terminal.
func TestNothingOfTheLogReachesTheTerminalAsItIs(t *testing.T) {
	w := english()
	var out bytes.Buffer
	w.print(&out, &auditlog.Report{
		Origin: "log\x1b[2J", Keys: []auditlog.KeyChange{{Key: "k\x07", Revoked: true}}, More: 3,
		Faults: []auditlog.Fault{{Verdict: auditlog.Tampered, Index: 7, File: "x\u202e", What: "y\r"}},
	})
	for _, c := range []string{"\x1b", "\x07", "\u202e", "\r"} {
		require.NotContains(t, out.String(), c)
	}
	require.Contains(t, out.String(), "and 3 more")
	require.Contains(t, out.String(), "counts no more")
}
