package crmguard_test

import (
	"go/ast"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What NULL is, and what a pointer or a driver.Valuer leads to, is decided in
// one room: where two decide, a check permits what a filter does not select.
func TestOneRoomReadsValues(t *testing.T) {
	readers := 0
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "examples/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			for _, asked := range askedTypes(n) {
				if !isValueReader(asked) {
					continue
				}
				if s.dir() == "internal/value" {
					readers++
					continue
				}
				t.Errorf("%s: a second reader of values: use internal/value", s.at(asked.Pos()))
			}
			return true
		})
	}
	require.GreaterOrEqual(t, readers, 5, "the reader itself asks for these types")
}

// askedTypes are the types that a switch or an assertion asks for, and whatever
// is selected of a package.
func askedTypes(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.CaseClause:
		return n.List
	case *ast.TypeAssertExpr:
		return []ast.Expr{n.Type}
	case *ast.SelectorExpr:
		if n.Sel.Name == "DefaultParameterConverter" {
			return []ast.Expr{n}
		}
	}
	return nil
}

func isValueReader(asked ast.Expr) bool {
	if star, ok := asked.(*ast.StarExpr); ok {
		asked = star.X
	}
	selected, ok := asked.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, _ := selected.X.(*ast.Ident)
	if pkg == nil {
		return false
	}
	name := pkg.Name + "." + selected.Sel.Name
	return name == "driver.Valuer" || name == "driver.DefaultParameterConverter" || name == "sql.RawBytes" || strings.HasPrefix(name, "sql.Null")
}
