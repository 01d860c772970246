package randomschema

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// roundsVariable asks for more cases than tests look at by themselves.
const roundsVariable = "CRMGUARD_RANDOM_ROUNDS"

// Walk draws so many cases for the database, or as many as CRMGUARD_RANDOM_ROUNDS
// says, fills each and calls f with it, and with a handle that is of this case
// alone. A case that fails is made smaller, and its seed is printed.
func Walk(t *testing.T, d testdb.Database, rounds int, f func(rt *rapid.T, c *Case, db wholedb.DB)) {
	t.Helper()
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		require.NoError(t, err, roundsVariable)
	}
	before := flag.Lookup("rapid.checks").Value.String()
	require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(rounds)))
	defer func() { require.NoError(t, flag.Set("rapid.checks", before)) }()
	rapid.Check(t, func(rt *rapid.T) {
		c := Draw(rt, d.Name, Options{})
		handle, err := c.Create(t.Context(), d)
		require.NoError(rt, err)
		defer func() { require.NoError(rt, c.Drop(t.Context(), handle)) }()
		f(rt, c, wholedb.DB{Name: d.Name, SQL: handle})
	})
}
