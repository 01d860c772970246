package privacy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// Whoever may write the tables cannot hide a plan from the passes by the state in its
// row: it is carried out all the same, and somebody is told.
func TestAStateThatSomebodyHasWritten(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		for _, state := range []string{"done", "cancelled", "void", "certified", "planned", "left", "garbage"} {
			ann := s.contact("ann@a.example")
			p := s.approved(ann)
			s.requireLevel(well, "privacy.plans.forged")
			s.exec(`UPDATE crmguard_privacy_plan SET state = ? WHERE id = ?`, state, p.ID)
			s.requireLevel(alarm, "privacy.plans.forged")
			findings, err := s.desk.RunOnce(t.Context())
			require.NoError(t, err)
			told := false
			for _, f := range findings {
				told = told || f.Subject == p.ID && f.Level == privacy.HealthAlarm
			}
			require.True(t, told, state)
			require.Equal(t, "done", s.state(p.ID), state)
			require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann), state)
		}
		s.requireLevel(well, "privacy.plans.forged")
		s.exec(`UPDATE crmguard_privacy_plan SET state = 'planned'`) // which were done
		s.requireLevel(alarm, "privacy.plans.forged")
		s.passes("")
		s.requireLevel(well, "privacy.plans.forged")
		require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE state <> 'done'`))

		carl := s.contact("carl@c.example") // nobody has approved it
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: carl, Reason: "r", By: "user/1"})
		require.NoError(t, err)
		s.exec(`UPDATE crmguard_privacy_plan SET state = 'approved' WHERE id = ?`, p.ID)
		require.Equal(t, privacy.HealthAlarm, s.passes(p.ID).Level)
		_, err = s.desk.Execute(t.Context(), p.ID)
		require.ErrorIs(t, err, privacy.ErrNotApproved)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, carl))

		for column := range map[string]any{"body": nil, "approval": nil} { // with the rest of the row gone it cannot be carried out
			bob := s.approved(s.contact("bob@b.example"))
			s.exec(`UPDATE crmguard_privacy_plan SET state = 'cancelled', `+column+` = NULL WHERE id = ?`, bob.ID)
			require.Equal(t, privacy.HealthAlarm, s.passes(bob.ID).Level)
			s.requireLevel(alarm, "privacy.plans.forged")
		}
	})
}

// Nor one that has begun, whatever its row says: the ledger knows it.
func TestAStateOfAnErasureThatHasBegun(t *testing.T) {
	s := quick(t)
	for _, state := range []string{"done", "cancelled", "void"} {
		ann := s.contact("ann@a.example")
		p := s.approved(ann)
		s.keys.broken = true
		s.isPartial(p.ID)
		s.keys.broken = false
		s.exec(`UPDATE crmguard_privacy_plan SET state = ? WHERE id = ?`, state, p.ID)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
		s.requireLevel(alarm, "privacy.plans.forged")
		_, err := s.desk.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, "done", s.state(p.ID))
		require.Nil(t, s.keys.keys[ann])
		require.NoError(t, s.desk.Ready(t.Context()))
	}
}
