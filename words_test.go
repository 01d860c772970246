package crmguard_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the documents say of the code is held against the code.

// A test that is named in a document is there, or the document promises what
// nobody looks at.
func TestTestsNamedInDocumentsExist(t *testing.T) {
	there := map[string]bool{}
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && s.isTest() && fn.Recv == nil {
				there[fn.Name.Name] = true
			}
		}
	}
	documents, err := filepath.Glob("*.md")
	require.NoError(t, err)
	named := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile("`(Test[A-Z][A-Za-z0-9_]+)`").FindAllStringSubmatch(string(text), -1) {
			named++
			if !there[name[1]] {
				t.Errorf("%s names %s, and there is no such test", document, name[1])
			}
		}
	}
	require.NotZero(t, named, "the documents name no test, or this test cannot see them")
}

// A decision that does not say what was turned down is a description.
func TestEveryDecisionNamesTheRoadNotTaken(t *testing.T) {
	text, err := os.ReadFile("DESIGN.md")
	require.NoError(t, err)
	decisions := regexp.MustCompile(`(?m)^\d+\. `).Split(string(text), -1)[1:]
	require.Greater(t, len(decisions), 20)
	for i, decision := range decisions {
		if !strings.Contains(strings.Join(strings.Fields(decision), " "), "Not taken:") {
			t.Errorf("decision %d names no road not taken", i+1)
		}
	}
}
