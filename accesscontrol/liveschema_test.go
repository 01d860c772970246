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

// UUIDs in columns of their own type are filtered by as the findings advise:
// by a generated column, in the spelling of the checks.
func TestUUIDsAreBoundThroughTextThatIsGenerated(t *testing.T) {
	config := itemConfig(`@id("own") permit (principal, action == Action::"read", resource) when { resource.owner == principal };`)
	config.Tables[0].Key = "id_text"
	for i := range config.Tables[0].Columns {
		if config.Tables[0].Columns[i].Attr == "owner" {
			config.Tables[0].Columns[i].Name = "owner_text"
		}
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	principal := itemPrincipals()[0]
	const ann, bob = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		db := testdb.New(t, name).Open(t)
		ddl := strings.NewReplacer("id text PRIMARY KEY", "id uuid PRIMARY KEY, id_text text GENERATED ALWAYS AS (id::text) STORED NOT NULL",
			"owner text NOT NULL", "owner uuid NOT NULL, owner_text text GENERATED ALWAYS AS (owner::text) STORED NOT NULL").Replace(itemPostgres)
		_, err := db.ExecContext(t.Context(), ddl)
		require.NoError(t, err)
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		_, err = db.ExecContext(t.Context(), `INSERT INTO items (id, tenant, owner, stage, amount, flag) VALUES ($1, 'main', $1, 'new', 1, true), ($2, 'main', $2, 'new', 1, true)`, ann, bob)
		require.NoError(t, err)
		principal.ID, principal.Tenant = ann, "main"
		where, err := policy.Filter(t.Context(), principal, "read", "item")
		require.NoError(t, err)
		condition, args := where.Postgres("", 1)
		var found string
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT string_agg(id_text, ' ') FROM items WHERE "+condition, args...).Scan(&found))
		require.Equal(t, ann, found)
	}
}

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
		"table items: is a materialized view, whose columns cannot be checked":                                              replaced(itemPostgres, "items", "base") + `; CREATE MATERIALIZED VIEW items AS SELECT * FROM base`,
		"table items: column stage may be NULL, but stage is required":                                                      replaced(itemPostgres, "stage varchar(40) NOT NULL", "stage varchar(40)"),
		"table items: column score is NOT NULL, but score is optional":                                                      replaced(itemPostgres, "score integer", "score integer NOT NULL"),
		"table items: column tenant is citext, the tenant needs text":                                                       "CREATE EXTENSION citext; " + replaced(itemPostgres, "tenant text", "tenant citext"),
		"table items: column region is character, region needs text":                                                        replaced(itemPostgres, "region text", "region char(10)"),
		"table items: column region is uuid, region needs text: bind one that is GENERATED ALWAYS AS (region::text) STORED": replaced(itemPostgres, "region text", "region uuid"),
		"table items: column region is kind, region needs text":                                                             "CREATE DOMAIN kind AS text; " + replaced(itemPostgres, "region text", "region kind"),
		"table items: column amount is numeric, amount needs bigint":                                                        replaced(itemPostgres, "amount bigint", "amount numeric(12,2)"),
		"table items: column flag is smallint, flag needs boolean":                                                          replaced(itemPostgres, "flag boolean", "flag smallint"),
		"table items: column region has a collation that is not deterministic":                                              "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); " + replaced(itemPostgres, "region text", "region text COLLATE ci"),
		"table items: column blocked does not exist":                                                                        replaced(itemPostgres, "blocked boolean, ", ""),
	}
	maria := map[string]string{
		"":                            itemMaria,
		"table items: does not exist": "CREATE TABLE other (id INT)",
		"table items: is a view, whose columns cannot be checked":                                            replaced(itemMaria, "items", "base") + "; CREATE VIEW items AS SELECT * FROM base",
		"table items: column stage may be NULL, but stage is required":                                       replaced(itemMaria, "stage VARBINARY(255) NOT NULL", "stage VARBINARY(255)"),
		"table items: column amount is decimal, amount needs bigint":                                         replaced(itemMaria, "amount BIGINT", "amount DECIMAL(12,2)"),
		"table items: column amount is bigint unsigned, amount needs bigint":                                 replaced(itemMaria, "amount BIGINT", "amount BIGINT UNSIGNED"),
		"table items: column tenant has a collation that is not utf8mb4_nopad_bin, nor the column VARBINARY": replaced(itemMaria, "utf8mb4_nopad_bin", "utf8mb4_bin"),
		"table items: column region has a collation that is not utf8mb4_nopad_bin, nor the column VARBINARY": replaced(itemMaria, "region VARBINARY(255)", "region VARCHAR(255)"),
		"table items: column region is char, region needs varchar":                                           replaced(itemMaria, "region VARBINARY(255)", "region CHAR(10)"),
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
