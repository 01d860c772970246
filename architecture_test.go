package crmguard_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// These tests hold the rules of the house (DESIGN.md). They parse the sources
// themselves: a test that asked the go command would be answered from the
// test cache and stay green after a rule is broken.

const module = "github.com/crmguard/crmguard"

// rooms are the six packages that never import each other.
var rooms = []string{"encryption", "accesscontrol", "audit", "backup", "integrity", "privacy"}

// allowed says which modules the code of a folder may import, its
// sub-folders included. Standard library, the own parent and internal/ are
// free. A line here is a decision: say why in DESIGN.md.
var allowed = map[string][]string{
	"encryption":                    {"github.com/tink-crypto/tink-go/v2", "golang.org/x/text", "github.com/google/uuid"},
	"accesscontrol":                 {},
	"accesscontrol/httpguard":       {"golang.org/x/text/language"},
	"accesscontrol/internal/cedarx": {"github.com/cedar-policy/cedar-go"},
	"audit":                         {"golang.org/x/mod", "github.com/google/uuid"},
	"backup":                        {"golang.org/x/crypto", "github.com/klauspost/compress", "github.com/PlakarKorp/go-cdc-chunkers"},
	"integrity":                     {"golang.org/x/net/idna", "golang.org/x/text"},
	"privacy":                       {"filippo.io/age", "github.com/secure-systems-lab/go-securesystemslib/dsse", "github.com/google/uuid", "golang.org/x/text"},
	"privacy/internal/randomschema": {"pgregory.net/rapid"}, // for tests
	"privacy/internal/wholedb":      {"golang.org/x/text/unicode/norm", "modernc.org/sqlite"},

	"internal/canon":  {"github.com/go-json-experiment/json"},
	"internal/testdb": {"github.com/jackc/pgx/v5", "github.com/lib/pq", "github.com/go-sql-driver/mysql", "modernc.org/sqlite"},
	"internal":        {},
	"examples/adopt":  {module, "modernc.org/sqlite", "github.com/jackc/pgx/v5/stdlib"},
	"examples/crm": {
		module, "modernc.org/sqlite", "github.com/tink-crypto/tink-go/v2",
		"github.com/google/uuid", "filippo.io/age", "golang.org/x/text",
	},
}

// testModules may stand in any test file.
var testModules = []string{
	"github.com/stretchr/testify", "modernc.org/sqlite", "github.com/jackc/pgx/v5", "pgregory.net/rapid", "github.com/gowebpki/jcs",
	"github.com/tink-crypto/tink-go/v2", "golang.org/x/mod", "filippo.io/age", "golang.org/x/crypto", "github.com/google/uuid",
	"github.com/cedar-policy/cedar-go",
}

type source struct {
	path string // slash-separated, from the root
	file *ast.File
	fset *token.FileSet
}

func (s source) dir() string    { return path.Dir(s.path) }
func (s source) isTest() bool   { return strings.HasSuffix(s.path, "_test.go") }
func (s source) isPublic() bool { return s.room() != "" && !strings.Contains(s.path, "/internal/") }

// root is the line of the allow-list that covers the file.
func (s source) root() string {
	for d := s.dir(); d != "."; d = path.Dir(d) {
		if _, ok := allowed[d]; ok {
			return d + ": "
		}
	}
	return ""
}

// room is the one of the six packages that the file belongs to, or "".
func (s source) room() string {
	first, _, _ := strings.Cut(s.path, "/")
	if slices.Contains(rooms, first) {
		return first
	}
	return ""
}

func (s source) at(p token.Pos) string {
	position := s.fset.Position(p)
	position.Filename = s.path
	return position.String()
}

// sources are all Go files of the root module and of the nested ones, which tests read and
// do not change.
func sources(t *testing.T) []source {
	t.Helper()
	out, err := parsed()
	require.NoError(t, err)
	require.Greater(t, len(out), 50, "the walk found too few files to prove anything")
	return slices.Clone(out)
}

// parsed parses them once.
var parsed = sync.OnceValues(func() (out []source, err error) {
	fset := token.NewFileSet()
	err = filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && p != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{path: filepath.ToSlash(p), file: file, fset: fset})
		return nil
	})
	return out, err
})

func within(imported string, modules []string) bool {
	return slices.ContainsFunc(modules, func(m string) bool {
		return imported == m || strings.HasPrefix(imported, m+"/")
	})
}

// allowance returns what the longest entry of the allow-list that covers dir
// permits.
func allowance(dir string) ([]string, bool) {
	for d := dir; d != "."; d = path.Dir(d) {
		if modules, ok := allowed[d]; ok {
			return modules, true
		}
	}
	return nil, false
}

func TestImportsStayOnTheAllowList(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if slices.ContainsFunc([]string{"examples/handles", "examples/kms", "examples/peers", "examples/migrations", "examples/sqlc", "audit/gormcapture", "encryption/gormfield"}, func(nested string) bool {
			return strings.HasPrefix(s.path, nested+"/")
		}) || s.dir() == "." {
			continue // the nested modules have a go.mod of their own; the root holds only these tests
		}
		modules, known := allowance(s.dir())
		require.True(t, known, "%s: no line of the allow-list covers this folder", s.path)
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			first, _, _ := strings.Cut(imported, "/")
			for _, m := range modules {
				used[s.root()+m] = used[s.root()+m] || !s.isTest() && within(imported, []string{m})
			}
			if strings.HasPrefix(imported, "github.com/cedar-policy/cedar-go/x/exp") && s.dir() != "accesscontrol/internal/cedarx" {
				t.Errorf("%s: what Cedar may change at any time is used in one place only", s.at(spec.Pos()))
			}
			switch {
			case !strings.Contains(first, "."): // standard library
			case within(imported, []string{module + "/internal"}), s.room() != "" && within(imported, []string{module + "/" + s.room()}):
			case s.isTest() && within(imported, testModules):
			case within(imported, modules):
			default:
				t.Errorf("%s: import of %s is not on the allow-list", s.at(spec.Pos()), imported)
			}
		}
	}
	for m, yes := range used {
		if !yes {
			t.Errorf("the allow-list permits %s although nothing needs it", m)
		}
	}
}

// The heart of the house: what crosses a border is a word of the standard
// library, so the six never see each other, tests included.
func TestTheSixRoomsHaveNoDoors(t *testing.T) {
	for _, s := range sources(t) {
		if s.room() == "" {
			continue
		}
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			for _, other := range rooms {
				if other != s.room() && within(imported, []string{module + "/" + other}) {
					t.Errorf("%s: %s imports %s", s.at(spec.Pos()), s.room(), other)
				}
			}
		}
	}
}

func TestNoInitPanicOrChangingGlobals(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "examples/") {
			continue
		}
		globals := packageVariables(s)
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: init runs before the importer can decide", s.at(n.Pos()))
				}
				if n.Body != nil {
					checkBody(t, s, n, globals)
				}
			case *ast.GenDecl:
				checkExportedVariables(t, s, n)
			}
			return true
		})
	}
}

func packageVariables(s source) map[string]bool {
	names := map[string]bool{}
	for _, decl := range s.file.Decls {
		if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.VAR {
			for _, spec := range gen.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names[name.Name] = name.Name != "_"
				}
			}
		}
	}
	return names
}

func checkExportedVariables(t *testing.T, s source, decl *ast.GenDecl) {
	t.Helper()
	if decl.Tok != token.VAR || !isTopLevel(s, decl) {
		return
	}
	for _, spec := range decl.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if name.IsExported() && !strings.HasPrefix(name.Name, "Err") {
				t.Errorf("%s: exported variable %s can be changed by anyone; make it a func", s.at(name.Pos()), name.Name)
			}
		}
	}
}

func isTopLevel(s source, decl ast.Decl) bool { return slices.Contains(s.file.Decls, decl) }

func checkBody(t *testing.T, s source, fn *ast.FuncDecl, globals map[string]bool) {
	t.Helper()
	local := map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				id, ok := left.(*ast.Ident)
				switch {
				case !ok:
				case n.Tok == token.DEFINE:
					local[id.Name] = true
				case globals[id.Name] && !local[id.Name]:
					t.Errorf("%s: package variable %s is assigned outside its declaration", s.at(n.Pos()), id.Name)
				}
			}
		case *ast.CallExpr:
			checkCall(t, s, fn, n)
		}
		return true
	})
}

func checkCall(t *testing.T, s source, fn *ast.FuncDecl, call *ast.CallExpr) {
	t.Helper()
	if called(call) == "panic" && !strings.HasPrefix(fn.Name.Name, "Must") {
		t.Errorf("%s: panic outside a Must… function", s.at(call.Pos()))
	}
}

func TestNoFunctionalOptions(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !s.isPublic() || s.isTest() || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "With") {
				continue
			}
			t.Errorf("%s: %s reads like a functional option; use a field of the Config", s.at(fn.Pos()), fn.Name.Name)
		}
	}
}

func TestSeamsHaveAtMostSixMethods(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isPublic() || s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			if seam, ok := spec.Type.(*ast.InterfaceType); ok && seam.Methods.NumFields() > 6 {
				t.Errorf("%s: %s has %d methods; split what is optional into interfaces of its own", s.at(spec.Pos()), spec.Name.Name, seam.Methods.NumFields())
			}
			return true
		})
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "examples/") {
			continue
		}
		for _, decl := range s.file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() && receiverIsExported(decl) && decl.Doc == nil {
					t.Errorf("%s: %s has no doc comment", s.at(decl.Pos()), decl.Name.Name)
				}
			case *ast.GenDecl:
				checkDocumentedSpecs(t, s, decl)
			}
		}
	}
}

func receiverIsExported(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	kind := fn.Recv.List[0].Type
	for {
		switch k := kind.(type) {
		case *ast.StarExpr:
			kind = k.X
		case *ast.IndexExpr:
			kind = k.X
		case *ast.Ident:
			return k.IsExported()
		default:
			return true
		}
	}
}

func checkDocumentedSpecs(t *testing.T, s source, decl *ast.GenDecl) {
	t.Helper()
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if spec.Doc == nil && decl.Doc == nil {
				t.Errorf("%s: type %s has no doc comment", s.at(spec.Pos()), spec.Name.Name)
			}
			if kind, ok := spec.Type.(*ast.StructType); ok && isFilledInByUsers(spec.Name.Name) {
				checkDocumentedFields(t, s, spec.Name.Name, kind)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && spec.Doc == nil && spec.Comment == nil && decl.Doc == nil {
					t.Errorf("%s: %s has no doc comment", s.at(name.Pos()), name.Name)
				}
			}
		}
	}
}

// isFilledInByUsers names the structs whose fields people set.
func isFilledInByUsers(name string) bool {
	return strings.HasSuffix(name, "Config") || strings.HasSuffix(name, "Options") || name == "Job" || name == "Table" || name == "Column" || name == "Event"
}

// checkDocumentedFields wants a comment on every exported field, or on the
// one before it in the same block: a line may speak for its neighbours.
func checkDocumentedFields(t *testing.T, s source, typeName string, kind *ast.StructType) {
	t.Helper()
	lastLine, documented := -2, false
	for _, field := range kind.Fields.List {
		line := s.fset.Position(field.Pos()).Line
		adjacent := line == lastLine+1
		has := field.Doc != nil || field.Comment != nil
		documented = has || adjacent && documented
		lastLine = s.fset.Position(field.End()).Line
		for _, name := range field.Names {
			if name.IsExported() && !documented {
				t.Errorf("%s: field %s.%s has no comment", s.at(field.Pos()), typeName, name.Name)
			}
		}
	}
}

func TestNoFileIsLongerThan500Lines(t *testing.T) {
	for _, s := range sources(t) {
		text, err := os.ReadFile(filepath.FromSlash(s.path))
		require.NoError(t, err)
		if lines := strings.Count(string(text), "\n"); lines > 500 {
			t.Errorf("%s has %d lines: one idea a file", s.path, lines)
		}
	}
}
