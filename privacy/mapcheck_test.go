package privacy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

// A table that nobody has mapped may hold anything about the person: nothing is
// begun, and nothing certified, until the map knows it.
func TestATableThatNobodyMappedIsNotCertified(t *testing.T) {
	s := newSystem(t)
	p := s.approved(s.contact("ann@a.example"))
	s.exec(`CREATE TABLE newsletter (email TEXT)`)
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrUnmapped)
	require.ErrorIs(t, err, liveschema.ErrUnfit)
	require.ErrorContains(t, err, "newsletter")
	require.Equal(t, "approved", s.state(p.ID))
	s.exec(`DROP TABLE newsletter`)
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.NotEqual(t, privacy.Partial, o.State)
}

// Personal data without a purpose or a legal basis is no more certified.
func TestAColumnWithoutALegalBasisIsNotCertified(t *testing.T) {
	s := newSystem(t)
	m := dataMap()
	for i, table := range m.Tables {
		if table.Name == "invoices" {
			m.Tables[i].Columns[1].Basis = ""
		}
	}
	s.openWith(m)
	_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("ann@a.example"), Reason: "gdpr-17", By: "user/1"})
	require.ErrorIs(t, err, privacy.ErrUnmapped, "not a day later, when it is to be executed")
	require.ErrorContains(t, err, "no legal basis invoices.")
}
