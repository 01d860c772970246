package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// A field that holds the id of another person is about that person, so that it goes
// when they are erased: the one who was there, and the one who is.
func TestAFieldThatIsAPersonsIDIsAboutThem(t *testing.T) {
	type deal struct {
		Amount    int64
		ContactID string
	}
	d := differ[deal](t, audit.Shape{Show: []string{"amount", "contact_id"}, Who: map[string]string{"contact_id": "contact_id"}})
	require.Equal(t, []audit.Change{
		{Path: "contact_id", Who: "p1", Old: "p1", New: audit.Absent{}},
		{Path: "contact_id", Who: "p2", Old: audit.Absent{}, New: "p2"},
	}, d.Of("", &deal{Amount: 5, ContactID: "p1"}, &deal{Amount: 5, ContactID: "p2"}))
}
