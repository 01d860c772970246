package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// Right after the pack was applied nothing lacks, whatever the types of the columns:
// how the name of one is written depends on the search path, and is not compared.
func TestNothingLacksRightAfterThePack(t *testing.T) {
	for name, statements := range map[string][]string{
		"an enum":         {`CREATE TYPE mood AS ENUM ('a')`, `CREATE TABLE one (id int PRIMARY KEY, x mood)`},
		"a domain":        {`CREATE DOMAIN code AS text`, `CREATE TABLE one (id int PRIMARY KEY, x code)`},
		"a pair":          {`CREATE TYPE pair AS (a int)`, `CREATE TABLE one (id int PRIMARY KEY, x pair)`},
		"another schema":  {`CREATE SCHEMA other`, `CREATE TYPE other.mood AS ENUM ('a')`, `CREATE TABLE one (id int PRIMARY KEY, x other.mood)`},
		"a quoted column": {`CREATE TABLE one (id int PRIMARY KEY, "a %s \ ""b""" text)`},
		"plain":           {`CREATE TABLE one (id int PRIMARY KEY, x numeric(9,2), y varchar(5), z timestamptz(3))`},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(b *bench) {
				b.exec(statements...)
				table := capture.Table{Name: "one", Kind: "one", Tenant: "main"}
				b.pack(table)
				lacks, err := capture.Missing(b.Context(), b.db, table)
				require.NoError(b, err)
				require.Empty(b, lacks)
				b.exec(`ALTER TABLE one ADD COLUMN more text`)
				lacks, err = capture.Missing(b.Context(), b.db, table)
				require.NoError(b, err)
				require.Len(b, lacks, 1)
			})
		})
	}
}
