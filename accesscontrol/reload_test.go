package accesscontrol_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

func TestPolicyAddedAtRunTimeChangesBothSidesAlike(t *testing.T) {
	db := openDB(t, crmDDL)
	policy := loadCRM(t)
	ann := crmPeople()["sales"]
	seen := func() (byCheck, byFilter []string) {
		all, err := contacts(t.Context(), db)
		require.NoError(t, err)
		for _, r := range all {
			if policy.Check(t.Context(), ann, "contact.read", r) == nil {
				byCheck = append(byCheck, r.ID)
			}
		}
		where, err := policy.Filter(t.Context(), ann, "contact.read", "contact")
		require.NoError(t, err)
		byFilter, err = selected(t.Context(), db, "contacts", where)
		require.NoError(t, err)
		return byCheck, byFilter
	}
	byCheck, byFilter := seen()
	require.Equal(t, []string{"c1", "c2"}, byCheck)
	require.Equal(t, byCheck, byFilter)
	old := policy.Hash()

	config := crmConfig()
	config.Texts["added.cedar"] = `
@id("added-permit") permit (principal in Role::"sales", action == Action::"contact.read", resource is Contact) when { resource has language && resource.language == "zh" };
@id("added-forbid") forbid (principal, action, resource is Contact) when { resource.owner != principal && resource has account };`
	require.NoError(t, policy.Reload(t.Context(), config))
	byCheck, byFilter = seen()
	require.Equal(t, []string{"c1", "c3"}, byCheck)
	require.Equal(t, byCheck, byFilter)
	require.NotEqual(t, old, policy.Hash())
	added := policy.Hash()

	config.Texts["added.cedar"] += ` @id("broken") permit (principal, action, resource) when { resource.stage == 1 };`
	require.ErrorIs(t, policy.Reload(t.Context(), config), accesscontrol.ErrPolicy)
	require.Equal(t, added, policy.Hash(), "a refused set changes nothing")
	byCheck, byFilter = seen()
	require.Equal(t, []string{"c1", "c3"}, byCheck)
	require.Equal(t, byCheck, byFilter)
}

func TestHashNamesTextsAndNotFiles(t *testing.T) {
	hash := func(change func(texts map[string]string)) string {
		config := crmConfig()
		change(config.Texts)
		policy, err := accesscontrol.Load(t.Context(), config)
		require.NoError(t, err)
		return policy.Hash()
	}
	same := hash(func(map[string]string) {})
	require.Regexp(t, "^[0-9a-f]{64}$", same)
	require.Equal(t, same, hash(func(texts map[string]string) {
		texts["moved.cedar"] = texts["crm.cedar"]
		delete(texts, "crm.cedar")
	}))
	require.NotEqual(t, same, hash(func(texts map[string]string) {
		texts["crm.cedar"] = strings.Replace(texts["crm.cedar"], "resource.amount <= principal.limit", "resource.amount < principal.limit", 1)
	}))
	require.NotEqual(t, same, hash(func(texts map[string]string) { texts["empty.cedar"] = "" }))
	// ("ab", "c") and ("a", "bc"): texts do not run together.
	require.NotEqual(t,
		hash(func(texts map[string]string) { texts["x.cedar"], texts["y.cedar"] = "// ab", "// c" }),
		hash(func(texts map[string]string) { texts["x.cedar"], texts["y.cedar"] = "// a", "// bc" }))
}

// Whatever the moment of a reload, an answer is that of one whole set.
func TestCheckAndFilterDuringReload(t *testing.T) {
	open := itemConfig(`@id("open") permit (principal, action, resource); @id("never") forbid (principal, action, resource) when { resource.amount == 1 };`)
	closed := itemConfig(`@id("never") forbid (principal, action, resource) when { resource.amount == 1 };`)
	policy, err := accesscontrol.Load(t.Context(), open)
	require.NoError(t, err)
	hashes := map[string]bool{policy.Hash(): true}
	require.NoError(t, policy.Reload(t.Context(), closed))
	closedHash := policy.Hash()

	principal := itemPrincipals()[0]
	record := func(amount int) accesscontrol.Resource {
		return accesscontrol.Resource{Type: "item", ID: "i", Tenant: "main", Attrs: map[string]any{"owner": "x", "stage": "s", "amount": amount, "flag": true}}
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 150 {
				d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: principal, Action: "read", Resource: record(2)})
				if err != nil || d.Allowed == (d.PolicySet == closedHash) || d.Allowed != hashes[d.PolicySet] {
					t.Errorf("a mixed answer: %v %v", d, err)
				}
				if policy.Check(t.Context(), principal, "read", record(1)) == nil {
					t.Error("a forbid of both sets did not hold")
				}
				where, err := policy.Filter(t.Context(), principal, "read", "item")
				if text, _ := where.SQLite("c"); err != nil || where.Nothing() == strings.Contains(text, "amount") {
					t.Errorf("a mixed filter: %s %v", text, err)
				}
				if _, err := policy.Fields(t.Context(), principal, record(2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 60 {
		require.NoError(t, policy.Reload(t.Context(), []accesscontrol.Config{open, closed}[i%2]))
	}
	readers.Wait()
}

func TestTwoTenantsNeverMix(t *testing.T) {
	db := openDB(t, itemDDL)
	config := itemConfig(`@id("all") permit (principal, action, resource);`)
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	var records []accesscontrol.Resource
	for i, tenant := range []string{"a", "b", "A", "a ", "' OR 1=1 --"} {
		id := string(rune('0' + i))
		_, err := db.ExecContext(t.Context(), "INSERT INTO items (id, tenant, owner, stage, amount, flag) VALUES (?, ?, 'ann', 's', 1, 1)", id, tenant)
		require.NoError(t, err)
		records = append(records, accesscontrol.Resource{Type: "item", ID: id, Tenant: tenant, Attrs: map[string]any{"owner": "ann", "stage": "s", "amount": 1, "flag": true}})
	}
	for i, own := range records {
		principal := itemPrincipals()[0]
		principal.Tenant = own.Tenant
		where, err := policy.Filter(t.Context(), principal, "read", "item")
		require.NoError(t, err)
		ids, err := selected(t.Context(), db, "items", where)
		require.NoError(t, err)
		require.Equal(t, []string{own.ID}, ids)
		for j, r := range records {
			d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: principal, Action: "read", Resource: r})
			require.NoError(t, err)
			require.Equal(t, i == j, d.Allowed)
			if i != j {
				require.Equal(t, accesscontrol.OtherTenant, d.Reason)
			}
		}
	}

	// A table of one tenant: the same, without a column.
	config.Tables[0].Tenant, config.Tables[0].OnlyTenant = "", "a"
	policy, err = accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	for tenant, want := range map[string]bool{"a": true, "b": false, "A": false} {
		principal := itemPrincipals()[0]
		principal.Tenant = tenant
		where, err := policy.Filter(t.Context(), principal, "read", "item")
		require.NoError(t, err)
		require.Equal(t, !want, where.Nothing())
		record := records[0]
		record.Tenant = tenant
		require.Equal(t, want, policy.Check(t.Context(), principal, "read", record) == nil)
		if want {
			require.Equal(t, "(1 = 1)", first(where.SQLite("c")))
		}
	}
}

// A row that a LEFT JOIN did not find has no tenant and passes no filter.
func TestLeftJoinMissPassesNothing(t *testing.T) {
	db := openDB(t, itemDDL)
	policy, err := accesscontrol.Load(t.Context(), itemConfig(`
@id("all") permit (principal, action, resource);
@id("not") forbid (principal, action, resource) when { resource.stage == "x" };`))
	require.NoError(t, err)
	where, err := policy.Filter(t.Context(), itemPrincipals()[0], "read", "item")
	require.NoError(t, err)
	text, args := where.SQLite("c")
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM (SELECT 1 AS one) LEFT JOIN items AS c ON c.id = one WHERE "+text, args...).Scan(&n))
	require.Zero(t, n)
}
