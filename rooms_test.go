package crmguard_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// roomLines says for each folder with Go files what its code imports of this
// module: a new folder is a new line, an import that a line does not name is a
// decision to be taken here. "public" is every room that an importer sees.
//
// The lines themselves keep to the direction (TestRoomsOpenInOneDirection):
// a room of the six sees rooms of its own one and internal ones, the root of
// one sees nothing of what stands below it but its own internal rooms and the
// seams, and an internal room sees internal rooms and seams only.
//
// Tests may import more, because what they hold stands together nowhere else:
// every room of their own one of the six, and every internal room.
var roomLines = map[string]string{
	".": "", // package documentation; its tests wire everything

	"accesscontrol":                   "accesscontrol/internal/cedarx accesscontrol/internal/sqlcond internal/canon internal/frame internal/health internal/ids internal/sqldb internal/value",
	"accesscontrol/accesscontroltest": "accesscontrol",
	"accesscontrol/httpguard":         "accesscontrol",
	"accesscontrol/internal/cedarx":   "",
	"accesscontrol/internal/sqlcond":  "internal/canon",
	"accesscontrol/roles":             "accesscontrol internal/alone internal/frame internal/health internal/ids internal/sqldb",

	"audit":                  "audit/auditlog audit/capture audit/internal/c2sp audit/internal/cells audit/internal/decided audit/internal/differ audit/internal/handle audit/internal/hanging audit/internal/keytext audit/internal/losses audit/internal/merkle audit/internal/opaque audit/internal/passes audit/internal/tags audit/internal/values audit/internal/worst internal/alone internal/canon internal/frame internal/health internal/ids internal/sqldb",
	"audit/auditlog":         "audit/internal/c2sp audit/internal/merkle audit/internal/worst internal/canon internal/frame",
	"audit/audittest":        "audit audit/auditlog",
	"audit/capture":          "internal/frame internal/ids internal/sqldb",
	"audit/cmd/auditverify":  "audit/auditlog",
	"audit/internal/c2sp":    "",
	"audit/internal/cells":   "audit/auditlog internal/canon",
	"audit/internal/decided": "audit/auditlog",
	"audit/internal/differ":  "audit/auditlog audit/internal/values internal/frame internal/ids internal/value",
	"audit/internal/handle":  "",
	"audit/internal/hanging": "",
	"audit/internal/keytext": "",
	"audit/internal/losses":  "",
	"audit/internal/merkle":  "audit/internal/c2sp",
	"audit/internal/opaque":  "",
	"audit/internal/passes":  "internal/health",
	"audit/internal/tags":    "internal/frame",
	"audit/internal/values":  "audit/auditlog internal/frame internal/value",
	"audit/internal/worst":   "",
	"audit/sqltrail":         "audit internal/sqldb",
	"audit/tilehttp":         "audit/internal/c2sp",
	"audit/tilesink":         "audit audit/internal/c2sp internal/durable internal/filelock",

	"backup":              "internal/alone internal/canon internal/durable internal/frame internal/health",
	"backup/backuptest":   "backup",
	"backup/localstore":   "backup internal/durable",
	"backup/sqlitesource": "backup internal/filelock internal/frame internal/sqldb",

	"encryption":                     "encryption/internal/blindindex encryption/internal/format encryption/internal/keyring encryption/internal/normalise encryption/internal/rowjob encryption/jobs encryption/keycopy encryption/keystore encryption/primitives encryption/sealedvalue encryption/streams internal/frame internal/health internal/sqldb",
	"encryption/adoption":            "encryption encryption/jobs encryption/sealedvalue internal/frame internal/sqldb",
	"encryption/encryptiontest":      "encryption encryption/insecurekeys encryption/keystore",
	"encryption/insecurekeys":        "internal/durable",
	"encryption/internal/blindindex": "encryption/internal/format encryption/internal/keyring encryption/internal/normalise encryption/keystore internal/frame",
	"encryption/internal/format":     "internal/frame",
	"encryption/internal/keyring":    "encryption/internal/format encryption/keystore internal/canon internal/health internal/ids",
	"encryption/internal/rowjob":     "encryption/internal/format encryption/internal/keyring encryption/jobs encryption/keystore encryption/sealedvalue encryption/streams internal/ids internal/sqldb internal/value",
	"encryption/jobs":                "encryption/internal/keyring encryption/streams",
	"encryption/keycopy":             "encryption/internal/blindindex encryption/internal/format encryption/internal/keyring encryption/keystore internal/canon internal/durable internal/frame internal/health",
	"encryption/keystore":            "internal/canon internal/health",
	"encryption/internal/normalise":  "",
	"encryption/internal/tinktest":   "",
	"encryption/leakage":             "encryption internal/sqldb",
	"encryption/primitives":          "encryption/internal/format encryption/internal/keyring encryption/internal/rowjob encryption/jobs encryption/sealedvalue internal/frame",
	"encryption/sealedvalue":         "encryption/internal/format encryption/internal/keyring internal/canon",
	"encryption/streams":             "encryption/internal/format encryption/internal/keyring",
	"encryption/sqlkeys":             "encryption/keystore internal/sqldb",

	"integrity":               "internal/alone internal/canon internal/frame internal/health internal/ids internal/sqldb internal/value",
	"integrity/integritytest": "integrity",
	"integrity/reconcile":     "integrity internal/frame",

	"privacy":                           "internal/canon internal/frame internal/health internal/ids internal/sqldb privacy/bundle privacy/certificate privacy/datamap privacy/datastore privacy/erasurelog privacy/internal/tables privacy/liveschema privacy/sqlstore",
	"privacy/bundle":                    "internal/canon internal/value privacy/datamap privacy/datastore",
	"privacy/certificate":               "internal/canon internal/frame",
	"privacy/datamap":                   "",
	"privacy/datastore":                 "",
	"privacy/erasurelog":                "internal/alone internal/canon internal/durable internal/filelock internal/frame",
	"privacy/erasurelog/erasurelogtest": "privacy/erasurelog",
	"privacy/internal/catalog":          "internal/sqldb privacy/datamap",
	"privacy/internal/randomschema":     "internal/testdb privacy/datamap privacy/datastore privacy/internal/wholedb",
	"privacy/internal/stranger":         "internal/sqldb internal/testdb privacy/datamap privacy/internal/wholedb",
	"privacy/internal/tables":           "internal/sqldb",
	"privacy/internal/wholedb":          "internal/testdb",
	"privacy/liveschema":                "internal/health internal/sqldb privacy/datamap privacy/internal/catalog",
	"privacy/privacytest":               "privacy/datastore",
	"privacy/sqlledger":                 "internal/sqldb privacy/erasurelog",
	"privacy/sqlstore":                  "internal/frame internal/sqldb internal/value privacy/datamap privacy/datastore privacy/internal/catalog privacy/internal/tables",

	"internal/alone":               "internal/durable internal/frame internal/ids",
	"internal/canon":               "",
	"internal/durable":             "internal/filelock",
	"internal/durable/durabletest": "internal/durable internal/filelock",
	"internal/filelock":            "",
	"internal/frame":               "internal/canon internal/value",
	"internal/health":              "",
	"internal/ids":                 "",
	"internal/killtest":            "",
	"internal/sqldb":               "internal/health",
	"internal/testdb":              "",
	"internal/testdb/stranger":     "internal/sqldb internal/testdb",
	"internal/value":               "",

	"examples/adopt":                   "public",
	"examples/crm":                     "public internal/durable",
	"examples/handles":                 "public",
	"examples/kms":                     "public",
	"examples/kms/awskek":              "",
	"examples/kms/gcpkek":              "",
	"examples/kms/transitkek":          "",
	"examples/migrations":              "public",
	"examples/peers":                   "public",
	"examples/peers/foreign/openfield": "",
	"examples/sqlc":                    "public",
	"examples/sqlc/postgres":           "public",
	"examples/sqlc/sqlite":             "public",

	"audit/gormcapture":    "audit",                                                               // a nested module
	"encryption/gormfield": "encryption encryption/internal/format internal/sqldb internal/value", // a nested module
}

// forTests are the rooms that only tests may import; they may print.
var forTests = []string{"internal/testdb", "internal/testdb/stranger", "internal/killtest", "internal/durable/durabletest", "encryption/internal/tinktest", "privacy/internal/randomschema", "privacy/internal/stranger", "privacy/internal/wholedb"}

// seams are the public rooms that a root and its inner rooms stand on, so that
// whoever implements or calls one does not need the root. They see internal rooms
// and each other.
var seams = []string{
	"audit/auditlog",
	"audit/capture",
	"encryption/jobs",
	"encryption/keycopy",
	"encryption/keystore",
	"encryption/primitives",
	"encryption/sealedvalue",
	"encryption/streams",
	"privacy/bundle",
	"privacy/certificate",
	"privacy/datamap",
	"privacy/datastore",
	"privacy/liveschema",
	"privacy/erasurelog",
	"privacy/sqlstore",
}

// line is what the line of a folder permits.
func line(dir string) []string { return strings.Fields(roomLines[dir]) }

func isInternal(room string) bool {
	return room == "internal" || strings.HasPrefix(room, "internal/") || strings.Contains(room, "/internal/")
}

// isProgram says whether a folder holds a program: it may print and exit.
func isProgram(dir string) bool {
	return strings.HasPrefix(dir, "examples/") || path.Base(path.Dir(dir)) == "cmd"
}

func oneOfTheSix(dir string) string { return source{path: dir + "/x.go"}.room() }

// ownImports lists what a file imports of this module, as folders, and where.
func ownImports(s source) map[string]string {
	out := map[string]string{}
	for _, spec := range s.file.Imports {
		if dir, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`)+"/", module+"/"); ok {
			out[strings.TrimSuffix(dir, "/")] = s.at(spec.Pos())
		}
	}
	return out
}

func TestEveryRoomImportsWhatItsLineNames(t *testing.T) {
	there, used := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if _, ok := roomLines[s.dir()]; !ok {
			t.Errorf("%s: folder %s has no line in rooms_test.go", s.path, s.dir())
			continue
		}
		there[s.dir()] = true
		for imported, at := range ownImports(s) {
			if !s.isTest() {
				used[s.dir()+" "+imported] = true
			}
			if !mayImport(s, imported) {
				t.Errorf("%s: the line of %s does not name %q", at, s.dir(), imported)
			}
			if !s.isTest() && slices.Contains(forTests, imported) && !slices.Contains(forTests, s.dir()) {
				t.Errorf("%s: %s is for tests", at, imported)
			}
		}
	}
	for dir := range roomLines {
		if !there[dir] {
			t.Errorf("rooms_test.go has a line for %s, which holds no Go file", dir)
		}
		for _, permitted := range line(dir) {
			if permitted != "public" && !used[dir+" "+permitted] {
				t.Errorf("the line of %s permits %s although nothing needs it", dir, permitted)
			}
		}
	}
}

func mayImport(s source, imported string) bool {
	permitted := line(s.dir())
	switch {
	case slices.Contains(permitted, imported), slices.Contains(permitted, "public") && !isInternal(imported):
		return true
	case !s.isTest():
		return false
	case s.dir() == ".":
		return true
	}
	return isInternal(imported) && oneOfTheSix(imported) == "" || oneOfTheSix(imported) == oneOfTheSix(s.dir()) && s.room() != ""
}

func TestRoomsOpenInOneDirection(t *testing.T) {
	for dir := range roomLines {
		own := oneOfTheSix(dir)
		for _, imported := range line(dir) {
			theirs := oneOfTheSix(imported)
			seam := theirs == own && slices.Contains(seams, imported)
			switch {
			case imported == "public" && !strings.HasPrefix(dir, "examples/"):
				t.Errorf("%s: only examples import every public room", dir)
			case imported == "public":
			case strings.HasPrefix(dir, "internal/") && theirs != "":
				t.Errorf("%s: an internal room imports none of the six (%s)", dir, imported)
			case own != "" && theirs != "" && theirs != own:
				t.Errorf("%s: the six never import each other (%s)", dir, imported)
			case slices.Contains(seams, dir) && !isInternal(imported) && !seam:
				t.Errorf("%s: what the root stands on imports internal rooms and its like only (%s)", dir, imported)
			case own == dir && theirs == own && !isInternal(imported) && !seam:
				t.Errorf("%s: what stands below imports the root, never the other way round (%s)", dir, imported)
			case isInternal(dir) && theirs != "" && !isInternal(imported) && !seam:
				t.Errorf("%s: an inner room does not import the room around it (%s)", dir, imported)
			}
		}
	}
}

// A library that prints or ends the process takes both from its importer.
func TestOnlyProgramsPrintAndExit(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || isProgram(s.dir()) {
			continue
		}
		if s.file.Name.Name == "main" {
			t.Errorf("%s: programs stand in a folder cmd/NAME or in examples", s.path)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if name := called(n); exits(name) || prints(name) && !slices.Contains(forTests, s.dir()) {
				t.Errorf("%s: %s: the importer owns the process and what it prints; return an error", s.at(n.Pos()), name)
			}
			return true
		})
	}
}

// called returns what a node names: a builtin that is called, or a name of
// another package.
func called(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok {
			return id.Name
		}
	case *ast.SelectorExpr:
		if pkg, ok := n.X.(*ast.Ident); ok {
			return pkg.Name + "." + n.Sel.Name
		}
	}
	return ""
}

func exits(name string) bool {
	return name == "os.Exit" || strings.HasPrefix(name, "log.Fatal") || strings.HasPrefix(name, "log.Panic")
}

func prints(name string) bool {
	switch name {
	case "print", "println", "os.Stdout", "os.Stderr", "slog.Default", "slog.Debug", "slog.Info", "slog.Warn", "slog.Error", "slog.Log":
		return true
	}
	return strings.HasPrefix(name, "fmt.Print") || strings.HasPrefix(name, "log.Print")
}

// What has a room of its own is not written a second time: the spelling of a
// time and of bytes (internal/canon), the rule for ids (internal/ids).
func TestCommonThingsAreWrittenOnce(t *testing.T) {
	homes := map[string]int{}
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "examples/") {
			continue
		}
		twice := func(home string, n ast.Node, what string) {
			if homes[home]++; s.dir() != home {
				t.Errorf("%s: %s is at home in %s", s.at(n.Pos()), what, home)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if strings.HasPrefix(n.Value, `"2006-01-02T15:04:05.000000`) {
					twice("internal/canon", n, "how formats write a time")
				}
			case *ast.SelectorExpr:
				if name := called(n); name == "base64.RawURLEncoding" || name == "base64.URLEncoding" {
					twice("internal/canon", n, "base64url")
				}
			case *ast.FuncDecl:
				if n.Body != nil && limitsUTF8(n.Body) {
					twice("internal/ids", n, "the rule for ids")
				}
			}
			return true
		})
	}
	for _, home := range []string{"internal/canon", "internal/ids"} {
		require.NotZero(t, homes[home], "this test does not see what stands in %s", home)
	}
}

// limitsUTF8 recognises a rule for ids: text that is UTF-8, at most 255 bytes.
func limitsUTF8(body *ast.BlockStmt) bool {
	utf8, limit := false, false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			utf8 = utf8 || called(n) == "utf8.ValidString" || called(n) == "utf8.Valid"
		case *ast.BasicLit:
			limit = limit || n.Value == "255" || n.Value == "256"
		case *ast.Ident:
			limit = limit || strings.EqualFold(n.Name, "maxID") || n.Name == "Max"
		}
		return true
	})
	return utf8 && limit
}
