package audit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What the database refuses is not the fault of the folder.
func TestAFaultOfTheDatabaseIsNamed(t *testing.T) {
	f := faultFinding(Finding{}, fmt.Errorf("audit: read: %w", sqldb.Safe(coded{"57P01"})))
	require.Equal(t, HealthAlarm, f.Level)
	require.Contains(t, f.Remedy, "the database cannot be read")
}
