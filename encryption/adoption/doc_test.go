package adoption_test

import (
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The package comment begins with code that runs: it stands in the example, line
// for line.
func TestTheFirstLinesRun(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	require.NoError(t, err)
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	for _, block := range new(comment.Parser).Parse(file.Doc.Text()).Content {
		code, ok := block.(*comment.Code)
		if !ok {
			continue
		}
		body := strings.ReplaceAll(string(example), "\n\t", "\n")
		require.Contains(t, body, code.Text)
		return
	}
	t.Fatal("the package comment has no code")
}
