package crmguard_test

import (
	"bytes"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The README never says what does not run: its Go blocks are bodies of
// Examples, byte for byte, and its commands exist.

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

func blocks(text, language string) []string {
	var out []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		out = append(out, match[1])
	}
	return out
}

func TestGoBlocksOfTheReadmeAreBodiesOfExamples(t *testing.T) {
	bodies := exampleBodies(t)
	found := blocks(readme(t), "go")
	require.NotEmpty(t, found)
	for _, block := range found {
		require.Contains(t, bodies, block, "this block of the README is no body of an Example")
	}
}

// exampleBodies are the bodies of all Example functions, without the output
// comment and one level of indent, each with its folder.
func exampleBodies(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		text, err := os.ReadFile(filepath.FromSlash(s.path))
		require.NoError(t, err)
		for _, fn := range testFuncs(s, "Example") {
			body := text[s.fset.Position(fn.Body.Lbrace).Offset+1 : s.fset.Position(fn.Body.Rbrace).Offset]
			if i := bytes.Index(body, []byte("\n\t// Output:")); i >= 0 {
				body = body[:i+1]
			}
			text, err := format.Source(bytes.TrimSpace(body))
			require.NoError(t, err)
			out[string(text)+"\n"] = s.dir()
		}
	}
	return out
}

func TestCommandsOfTheReadmeExist(t *testing.T) {
	text := readme(t)
	commands := blocks(text, "sh")
	require.NotEmpty(t, commands)
	require.Contains(t, commands[0], "go run ./examples/crm\n")
	require.Contains(t, commands[0], "go test ./...\n")
	for _, path := range regexp.MustCompile(`(?:\./|`+"`"+`|\]\()((?:examples|testdata)/[A-Za-z0-9_./-]+|[a-z_]+(?:\.md|\.go)?\)|[A-Z]+\.md)`).FindAllStringSubmatch(text, -1) {
		_, err := os.Stat(filepath.FromSlash(strings.TrimSuffix(path[1], ")")))
		require.NoError(t, err, "the README names something that is not there")
	}
}
