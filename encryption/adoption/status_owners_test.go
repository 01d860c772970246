package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What a Backfill has found of other owners is an alarm where sealed values are read
// or will be, and none after the way back, where nothing could end it.
func TestOwnersAreNoAlarmAfterTheWayBack(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite), contactsDef, emailColumn, contactsSQL)
	e.to(t, adoption.WriteBoth)
	w, err := e.a.Writer(t.Context(), tenant, "p2")
	require.NoError(t, err)
	e.exec(t, `INSERT INTO contacts (id, person, email, email_sealed, email_sealed_idx) VALUES (?, ?, ?, ?, ?)`, "1", "p1",
		w.Plain("email", "a@b.example"), w.Text("email", "a@b.example"), w.Int64("email_sealed_idx", "a@b.example"))
	require.EqualValues(t, 1, e.backfill(t).Owners)
	level := func() string {
		t.Helper()
		found, err := e.process(t).Status(t.Context(), tenant) // which has met none itself
		require.NoError(t, err)
		for _, f := range found {
			if f.Name == "encryption.adoption.owners" {
				return f.Level.String()
			}
		}
		require.Fail(t, "no finding of owners")
		return ""
	}
	require.Equal(t, encryption.HealthAlarm.String(), level())
	e.move(t, adoption.Plain, adoption.MoveOptions{})
	require.Equal(t, encryption.HealthOK.String(), level())
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	require.Equal(t, encryption.HealthOK.String(), level(), "no Backfill has looked since")
}
