package accesscontroltest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/accesscontroltest"
)

// The tests of the CRM's policy, from files: integers keep all their digits.
func TestPoliciesFromFiles(t *testing.T) {
	texts := map[string]string{}
	for _, name := range []string{"crm.cedar", "crm.cedarschema"} {
		text, err := os.ReadFile("../testdata/" + name)
		require.NoError(t, err)
		texts[name] = string(text)
	}
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{Texts: texts, Tables: []accesscontrol.Table{
		{Resource: "contact", Entity: "Contact"}, {Resource: "deal", Entity: "Deal"},
	}})
	require.NoError(t, err)
	ran := 0
	t.Run("files", func(t *testing.T) {
		accesscontroltest.Run(t, policy, os.DirFS("testdata/tests"))
		ran++
	})
	require.Equal(t, 1, ran, "a file that is refused ends the subtest")
}
