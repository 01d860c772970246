package crmguard_test

import (
	"go/ast"
	"strings"
	"testing"
)

// durableRoom is the one place that renames, links and flushes.
const durableRoom = "internal/durable"

// settling are the functions of package os by which a file comes to be, gets
// its name or reaches the disk. Whoever calls them decides what a crash leaves
// behind.
var settling = map[string]bool{"Rename": true, "Link": true, "CreateTemp": true, "Create": true, "WriteFile": true, "OpenFile": true}

// settlingMethods are those of os.File and os.Root, known by their name and
// the number of their arguments. Nothing else has such methods.
var settlingMethods = map[string]int{"Sync": 0, "Rename": 2, "Link": 2, "OpenFile": 3}

// settledElsewhere are the calls that stand outside, and why.
var settledElsewhere = map[string]string{
	"internal/filelock/lock_unix.go: OpenFile": "a lock file holds nothing",
	"backup/folder.go: OpenFile":               "reads a source, and nothing but the very file that it has listed",
	"privacy/bundle/spool.go: CreateTemp":      "a temporary file that no crash leaves readable: sealed under a key that goes with the process",
}

// What survives a crash is decided in one room: a second writer of files would
// have a second idea of it. Tests and examples are free, and so are the
// servers and processes of tests. The staging copies of backup/sqlitesource are
// SQLite's own writing, and are thrown away.
func TestFilesAreSettledInOneRoom(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "examples/") || within(s.dir(), []string{durableRoom, "internal/testdb", "internal/killtest"}) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, ok := settles(call)
			if !ok {
				return true
			}
			place := s.path + ": " + name
			used[place] = true
			if _, ok := settledElsewhere[place]; !ok {
				t.Errorf("%s: %s: files are written through %s", s.at(call.Pos()), name, durableRoom)
			}
			return true
		})
	}
	for place, why := range settledElsewhere {
		if !used[place] {
			t.Errorf("the list permits %s (%s) although nothing needs it", place, why)
		}
	}
}

// settles names the call of package os that this is.
func settles(call *ast.CallExpr) (string, bool) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	name := fun.Sel.Name
	if of, ok := fun.X.(*ast.Ident); ok && of.Name == "os" {
		return name, settling[name]
	}
	arguments, ok := settlingMethods[name]
	return name, ok && len(call.Args) == arguments
}
