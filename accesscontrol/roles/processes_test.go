package roles_test

import (
	"bufio"
	"cmp"
	"database/sql"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

const childVariable = "CRMGUARD_ROLES_CHILD" // driver and data source name of the child

// A role that one process takes away, the others know soon of.
func TestOtherProcessesKnowOfIt(t *testing.T) {
	if place := os.Getenv(childVariable); place != "" {
		answer(t, place)
		return
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		store := opened(t, d.Open(t), roles.Options{})
		require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "rep")))
		driver := d.Name.Drivers()[0]
		one, two := child(t, driver, d.DSN(driver)), child(t, driver, d.DSN(driver))
		require.Equal(t, "rep", one())
		require.Equal(t, "rep", two())
		_, err := store.Dismiss(t.Context(), "main", "ann")
		require.NoError(t, err)
		require.Empty(t, held(t, store, "main", "ann"))
		require.Eventually(t, func() bool { return one() == "none" && two() == "none" }, 30*time.Second, 10*time.Millisecond)
	})
}

// child starts a process with a store, and returns a question to it.
func child(t *testing.T, driver, dsn string) func() string {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), program, "-test.run=^TestOtherProcessesKnowOfIt$")
	command.Env = append(os.Environ(), childVariable+"="+driver+" "+dsn)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	require.NoError(t, err)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		_, _ = io.Copy(io.Discard, out)
		_ = command.Wait()
	})
	return func() string {
		_, err := fmt.Fprintln(in)
		require.NoError(t, err)
		require.True(t, lines.Scan(), "the child is gone")
		return lines.Text()
	}
}

// answer is the child: a line for each line.
func answer(t *testing.T, place string) {
	driver, dsn, _ := strings.Cut(place, " ")
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	store := opened(t, db, roles.Options{MaxAge: 200 * time.Millisecond})
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		fmt.Println(cmp.Or(strings.Join(held(t, store, "main", "ann"), " "), "none"))
	}
}

// The list of the example runs on PostgreSQL, and takes 25 lines.
func TestTheListIsTwentyFiveLines(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "list_example_test.go", nil, 0)
	require.NoError(t, err)
	for _, decl := range file.Decls {
		if f, is := decl.(*ast.FuncDecl); is && f.Name.Name == "list" {
			require.LessOrEqual(t, fset.Position(f.Body.Rbrace).Line-fset.Position(f.Body.Lbrace).Line-1, 25)
		}
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name != testdb.PostgresC && d.Name != testdb.PostgresICU {
			return
		}
		db := d.Open(t)
		run(t, db, `CREATE TABLE deals (id text PRIMARY KEY, tenant text NOT NULL, owner_id text NOT NULL, unit_id text NOT NULL)`)
		run(t, db, `INSERT INTO deals VALUES ('1', 'main', 'ann', 'north'), ('2', 'main', 'bob', 'south'), ('3', 'main', 'bob', 'north'), ('4', 'other', 'ann', 'south')`)
		require.Equal(t, []string{"1", "2"}, list(t.Context(), db, "ann"))
	})
}
