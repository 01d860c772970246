package roles_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// The actions of masks and of changes of fields are ones that a table names, as
// those of reading are: roles may name them, whatever they are called.
func TestActionsOfFieldsAreAboutTheirTable(t *testing.T) {
	model := crm()
	table := &model.Tables[0]
	table.Columns[5].Mask = accesscontrol.MaskAll
	table.Groups[0].Masked, table.Groups[0].Update = "price.mask", "price.set"
	model.Roles["rep"] = roles.Can("deal.read", "price.mask").Own("owner_id")
	set, err := roles.New(model)
	require.NoError(t, err)
	_, err = accesscontrol.Load(t.Context(), set.Config())
	require.NoError(t, err)
}
