package randomschema_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// Every case can be created and filled on its database, its map is true, and what
// has to be gone and to stay is found where it was put.
func TestEveryCaseIsOne(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			database := testdb.New(t, name)
			rapid.Check(t, func(rt *rapid.T) {
				c := randomschema.Draw(rt, name, randomschema.Options{Undated: true})
				require.NoError(rt, c.Map.Validate())
				handle, err := c.Create(t.Context(), database)
				require.NoError(rt, err)
				defer func() { require.NoError(rt, c.Drop(t.Context(), handle)) }()
				db := wholedb.DB{Name: name, SQL: handle}
				for n := range c.People {
					needles := c.Needles(n)
					require.NotEmpty(rt, needles)
					require.Empty(rt, wholedb.Lost(db.Search(t, needles), needles))
					require.Empty(rt, wholedb.Lost(db.Search(t, c.Kept(n)), c.Kept(n)))
					require.NotEmpty(rt, c.Others(t, db, n))
				}
			})
		})
	}
}
