package crmguard_test

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/types"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a package comment shows, and what the documentation shows of an
// Example, is true and can be followed.

// TestPackageCommentsBeginWithCodeThatRuns holds the first block of code of
// each package comment against the bodies of the package's Examples: it is
// part of one, line for line.
func TestPackageCommentsBeginWithCodeThatRuns(t *testing.T) {
	bodies := exampleBodies(t)
	all := sources(t)
	for _, room := range rooms {
		i := slices.IndexFunc(all, func(s source) bool { return s.path == room+"/doc.go" })
		require.GreaterOrEqual(t, i, 0, room)
		code := firstCode(all[i].file.Doc.Text())
		require.NotEmpty(t, code, "%s: the package comment has headings before any code, or no code at all", room)
		shown := false
		for body, dir := range bodies {
			shown = shown || dir == room && strings.Contains("\n"+body, "\n"+code)
		}
		require.True(t, shown, "%s: no Example of the package runs these lines of its comment:\n%s", room, code)
	}
}

// firstCode is the first block of code of a comment that comes before its
// first heading.
func firstCode(text string) string {
	for _, block := range new(comment.Parser).Parse(text).Content {
		switch block := block.(type) {
		case *comment.Heading:
			return ""
		case *comment.Code:
			return block.Text
		}
	}
	return ""
}

// TestExamplesSayWhereTheirHelpersStand: the documentation shows the body of
// an Example, and the file around it only where that holds no other Example or
// test. Whatever else of the package's test files a body uses, itself or
// through helpers in its own file, its first line says in which file it stands.
func TestExamplesSayWhereTheirHelpersStand(t *testing.T) {
	packages := map[string][]source{}
	for _, s := range sources(t) {
		if s.room() != "" && s.isTest() {
			name := s.dir() + " " + s.file.Name.Name
			packages[name] = append(packages[name], s)
		}
	}
	seen := 0
	for name, files := range packages {
		names := resolve(name, files)
		for _, s := range files {
			for _, example := range testFuncs(s, "Example") {
				seen++
				first := firstLine(s, example)
				for file, helper := range names.usedBy(s, example, map[types.Object]bool{}) {
					if shown := file == path.Base(s.path) && shownWhole(s); !shown && !strings.Contains(first, file) {
						t.Errorf("%s: %s begins with no comment such as // %s stands in %s.", s.at(example.Pos()), example.Name.Name, helper, file)
					}
				}
			}
		}
	}
	require.Greater(t, seen, 90, "too few Examples were found to prove anything")
}

// names knows what the identifiers of a package mean.
type names struct {
	uses  map[*ast.Ident]types.Object
	pkg   *types.Package
	funcs map[types.Object]*ast.FuncDecl
}

// resolve finds that out. What the package imports is not looked at, and what
// is wrong without it is no matter here.
func resolve(name string, files []source) names {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothing{}, Error: func(error) {}}
	parsed := make([]*ast.File, 0, len(files))
	for _, s := range files {
		parsed = append(parsed, s.file)
	}
	pkg, _ := config.Check(name, files[0].fset, parsed, info)
	funcs := map[types.Object]*ast.FuncDecl{}
	for _, file := range parsed {
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				funcs[info.Defs[fn.Name]] = fn
			}
		}
	}
	return names{info.Uses, pkg, funcs}
}

// usedBy lists the files of the package that a body needs, each with one name
// from it.
func (n names) usedBy(s source, fn *ast.FuncDecl, done map[types.Object]bool) map[string]string {
	found := map[string]string{}
	ast.Inspect(fn.Body, func(node ast.Node) bool {
		id, _ := node.(*ast.Ident)
		object := n.uses[id]
		_, function := object.(*types.Func)
		if object == nil || done[object] || object.Parent() != n.pkg.Scope() && (!function || object.Pkg() != n.pkg) {
			return true // nothing of the package's, or a name of the body's own
		}
		done[object] = true
		file := path.Base(filepath.ToSlash(s.fset.Position(object.Pos()).Filename))
		found[file] = object.Name()
		if helper := n.funcs[object]; helper != nil && file == path.Base(s.path) {
			maps.Copy(found, n.usedBy(s, helper, done))
		}
		return true
	})
	return found
}

// nothing imports nothing.
type nothing struct{}

func (nothing) Import(name string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not looked at", name)
}

// testFuncs are the functions of a file whose names begin so.
func testFuncs(s source, prefixes ...string) (list []*ast.FuncDecl) {
	for _, decl := range s.file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if ok && fn.Recv == nil && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(fn.Name.Name, p) }) {
			list = append(list, fn)
		}
	}
	return list
}

// shownWhole reports whether the documentation shows the file as it is.
func shownWhole(s source) bool {
	return len(testFuncs(s, "Example")) == 1 && len(testFuncs(s, "Test", "Benchmark", "Fuzz")) == 0
}

// firstLine is the comment that begins a body, "" for none.
func firstLine(s source, fn *ast.FuncDecl) string {
	for _, group := range s.file.Comments {
		if group.Pos() > fn.Body.Lbrace && group.End() < fn.Body.List[0].Pos() {
			return group.List[0].Text
		}
	}
	return ""
}
