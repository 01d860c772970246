package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The log of a standby is that of some time ago: what is compared with the
// published one must be the primary's.
func TestAStandbyIsNoDatabaseOfATrail(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	d := primary.New(t)
	require.NoError(t, sqltrail.Install(t.Context(), d.Open(t)))
	standby := primary.Standby(t)
	here := standby.Follow(t, d)
	for _, driver := range d.Name.Drivers() {
		_, err := sqltrail.Open(t.Context(), d.OpenWith(t, driver))
		require.NoError(t, err)
		_, err = sqltrail.Open(t.Context(), here.OpenWith(t, driver))
		require.ErrorIs(t, err, sqltrail.ErrStandby)
		require.ErrorIs(t, sqltrail.Install(t.Context(), here.OpenWith(t, driver)), sqltrail.ErrStandby)
	}
}
