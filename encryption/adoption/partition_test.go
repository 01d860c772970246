package adoption_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// partitioned is a table of two partitions, more rows of the first than are tried.
func partitioned(t *testing.T, name testdb.Name) *env {
	t.Helper()
	e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, contactsSQL+` PARTITION BY RANGE (id)`)
	e.exec(t, `CREATE TABLE contacts_a PARTITION OF contacts FOR VALUES FROM ('a') TO ('b')`)
	e.exec(t, `CREATE TABLE contacts_b PARTITION OF contacts FOR VALUES FROM ('b') TO ('c')`)
	var rows []string
	for i := range 25 {
		rows = append(rows, fmt.Sprintf(`('a%02d', 'p1', 'ann%d@b.example')`, i, i))
	}
	e.exec(t, `INSERT INTO contacts (id, person, email) VALUES `+strings.Join(rows, ", ")+`, ('b1', 'p2', 'bob@b.example'), ('b2', 'p2', 'ann1@b.example')`)
	return e
}

// What one partition has alone, and the table has not, is seen beforehand, leaves by a
// statement of the partition, comes back as it was, and is kept where it is UNIQUE.
func TestWhatAPartitionHasAloneIsSeen(t *testing.T) {
	for _, one := range []struct {
		name     testdb.Name
		own      string
		drop     string // "" where it is kept by another one
		replaced string
	}{
		{testdb.PostgresC, `ALTER TABLE contacts_b ALTER COLUMN email SET NOT NULL`, `ALTER TABLE public.contacts_b ALTER COLUMN "email" DROP NOT NULL`, ""},
		{testdb.PostgresC, `ALTER TABLE contacts_b ADD CONSTRAINT at_least CHECK (email IS NOT NULL)`, `ALTER TABLE public.contacts_b DROP CONSTRAINT at_least`, ""},
		{testdb.PostgresICU, `CREATE UNIQUE INDEX b_mail ON contacts_b (lower(email))`, "", `ON public.contacts_b ("email_unique")`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX b_mail ON contacts_b (seen, coalesce(lower(email), ''))`, `DROP INDEX CONCURRENTLY public.b_mail`, `ON public.contacts_b ("seen", "email_unique")`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX b_one ON contacts_b (email) WHERE email IS NULL`, "", `ON public.contacts_b ("email_unique")`},
	} {
		t.Run(one.own, func(t *testing.T) {
			e := partitioned(t, one.name)
			e.exec(t, one.own)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			var said []string
			for _, o := range all {
				said = append(said, o.SQL...)
			}
			if one.drop == "" {
				require.Empty(t, all)
			} else {
				require.Equal(t, []string{one.drop}, said)
			}
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, gone)
			for _, statement := range detail.SQL {
				e.exec(t, statement)
			}
			if one.replaced != "" {
				require.True(t, strings.HasSuffix(detail.SQL[0], one.replaced), detail.SQL[0])
			}
			e.move(t, adoption.SealedOnly, gone)
			e.guard(t, adoption.Refuse)
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, report.Clean)
			require.NoError(t, e.insert(t, "b3", "p2", "ben@b.example"))
			require.NoError(t, e.insert(t, "a99", "p2", "ben@b.example"), "in another partition")
			if err := e.insert(t, "b4", "p2", "BEN@b.example"); one.replaced != "" {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
			}
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			e.exec(t, `DELETE FROM contacts`)
			for _, statement := range restore {
				e.exec(t, statement)
			}
			require.Equal(t, one.drop != "", len(restore) > 0)
		})
	}
}

// A trigger of one partition is tried with rows of that one.
func TestRowsOfEachPartitionAreTried(t *testing.T) {
	e := partitioned(t, testdb.PostgresC)
	e.exec(t, `CREATE FUNCTION needed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.email IS NULL THEN RAISE EXCEPTION 'needed' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$`)
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, all)
	e.exec(t, `CREATE TRIGGER needed BEFORE UPDATE ON contacts_b FOR EACH ROW EXECUTE FUNCTION needed()`)
	all, err = e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "b1", all[0].Listed[0].Row)
}

// What one partition has alone keeps no value of an erased person in the others.
func TestErasedValuesOfOtherPartitionsGo(t *testing.T) {
	for _, own := range []string{
		`ALTER TABLE contacts_b ADD CONSTRAINT at_least CHECK (email IS NOT NULL)`,
		`ALTER TABLE contacts_b ALTER COLUMN email SET NOT NULL`,
	} {
		t.Run(own, func(t *testing.T) {
			e := partitioned(t, testdb.PostgresC)
			e.exec(t, own)
			e.exec(t, `UPDATE contacts SET person = 'p2'`)
			e.to(t, adoption.ReadSealed)
			_, err := e.vault.Erase(t.Context(), tenant, "p2")
			require.NoError(t, err)
			report, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.False(t, report.Clean)
			var left []string
			for _, c := range e.rows(t, "WHERE email IS NOT NULL") {
				left = append(left, c.id)
			}
			require.Equal(t, []string{"b1", "b2"}, left)
			require.Len(t, report.Listed, 2)
		})
	}
}
