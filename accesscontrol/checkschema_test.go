package accesscontrol_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

func TestCheckSchema(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), itemConfig(""))
	require.NoError(t, err)
	require.NoError(t, policy.CheckSchema(t.Context(), openDB(t, itemDDL)))
	for want, ddl := range map[string]string{
		"table items: does not exist":                                                                    "CREATE TABLE other (id TEXT)",
		"table items: is a view, whose columns cannot be checked":                                        itemDDL + " ; ALTER TABLE items RENAME TO base; CREATE VIEW items AS SELECT * FROM base",
		"table items: is not STRICT, so a column may hold values of any type: make it anew as STRICT":    strings.Replace(itemDDL, ") STRICT", ")", 1),
		"table items: column stage may be NULL, but stage is required":                                   strings.Replace(itemDDL, "stage TEXT NOT NULL", "stage TEXT", 1),
		"table items: column score is NOT NULL, but score is optional":                                   strings.Replace(itemDDL, "score INTEGER", "score INTEGER NOT NULL", 1),
		"table items: column tenant may be NULL, but the tenant is required":                             strings.Replace(itemDDL, "tenant TEXT NOT NULL", "tenant TEXT", 1),
		"table items: column amount is TEXT, amount needs INTEGER":                                       strings.Replace(itemDDL, "amount INTEGER", "amount TEXT", 1),
		"table items: column flag is REAL, flag needs INTEGER":                                           strings.Replace(itemDDL, "flag INTEGER", "flag REAL", 1),
		"table items: column owner is INTEGER, owner needs TEXT, or set Column.As to Integer":            strings.Replace(itemDDL, "owner TEXT", "owner INTEGER", 1),
		"table items: column id is INTEGER, the key needs TEXT, or set Table.KeyAs to Integer":           strings.Replace(itemDDL, "id TEXT", "id INTEGER", 1),
		"table items: column tenant is INTEGER, the tenant needs TEXT, or set Table.TenantAs to Integer": strings.Replace(itemDDL, "tenant TEXT", "tenant INTEGER", 1),
		"table items: column blocked does not exist":                                                     strings.Replace(itemDDL, "blocked INTEGER", "blockt INTEGER", 1),
		"table items: column secret does not exist":                                                      strings.Replace(itemDDL, "secret BLOB,", "", 1),
	} {
		err := policy.CheckSchema(t.Context(), openDB(t, ddl))
		require.ErrorIs(t, err, accesscontrol.ErrSchema)
		var different *accesscontrol.SchemaError
		require.ErrorAs(t, err, &different)
		if strings.Contains(want, "STRICT") {
			require.Contains(t, different.Problems, want)
		} else {
			require.Equal(t, []string{want}, different.Problems)
		}
	}

	db := openDB(t, itemDDL)
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, policy.CheckSchema(t.Context(), tx), "inside a caller's transaction no other connection is used")
	require.NoError(t, tx.Rollback())
	require.ErrorIs(t, policy.CheckSchema(t.Context(), elsewhere{db}), errors.ErrUnsupported)
}

// elsewhere answers, and names no version that is known here.
type elsewhere struct{ db *sql.DB }

func (e elsewhere) QueryContext(ctx context.Context, query string, _ ...any) (*sql.Rows, error) {
	if query == "SELECT 1" {
		return e.db.QueryContext(ctx, query)
	}
	return nil, errors.New("no such function: sqlite_version")
}

// What CheckSchema is for: with a column that became nullable, the filter and
// the checks would part. Checks refuse such a record.
func TestDriftIsNamed(t *testing.T) {
	db := openDB(t, strings.Replace(itemDDL, "stage TEXT NOT NULL", "stage TEXT", 1))
	policy, err := accesscontrol.Load(t.Context(), itemConfig(`@id("p") permit (principal, action, resource) when { resource.stage != "x" || resource.flag };`))
	require.NoError(t, err)
	require.ErrorIs(t, policy.CheckSchema(t.Context(), db), accesscontrol.ErrSchema)
	err = policy.Check(t.Context(), itemPrincipals()[0], "read", accesscontrol.Resource{
		Type: "item", ID: "i", Tenant: "main", Attrs: map[string]any{"owner": "ann", "stage": nil, "amount": 1, "flag": true},
	})
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	require.ErrorContains(t, err, "stage: required attribute is missing")
}

// A flag that is neither 0 nor 1 denies on both sides, also under a forbid.
func TestFlagThatIsNoFlagDenies(t *testing.T) {
	db := openDB(t, itemDDL)
	_, err := db.ExecContext(t.Context(), "INSERT INTO items (id, tenant, owner, stage, amount, flag) VALUES ('i', 'main', 'ann', 's', 1, 2)")
	require.NoError(t, err)
	records, err := items(t.Context(), db)
	require.NoError(t, err)
	for _, text := range []string{
		`@id("p") permit (principal, action, resource) when { resource.flag };`,
		`@id("p") permit (principal, action, resource) when { !resource.flag };`,
		`@id("p") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { resource.flag };`,
		`@id("p") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { resource.flag == false };`,
	} {
		policy, err := accesscontrol.Load(t.Context(), itemConfig(text))
		require.NoError(t, err)
		require.Error(t, policy.Check(t.Context(), itemPrincipals()[0], "read", records[0]))
		where, err := policy.Filter(t.Context(), itemPrincipals()[0], "read", "item")
		require.NoError(t, err)
		ids, err := selected(t.Context(), db, "items", where)
		require.NoError(t, err)
		require.Empty(t, ids, text)
	}
}
