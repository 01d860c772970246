package sqlkeys_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An asynchronous standby that lags takes over from a primary that was killed.
// The keys of rows that an application has committed elsewhere are lost with it.
// The process that has them goes over to the new primary with its pool, notices,
// seals and opens nothing, and writes them back; who opens afresh reads all rows.
func TestKeysThatAFailoverLostAreWrittenBackFromMemory(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	d := primary.New(t)
	require.NoError(t, sqlkeys.Install(t.Context(), d.Open(t)))
	standby := primary.Standby(t)
	handle := standby.Before(d).Open(t)
	handle.SetMaxIdleConns(0)
	store, err := sqlkeys.Open(t.Context(), handle)
	require.NoError(t, err)
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	cfg := encryption.Config{Keys: store, Now: func() time.Time { return now }, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
		return insecurekeys.KEK(make([]byte, 32))
	}}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email"}}}
	contacts, err := vault.Table(def)
	require.NoError(t, err)
	cells := map[string][]byte{} // the application's database, which nothing happens to
	seal := func(person string) {
		w, err := contacts.Writer(t.Context(), "main", person)
		require.NoError(t, err)
		cells[person], err = w.Seal("email", []byte(person+"@b.example"))
		require.NoError(t, err)
	}
	seal("before")
	standby.Follow(t, d)
	disconnect(t, standby.Admin(t))
	_, err = vault.NewKeyVersion(t.Context(), "main")
	require.NoError(t, err)
	for i := range 20 {
		seal(fmt.Sprint("p", i))
	}
	primary.Kill(t)
	primary.Stop(t) // for good
	admin := standby.Admin(t)
	var promoted bool
	require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT pg_promote(true, 60)`).Scan(&promoted))
	require.True(t, promoted)

	now = now.Add(encryption.DefaultLease)
	opens := func(vault *encryption.Vault, person string) error {
		table, err := vault.Table(def)
		require.NoError(t, err)
		r, err := table.Reader(t.Context(), "main", person)
		if err != nil {
			return err
		}
		text, err := r.Row(person, "").Text(t.Context(), "email", cells[person])
		if err == nil {
			require.Equal(t, person+"@b.example", text)
		}
		return err
	}
	require.ErrorIs(t, opens(vault, "p1"), encryption.ErrRewound)
	_, err = contacts.Writer(t.Context(), "main", "p1")
	require.ErrorIs(t, err, encryption.ErrRewound)
	fresh, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, opens(fresh, "before"))
	require.ErrorIs(t, opens(fresh, "p1"), encryption.ErrNoKey)

	report, err := vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{KeyVersions: 1, Owners: 20, Keys: 20}, report)
	fresh, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	for person := range cells {
		require.NoError(t, opens(fresh, person), person)
	}
	report, err = vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.Rows())
}

// disconnect makes the standby receive no more, and waits until it does not.
func disconnect(t *testing.T, admin *sql.DB) {
	t.Helper()
	for _, query := range []string{`ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`} {
		_, err := admin.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for receiving := 1; receiving > 0; time.Sleep(10 * time.Millisecond) {
		require.NoError(t, admin.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&receiving))
	}
}
