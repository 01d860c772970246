package accesscontrol_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

const (
	itemPostgres = `CREATE TABLE items (id text PRIMARY KEY, tenant text NOT NULL, owner text NOT NULL, "order" text, backup text, stage varchar(40) NOT NULL, region text,
		amount bigint NOT NULL, score integer, flag boolean NOT NULL, blocked boolean, secret bytea, labels text, due bigint, email bytea)`
	itemMaria = "CREATE TABLE items (id VARBINARY(255) PRIMARY KEY, tenant VARCHAR(64) COLLATE utf8mb4_nopad_bin NOT NULL, owner VARBINARY(255) NOT NULL, `order` VARBINARY(255), backup VARBINARY(255)," +
		" stage VARBINARY(255) NOT NULL, region VARBINARY(255), amount BIGINT NOT NULL, score INT, flag BOOLEAN NOT NULL, blocked BOOLEAN, secret BLOB, labels TEXT, due BIGINT, email BLOB)"
)

// What each database would compare otherwise than the checks do is named.
func TestCheckSchemaKnowsTheDatabases(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), itemConfig(""))
	require.NoError(t, err)
	replaced := func(ddl, old, with string) string {
		require.Contains(t, ddl, old)
		return strings.Replace(ddl, old, with, 1)
	}
	postgres := map[string]string{
		"":                            itemPostgres,
		"table items: does not exist": `CREATE TABLE "Items" (id text)`,
		"table items: is a materialized view, whose columns cannot be checked":                                                             replaced(itemPostgres, "items", "base") + `; CREATE MATERIALIZED VIEW items AS SELECT * FROM base`,
		"table items: column stage may be NULL, but stage is required":                                                                     replaced(itemPostgres, "stage varchar(40) NOT NULL", "stage varchar(40)"),
		"table items: column score is NOT NULL, but score is optional":                                                                     replaced(itemPostgres, "score integer", "score integer NOT NULL"),
		"table items: column tenant is citext, the tenant needs text: bind one that is GENERATED ALWAYS AS (tenant::text) STORED":          "CREATE EXTENSION citext; " + replaced(itemPostgres, "tenant text", "tenant citext"),
		"table items: column region is character, region needs text: bind one that is GENERATED ALWAYS AS (region::text) STORED":           replaced(itemPostgres, "region text", "region char(10)"),
		"table items: column region is uuid, region needs text, or set Column.As to UUID":                                                  replaced(itemPostgres, "region text", "region uuid"),
		"table items: column region is the domain kind, region needs text":                                                                 "CREATE DOMAIN kind AS text; " + replaced(itemPostgres, "region text", "region kind"),
		"table items: column amount is numeric, amount needs bigint: bind one that is GENERATED ALWAYS AS ((amount * 100)::bigint) STORED": replaced(itemPostgres, "amount bigint", "amount numeric(12,2)"),
		"table items: column flag is smallint, flag needs boolean, or set Column.As to Integer":                                            replaced(itemPostgres, "flag boolean", "flag smallint"),
		"table items: column region has a collation that is not deterministic":                                                             "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); " + replaced(itemPostgres, "region text", "region text COLLATE ci"),
		"table items: column region is enum, region needs text, or set Column.As to Enum":                                                  "CREATE TYPE region AS ENUM ('a'); " + replaced(itemPostgres, "region text", "region region"),
		"table items: column region is jsonb, region needs text: bind one that is GENERATED ALWAYS AS (region #>> '{}') STORED":            replaced(itemPostgres, "region text", "region jsonb"),
		"table items: column region is text[], region needs text":                                                                          replaced(itemPostgres, "region text", "region text[]"),
		"table items: column amount is money, amount needs bigint":                                                                         replaced(itemPostgres, "amount bigint", "amount money"),
		"table items: column stage is date, stage needs text":                                                                              replaced(itemPostgres, "stage varchar(40)", "stage date"),
		"table items: column stage is timestamp with time zone, stage needs text":                                                          replaced(itemPostgres, "stage varchar(40)", "stage timestamptz"),
		"table items: column flag is bit, flag needs boolean":                                                                              replaced(itemPostgres, "flag boolean", "flag bit"),
		"table items: column owner has a collation that is not deterministic":                                                              "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); " + replaced(itemPostgres, "owner text", "owner text COLLATE ci"),
		"table items: column tenant has a collation that is not deterministic":                                                             "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); " + replaced(itemPostgres, "tenant text", "tenant text COLLATE ci"),
		"table items: column tenant may be NULL, but the tenant is required":                                                               replaced(itemPostgres, "tenant text NOT NULL", "tenant text"),
		"table items: column id is uuid, the key needs text, or set Table.KeyAs to UUID":                                                   replaced(itemPostgres, "id text", "id uuid"),
		"table items: column tenant is bigint, the tenant needs text, or set Table.TenantAs to Integer":                                    replaced(itemPostgres, "tenant text", "tenant bigint"),
		"table items: column blocked does not exist":                                                                                       replaced(itemPostgres, "blocked boolean, ", ""),
	}
	maria := map[string]string{
		"":                            itemMaria,
		"table items: does not exist": "CREATE TABLE other (id INT)",
		"table items: is a view, whose columns cannot be checked":                                                      replaced(itemMaria, "items", "base") + "; CREATE VIEW items AS SELECT * FROM base",
		"table items: column stage may be NULL, but stage is required":                                                 replaced(itemMaria, "stage VARBINARY(255) NOT NULL", "stage VARBINARY(255)"),
		"table items: column amount is decimal, amount needs bigint":                                                   replaced(itemMaria, "amount BIGINT", "amount DECIMAL(12,2)"),
		"table items: column amount is bigint unsigned, amount needs bigint":                                           replaced(itemMaria, "amount BIGINT", "amount BIGINT UNSIGNED"),
		"table items: column tenant has the character set latin1, whose bytes are not those of UTF-8: make it utf8mb4": replaced(itemMaria, "utf8mb4_nopad_bin", "latin1_swedish_ci"),
		"table items: column region is blob, region needs varchar":                                                     replaced(itemMaria, "region VARBINARY(255)", "region BLOB"),
		"table items: column region is uuid, region needs varchar, or set Column.As to UUID":                           replaced(itemMaria, "region VARBINARY(255)", "region UUID"),
		"table items: column stage is datetime, stage needs varchar":                                                   replaced(itemMaria, "stage VARBINARY(255)", "stage DATETIME(6)"),
		"table items: column flag is bit(2), flag needs tinyint":                                                       replaced(itemMaria, "flag BOOLEAN", "flag BIT(2)"),
		"table items: column tenant may be NULL, but the tenant is required":                                           replaced(itemMaria, "nopad_bin NOT NULL", "nopad_bin"),
	}
	for name, cases := range map[testdb.Name]map[string]string{testdb.PostgresC: postgres, testdb.PostgresICU: postgres, testdb.MariaDB: maria} {
		t.Run(string(name), func(t *testing.T) {
			for want, ddl := range cases {
				db := testdb.New(t, name).Open(t)
				for statement := range strings.SplitSeq(ddl, "; ") {
					_, err := db.ExecContext(t.Context(), statement)
					require.NoError(t, err)
				}
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				err = policy.CheckSchema(t.Context(), tx)
				require.NoError(t, tx.Rollback(), "the check leaves a transaction as it was")
				if want == "" {
					require.NoError(t, err)
					continue
				}
				var different *accesscontrol.SchemaError
				require.ErrorAs(t, err, &different)
				require.Equal(t, []string{want}, different.Problems)
			}
		})
	}
}
