package encryption_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// rotatedSince is a loss that only bringing a key version back by its number mends:
// that of a copy may have been meant to go.
const rotatedSince = "a key version, and something was rotated since the copy"

// twoSearched is an installation of two key versions, whose p1 has a key of the older
// one only, and of two contacts, with index values or without.
func twoSearched(t *testing.T, conns int, def encryption.Table, indexed bool) (e *env, people *encryption.SealedTable) {
	t.Helper()
	e = newEnv(t, conns)
	people = e.table(t, e.vault, def)
	require.NoError(t, insertMail(t, e.db, people, "c1", "p1", indexed))
	_, err := e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.NoError(t, insertMail(t, e.db, people, "c2", "p2", indexed))
	return e, people
}

// copied is a key copy, behind which something is rotated where that is what is lost.
func (e *env) copied(t *testing.T, dir, loss string) (path string) {
	t.Helper()
	whole, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	if loss == rotatedSince {
		_, err = e.vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
	}
	return whole.Path
}

// requireFound shows that a search of a process that has just begun finds a row.
func requireFound(t *testing.T, e *env, person string) {
	t.Helper()
	n, err := findMail(t, e.db, e.table(t, e.another(t), after()), person)
	require.NoError(t, err)
	require.Equal(t, 1, n, "the search missed in silence")
}

// What a key copy says of an index is of before: a Rebuild meanwhile may have taken
// index values away, or the rows may have come out of a snapshot without them.
func TestAnIndexIsNotSearchedBecauseACopyHasIt(t *testing.T) {
	for name, c := range map[string]struct{ damage, rows string }{
		"a key version that seemed destroyed": {damage: `UPDATE crmguard_encryption_generation SET state = 'destroyed' WHERE state = 'retired'`},
		"a key, and rows of a snapshot":       {`DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`, `UPDATE contacts SET email_idx = NULL`},
		"an owner, and rows of a snapshot":    {`DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`, `UPDATE contacts SET email_idx = NULL`},
		"an older wrap keyset, and the same":  {`older`, `UPDATE contacts SET email_idx = NULL`},
		rotatedSince:                          {`DELETE FROM crmguard_encryption_generation WHERE state = 'retired'`, `UPDATE contacts SET email_idx = NULL`},
		"all owners, and rows of a snapshot":  {`DELETE FROM crmguard_encryption_owner WHERE owner <> 't:'`, `UPDATE contacts SET email_idx = NULL`},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := twoSearched(t, 1, after(), true)
			dir := t.TempDir()
			damage := c.damage
			var args []any
			if damage == "older" {
				var wrapped []byte
				var version int64
				require.NoError(t, e.keysDB.QueryRowContext(t.Context(), `SELECT wrapped, version FROM crmguard_encryption_keyset WHERE tenant = ? AND purpose = 'branch'`, tenant).Scan(&wrapped, &version))
				damage, args = `UPDATE crmguard_encryption_keyset SET wrapped = ?, version = ?, kek = 'kek-1' WHERE tenant = ? AND purpose = 'branch'`, []any{wrapped, version, tenant}
				_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
				require.NoError(t, err)
			}
			whole := e.copied(t, dir, name)
			e.spoil(t, damage, args...)
			if c.rows != "" {
				_, err := e.db.ExecContext(t.Context(), c.rows)
				require.NoError(t, err)
			}
			_, rebuilt := e.table(t, e.another(t), after()).Rebuild(t.Context(), e.db, tenant) // and shows nothing of what it cannot open
			report, err := e.another(t).RepairFromCopy(t.Context(), whole)
			require.NoError(t, err)
			require.NotZero(t, report.Rows())
			require.Equal(t, 2, report.Fenced, "that of the other table, too; the Rebuild said %v", rebuilt)
			requireUnsearched(t, e, e.another(t), "p1")
		})
	}
}

// A Rebuild that passes over what does not open does not call the index whole when it
// opens again before the end: whoever brings the keys back may find the index fenced,
// and has nothing to change there.
func TestKeysThatComeBackDuringARebuildAreWaitedFor(t *testing.T) {
	for name, damage := range map[string]string{
		"a key":         `UPDATE crmguard_encryption_key SET wrapped = zeroblob(65) WHERE owner = 'p1'`,
		"no key":        `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`,
		"an owner":      `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`,
		"a key version": `UPDATE crmguard_encryption_generation SET state = 'destroyed' WHERE state = 'retired'`,
		"from memory":   `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`,
		rotatedSince:    `DELETE FROM crmguard_encryption_generation WHERE state = 'retired'`,
	} {
		t.Run(name, func(t *testing.T) {
			e, old := twoSearched(t, 4, before(), false)
			whole := e.copied(t, t.TempDir(), name)
			var sealed encryption.Sealed
			require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT email FROM contacts WHERE id = 'c1'`).Scan(&sealed))
			row, err := old.Row(t.Context(), tenant, "p1", "c1")
			require.NoError(t, err)
			_, err = row.Text(t.Context(), "email", sealed.Bytes()) // so that this process has the key
			require.NoError(t, err)
			e.spoil(t, damage)
			cfg := e.cfg
			passes := 0
			cfg.Observe = func(_ context.Context, what string, _ float64, _ ...slog.Attr) {
				if what != "encryption.index.rows" {
					return
				}
				if passes++; passes != 2 { // the pass that finds nothing to correct
					return
				}
				back := 0
				if name == "from memory" {
					report, err := e.vault.RepairFromCaches(context.Background())
					require.NoError(t, err)
					back = report.Rows()
				} else {
					report, err := e.another(t).RepairFromCopy(context.Background(), whole)
					require.NoError(t, err)
					back = report.Rows()
				}
				require.NotZero(t, back)
			}
			v, err := encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			people := e.table(t, v, after())
			require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
			report, err := people.Rebuild(t.Context(), e.db, tenant)
			require.NoError(t, err)
			require.Zero(t, report.Unreadable, "all rows open by then")
			require.Equal(t, 2, report.Corrected)
			require.Greater(t, passes, 2)
			requireFound(t, e, "p1")
		})
	}
}

// A Rebuild that begins after the keys came back does not go by what it read before,
// however young that is.
func TestARebuildDoesNotGoByWhatItReadBeforeTheKeysCameBack(t *testing.T) {
	e, _ := twoSearched(t, 4, after(), true)
	whole := e.copied(t, t.TempDir(), "")
	e.spoil(t, `UPDATE crmguard_encryption_generation SET state = 'destroyed' WHERE state = 'retired'`)
	v := e.another(t)
	there := e.table(t, v, after())
	require.NoError(t, there.RebuildIndexes(e.db, tenant)(t.Context())) // and has the damage in memory
	_, err := e.another(t).RepairFromCopy(t.Context(), whole)
	require.NoError(t, err)
	require.NoError(t, there.RebuildIndexes(e.db, tenant)(t.Context()))
	requireFound(t, e, "p1")
}

// An index that one Rebuild has shown whole, and a repair has taken out of the search
// again, is not put back by another Rebuild that began before.
func TestARebuildThatBeganBeforeTwoOthersPromotesNothing(t *testing.T) {
	e := newEnv(t, 4)
	old := e.table(t, e.vault, before())
	require.NoError(t, insertMail(t, e.db, old, "c1", "p1", false))
	require.NoError(t, insertMail(t, e.db, old, "c2", "p2", false))
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`)
	require.NoError(t, e.table(t, e.another(t), after()).FenceOldWriters(t.Context(), tenant))
	cfg := e.cfg
	passes := 0
	cfg.Observe = func(_ context.Context, what string, _ float64, _ ...slog.Attr) {
		if what != "encryption.index.rows" {
			return
		}
		if passes++; passes != 2 { // the pass that finds nothing to correct
			return
		}
		require.NoError(t, e.table(t, e.another(t), after()).RebuildIndexes(e.db, tenant)(context.Background()))
		report, err := e.another(t).RepairFromCopy(context.Background(), whole.Path)
		require.NoError(t, err)
		require.Equal(t, 2, report.Fenced, "that of the other table, too")
	}
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, e.table(t, v, after()).RebuildIndexes(e.db, tenant)(t.Context()))
	requireFound(t, e, "p1")
}
