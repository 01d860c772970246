package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What is unique is let go of by its name alone: all else stays in the way, and a name
// that the table does not have is told with those that it has.
func TestAUniquenessIsLostByItsNameAlone(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.exec(t, `CREATE UNIQUE INDEX first_key ON contacts (email)`)
		e.exec(t, `CREATE UNIQUE INDEX second_key ON contacts (person, email)`)
		e.old(t, "1", "p1", "ann@b.example")
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, []string{"first_key", "second_key"}, names(all))
		require.Contains(t, all[0].String(), `, or state LoseUnique "first_key"`)
		e.prepare(t)
		lose := func(names ...string) adoption.MoveOptions {
			return adoption.MoveOptions{OldReleaseGone: true, LoseUnique: names}
		}
		require.Equal(t, []string{"second_key"}, names(e.refused(t, adoption.WriteBoth, lose("first_key")).Obstacles))
		err = e.a.Move(t.Context(), tenant, adoption.WriteBoth, lose("first_key", "seconds_key"))
		require.ErrorIs(t, err, adoption.ErrDefinition)
		require.ErrorContains(t, err, `"seconds_key"`)
		require.ErrorContains(t, err, `"first_key" `)
		require.ErrorContains(t, err, `"second_key"`)
		both := lose("first_key", "second_key")
		e.move(t, adoption.WriteBoth, both)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.ReadSealed, both)
		require.True(t, e.backfill(t).Clean)
		require.Equal(t, []string{"first_key"}, names(e.refused(t, adoption.SealedOnly, lose("second_key")).Obstacles))
		e.move(t, adoption.SealedOnly, both)
	})
}

func names(all []adoption.Obstacle) (out []string) {
	for _, one := range all {
		out = append(out, one.Name)
	}
	return out
}

// Once its column is there, the index that takes the place of UNIQUE is listed with its
// statement, and once it stands, a twin that the release before writes is.
func TestTheIndexThatIsWantedIsListedBefore(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, uniqueDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE", 1))
		e.old(t, "1", "p1", "ann@b.example")
		stand := func() []adoption.Obstacle {
			t.Helper()
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			return all
		}
		require.Empty(t, stand(), "its column comes on the way")
		e.to(t, adoption.WriteBoth)
		all := stand()
		require.Len(t, all, 1, "%v", all)
		require.Equal(t, adoption.SealedOnly, all[0].Before)
		require.Len(t, all[0].SQL, 1)
		e.exec(t, all[0].SQL[0])
		require.Empty(t, stand())
		require.True(t, e.backfill(t).Clean)
		e.old(t, "2", "p2", "\u200bann@b.example")
		all = stand()
		require.Len(t, all, 1, "%v", all)
		require.EqualValues(t, 2, all[0].Rows)
		require.Len(t, all[0].Listed, 2)
		require.Empty(t, all[0].SQL)
		e.exec(t, `DELETE FROM contacts WHERE id = '2'`)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.SealedOnly, gone)
	})
}
