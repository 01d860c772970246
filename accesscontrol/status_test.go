package accesscontrol_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// found is the one finding of that name and subject.
func found(t *testing.T, policy *accesscontrol.Policy, name, subject string) accesscontrol.Finding {
	t.Helper()
	findings, err := policy.Status(t.Context())
	require.NoError(t, err)
	var out []accesscontrol.Finding
	for _, f := range findings {
		require.Equal(t, f.Level == accesscontrol.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		if f.Name == name && f.Subject == subject {
			out = append(out, f)
		}
	}
	require.Len(t, out, 1, "%s %q", name, subject)
	return out[0]
}

func TestASoundPolicySaysWhatItLookedAt(t *testing.T) {
	before := time.Now()
	policy := loadCRM(t)
	require.NoError(t, policy.CheckSchema(t.Context(), openDB(t, crmDDL)))
	findings, err := policy.Status(t.Context())
	require.NoError(t, err)
	levels := map[string]accesscontrol.Finding{}
	for _, f := range findings {
		require.Equal(t, accesscontrol.HealthOK, f.Level, f)
		levels[f.Name] = f
	}
	require.Len(t, levels, 5)
	require.Equal(t, policy.Hash(), levels["accesscontrol.policy"].Subject)
	require.Positive(t, levels["accesscontrol.policy"].Value)
	require.False(t, levels["accesscontrol.policy"].Since.Before(before))
	require.EqualValues(t, 2, levels["accesscontrol.schema"].Value)
	_, err = new(accesscontrol.Policy).Status(t.Context())
	require.ErrorIs(t, err, accesscontrol.ErrNotLoaded)
}

func TestARefusedReloadIsFoundUntilOneSucceeds(t *testing.T) {
	policy := loadCRM(t)
	old := policy.Hash()
	config := crmConfig()
	config.Texts["added.cedar"] = `@id("broken") permit (principal, action, resource) when { resource.stage == 1 };`
	for range 2 {
		require.ErrorIs(t, policy.Reload(t.Context(), config), accesscontrol.ErrPolicy)
	}
	f := found(t, policy, "accesscontrol.reload.refused", "")
	require.Equal(t, accesscontrol.HealthAlarm, f.Level)
	require.EqualValues(t, 2, f.Value)
	require.False(t, f.Since.IsZero())
	found(t, policy, "accesscontrol.policy", old)
	require.NoError(t, policy.Reload(t.Context(), crmConfig()))
	require.Equal(t, accesscontrol.HealthOK, found(t, policy, "accesscontrol.reload.refused", "").Level)
}

func TestTablesThatDifferAreFoundUntilTheyFit(t *testing.T) {
	policy := loadCRM(t)
	level := func() int { return int(found(t, policy, "accesscontrol.schema", "").Level) }
	require.Equal(t, 1, level(), "nobody has looked yet")
	db := openDB(t, strings.Replace(crmDDL, "owner TEXT NOT NULL", "owner TEXT", 1))
	require.ErrorIs(t, policy.CheckSchema(t.Context(), db), accesscontrol.ErrSchema)
	require.Equal(t, 2, level())
	require.NoError(t, policy.CheckSchema(t.Context(), openDB(t, crmDDL)))
	require.Equal(t, 0, level())
	require.NoError(t, policy.Reload(t.Context(), crmConfig()))
	require.Equal(t, 1, level(), "another set may bind other tables")
}

func TestWhatNobodyMayAskAndNobodyMayDoIsFound(t *testing.T) {
	policy := loadCRM(t)
	config := crmConfig()
	for name, body := range config.Texts {
		if strings.HasSuffix(name, "schema") {
			config.Texts[name] = body + "\nentity Memo; action \"memo.read\" appliesTo { principal: User, resource: Memo };\n"
		}
	}
	require.NoError(t, policy.Reload(t.Context(), config))
	require.Equal(t, accesscontrol.HealthNotice, found(t, policy, "accesscontrol.types.unbound", "Memo").Level)
	require.EqualValues(t, 1, found(t, policy, "accesscontrol.types.unbound", "").Value)
	config.Tables = append(config.Tables, accesscontrol.Table{Resource: "memo", Entity: "Memo", Read: "memo.read"})
	config.Texts["crm.cedar"] = `@id("deals") permit (principal, action == Action::"deal.read", resource);`
	require.NoError(t, policy.Reload(t.Context(), config))
	require.Equal(t, accesscontrol.HealthOK, found(t, policy, "accesscontrol.types.unbound", "").Level)
	for _, action := range []string{"memo.read", "contact.read.pii"} {
		require.Equal(t, accesscontrol.HealthNotice, found(t, policy, "accesscontrol.actions.unpermitted", action).Level)
	}
	require.NoError(t, policy.Reload(t.Context(), staffConfig().Replaced(`@id("r") permit (principal, action == Action::"employee.read", resource);`)))
	for _, action := range []string{"contact.mask", "contact.edit"} {
		require.Equal(t, accesscontrol.HealthNotice, found(t, policy, "accesscontrol.actions.unpermitted", action).Level)
	}
	config.Texts["more.cedar"] = `@id("all") permit (principal, action, resource);`
	require.NoError(t, policy.Reload(t.Context(), config))
	require.Equal(t, accesscontrol.HealthOK, found(t, policy, "accesscontrol.actions.unpermitted", "").Level)
}

// Policies may name people; findings do not.
func TestFindingsOfAPolicyHoldNoPerson(t *testing.T) {
	policy := loadCRM(t)
	config := crmConfig()
	config.Texts["ann.cedar"] = `@id("one") permit (principal == User::"secret@crm.example", action == Action::"contact.read", resource) when { resource.nope };`
	require.Error(t, policy.Reload(t.Context(), config))
	findings, err := policy.Status(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(findings)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
}
