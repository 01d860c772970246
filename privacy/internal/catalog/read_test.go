package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/testdb/stranger"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

func TestDump(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		db, err := sqldb.Open(t.Context(), c.DB)
		require.NoError(t, err)
		s, err := catalog.Read(t.Context(), db, nil)
		require.NoError(t, err)
		for _, x := range s.Tables {
			fmt.Printf("%s %s def=%v\n", x.Path(), x.Form, x.Default)
			for _, c := range x.Columns {
				fmt.Printf("   %+v\n", c)
			}
			fmt.Println("   ", x.Indexes, x.Checks, x.Triggers, x.Reuses)
		}
		for _, f := range s.Foreign {
			fmt.Println(f.Name, f.Child.Path(), f.Columns, f.To, f.OnDelete, f.Empties, f.Deferred)
		}
	})
}

func TestSpeed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		h := d.Open(t)
		for i := range 300 {
			var cols []string
			for j := range 20 {
				cols = append(cols, fmt.Sprintf("c%d VARCHAR(40)", j))
			}
			_, err := h.Exec(fmt.Sprintf("CREATE TABLE t%d (id BIGINT PRIMARY KEY, p BIGINT REFERENCES t%d(id), %s)", i, max(0, i-1), strings.Join(cols, ",")))
			require.NoError(t, err)
			_, err = h.Exec(fmt.Sprintf("CREATE INDEX i%d ON t%d (p)", i, i))
			require.NoError(t, err)
		}
		db, err := sqldb.Open(t.Context(), h)
		require.NoError(t, err)
		for range 5 {
			now := time.Now()
			_, err = catalog.Read(t.Context(), db, nil)
			require.NoError(t, err)
			fmt.Println(d.Name, time.Since(now))
		}
	})
}
