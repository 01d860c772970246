package liveschema_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datamap"
)

// compiler type-checks proposals; it reads package datamap once.
type compiler struct {
	files  *token.FileSet
	config types.Config
}

func newCompiler() *compiler {
	files := token.NewFileSet()
	return &compiler{files, types.Config{Importer: importer.ForCompiler(files, "source", nil)}}
}

// compiled type-checks a proposal against package datamap, and gives the map that
// its Map would return, with a purpose and a basis.
func (c *compiler) compiled(t *testing.T, source string) *datamap.Map {
	t.Helper()
	file, err := parser.ParseFile(c.files, "privacymap.go", source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	_, err = c.config.Check("privacymap", c.files, []*ast.File{file}, nil)
	require.NoError(t, err)
	return evaluated(t, source)
}

// evaluated is the map without the types being checked.
func evaluated(t *testing.T, source string) *datamap.Map {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "privacymap.go", source, parser.SkipObjectResolution)
	require.NoError(t, err)
	var result ast.Expr
	ast.Inspect(file, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok {
			result = r.Results[0]
		}
		return true
	})
	m := &datamap.Map{}
	evaluate(t, result.(*ast.UnaryExpr).X, reflect.ValueOf(m).Elem())
	return m
}

// evaluate writes what an expression of composite literals says into a value.
func evaluate(t *testing.T, e ast.Expr, into reflect.Value) {
	t.Helper()
	switch e := e.(type) {
	case *ast.CompositeLit:
		for _, element := range e.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				evaluate(t, pair.Value, into.FieldByName(pair.Key.(*ast.Ident).Name))
				continue
			}
			one := reflect.New(into.Type().Elem()).Elem()
			evaluate(t, element, one)
			into.Set(reflect.Append(into, one))
		}
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		require.NoError(t, err)
		into.SetString(text)
	case *ast.SelectorExpr:
		into.SetString(map[string]string{"Delete": string(datamap.Delete), "Null": string(datamap.Null), "Unclassified": datamap.Unclassified}[e.Sel.Name])
	case *ast.Ident:
		into.SetString(map[string]string{"purpose": "dpv:CustomerCare", "basis": "dpv:Contract"}[e.Name])
	default:
		t.Fatalf("a proposal holds %T", e)
	}
}
