package adoption_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What a process has met is a finding as long as the table holds its cause, and its
// remedy ends it: Backfill that of values in the clear, Clear and the way back those of
// values that differ.
func TestWhatWasMetEndsWithItsCause(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite), contactsDef, emailColumn, contactsSQL)
	finding := func(name string) encryption.Finding {
		t.Helper()
		all, err := e.a.Status(t.Context(), tenant)
		require.NoError(t, err)
		for _, f := range all {
			if f.Name == "encryption.adoption."+name {
				return f
			}
		}
		require.Fail(t, "no such finding", name)
		return encryption.Finding{}
	}
	is := func(name string, level string, value int) encryption.Finding {
		t.Helper()
		f := finding(name)
		require.Equal(t, fmt.Sprintf("%s %d", level, value), fmt.Sprintf("%s %.0f", f.Level, f.Value), "%+v", f)
		require.Equal(t, level == "ok", f.Remedy == "")
		return f
	}
	e.to(t, adoption.ReadSealed)
	e.old(t, "1", "p1", "ann@b.example")
	e.read(t, e.a)
	require.Contains(t, is("fallbacks", "notice", 1).Remedy, "1 rows stand so now: call Backfill")
	e.backfill(t)
	is("fallbacks", "ok", 1)
	e.old(t, "2", "p2", "bob@b.example")
	is("fallbacks", "notice", 1)
	e.exec(t, `UPDATE contacts SET email_sealed = (SELECT email_sealed FROM contacts WHERE id = '1'), person = 'p1' WHERE id = '2'`) // of one owner, and another value
	e.read(t, e.a)
	is("mismatches", "alarm", 1)
	e.backfill(t)
	e.backfill(t)
	is("mismatches", "alarm", 1)
	e.move(t, adoption.SealedOnly, gone)
	is("mismatches", "alarm", 1)
	require.True(t, e.clear(t).Clean)
	is("mismatches", "ok", 1)
	is("fallbacks", "ok", 1)
	for _, to := range []adoption.Stage{adoption.ReadSealed, adoption.WriteBoth, adoption.Plain} {
		e.move(t, to, adoption.MoveOptions{Accept: 2})
	}
	is("mismatches", "ok", 1)
}
