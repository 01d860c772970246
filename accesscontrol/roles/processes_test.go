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

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

const childVariable = "CRMGUARD_ROLES_CHILD" // driver and data source name of the child

// A role that one process takes away, the others know soon of, also where they
// hold an Actor; that process knows at once.
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
		require.Equal(t, "rep allowed", one())
		require.Equal(t, "rep allowed", two())
		ann, deal := actor(t, store), dealOf("ann")
		require.NoError(t, ann.Check(t.Context(), "deal.read", deal))
		_, err := store.Dismiss(t.Context(), "main", "ann")
		require.NoError(t, err)
		require.Empty(t, held(t, store, "main", "ann"))
		require.ErrorIs(t, ann.Check(t.Context(), "deal.read", deal), accesscontrol.ErrDenied)
		require.Eventually(t, func() bool { return one() == "none denied" && two() == "none denied" }, 30*time.Second, 10*time.Millisecond)
		require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "rep")))
		require.NoError(t, ann.Check(t.Context(), "deal.read", deal), "what is given holds at once, too")
		require.Eventually(t, func() bool { return one() == "rep allowed" && two() == "rep allowed" }, 30*time.Second, 10*time.Millisecond)
	})
}

// actor is ann, held for as long as the test goes on.
func actor(t *testing.T, store *roles.Store) *accesscontrol.Actor {
	t.Helper()
	ann, err := store.For(t.Context(), crmPolicy(t), "main", "ann", nil)
	require.NoError(t, err)
	return ann
}

func dealOf(owner string) accesscontrol.Resource {
	return accesscontrol.Resource{Type: "deal", ID: "1", Tenant: "main", Attrs: map[string]any{"owner_id": owner, "territory_id": "de"}}
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
	ann, deal := actor(t, store), dealOf("ann")
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		answer := "allowed"
		if err := ann.Check(t.Context(), "deal.read", deal); err != nil {
			require.ErrorIs(t, err, accesscontrol.ErrDenied)
			answer = "denied"
		}
		fmt.Println(cmp.Or(strings.Join(held(t, store, "main", "ann"), " "), "none"), answer)
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
