package jobs_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
)

// What a job left names the first row and the remedy, and all reasons stand behind it.
func TestWhatIsLeftNamesItsReasons(t *testing.T) {
	refused := &jobs.RefusedError{Count: 3, Rows: []jobs.Refused{
		{Table: "cards", Key: "c4", Err: fs.ErrPermission}, {Table: "cards", Key: "c5", Err: keyring.ErrDefinition},
	}}
	require.ErrorIs(t, refused, fs.ErrPermission)
	require.ErrorIs(t, refused, keyring.ErrDefinition)
	require.NotErrorIs(t, refused, keyring.ErrOpen)
	require.EqualError(t, refused, "encryption: the database refuses to change 3 rows of cards, the first with the key c4: permission denied")
	require.EqualError(t, &jobs.RefusedError{Count: 2}, "encryption: the database refuses to change 2 rows")

	why := errors.New("the key store is away")
	half := &jobs.RedactedError{Old: "r:1", Err: why}
	require.ErrorIs(t, half, why)
	require.ErrorContains(t, half, "EraseRecord")
	require.NotContains(t, half.Error(), "r:1")

	elsewhere := &jobs.NotSearchedError{Tables: []string{"people", "crm.visits"}}
	require.ErrorIs(t, elsewhere, keyring.ErrDefinition)
	require.ErrorContains(t, elsewhere, "table people, table crm.visits")
}
