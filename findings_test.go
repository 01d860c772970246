package crmguard_test

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Alarms of users hang on the names of findings: each stands in the table of
// its package comment, and each of the table is one that Status can say, itself or
// by a room that it stands on.
func TestNamesOfFindingsAreListed(t *testing.T) {
	said := map[string][]string{}
	for _, s := range sources(t) {
		if (s.dir() != s.room() || !strings.HasSuffix(s.path, "status.go")) && (path.Base(s.path) != "status.go" || !slices.Contains(seams, s.dir()) && !isInternal(s.dir())) {
			continue
		}
		name := regexp.MustCompile(`^` + s.room() + `\.[a-z]+(\.[a-z]+)*$`)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
				if value, err := strconv.Unquote(text.Value); err == nil && name.MatchString(value) && !strings.HasSuffix(value, ".store") || value == "backup.store" {
					said[s.room()] = append(said[s.room()], value)
				}
			}
			return true
		})
	}
	for _, room := range rooms {
		text, err := os.ReadFile(filepath.Join(room, "doc.go"))
		require.NoError(t, err)
		var listed []string
		for _, match := range regexp.MustCompile(`(?m)^//\t(`+room+`\.[a-z.]+) +[a-zA-Z]+ +\S`).FindAllStringSubmatch(string(text), -1) {
			// What a database says of itself is named in one place for all.
			if !strings.HasSuffix(match[1], ".store.durability") && !strings.HasSuffix(match[1], ".store.replica") {
				listed = append(listed, match[1])
			}
		}
		slices.Sort(said[room])
		slices.Sort(listed)
		require.NotEmpty(t, listed, room)
		require.Equal(t, slices.Compact(said[room]), listed, "%s: what status.go says, and the table of the package comment", room)
	}
}
