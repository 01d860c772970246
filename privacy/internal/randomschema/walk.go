package randomschema

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// roundsVariable asks for more cases than tests look at by themselves.
const roundsVariable = "CRMGUARD_RANDOM_ROUNDS"

// Rounds makes rapid.Check draw so many cases until the test ends, the same in
// each run, or as many new ones as CRMGUARD_RANDOM_ROUNDS says.
func Rounds(t *testing.T, rounds int) {
	t.Helper()
	set := func(name, to string) {
		value := flag.Lookup(name).Value
		before := value.String()
		if err := value.Set(to); err != nil {
			t.Fatalf("randomschema: %v", err)
		}
		t.Cleanup(func() { _ = value.Set(before) })
	}
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", roundsVariable, err)
		}
	} else if flag.Lookup("rapid.seed").Value.String() == "0" {
		set("rapid.seed", "1")
	}
	set("rapid.checks", strconv.Itoa(rounds))
}

// Walk draws so many cases for the database, as [Rounds] counts them, fills each
// and calls f with it, and with a handle that is of this case alone. A case that
// fails is made smaller, and its seed is printed.
func Walk(t *testing.T, d testdb.Database, rounds int, opts Options, f func(rt *rapid.T, c *Case, db wholedb.DB)) {
	t.Helper()
	Rounds(t, rounds)
	rapid.Check(t, func(rt *rapid.T) {
		c := Draw(rt, d.Name, opts)
		handle, err := c.Create(t.Context(), d)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := c.Drop(t.Context(), handle); err != nil {
				rt.Fatal(err)
			}
		}()
		f(rt, c, wholedb.DB{Name: d.Name, SQL: handle})
	})
}
