package privacy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datamap"
)

// A table that was brought back alone points to a row that stays, undated, and has
// nothing left to be erased: the replay takes back what points there.
func TestReplayOfWhatPointsToARowThatStays(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.exec(`CREATE TABLE members (id INTEGER PRIMARY KEY, person VARCHAR(64), name VARCHAR(99))`)
		s.exec(`CREATE INDEX members_person ON members (person)`)
		s.exec(`CREATE TABLE remarks (id INTEGER PRIMARY KEY, about INTEGER, body VARCHAR(99))`)
		s.exec(`CREATE INDEX remarks_about ON remarks (about)`)
		m := dataMap()
		m.Tables = append(m.Tables, datamap.Table{
			Name: "members", Key: []string{"id"}, Person: "person", Erase: datamap.Null,
			Columns: []datamap.Column{
				{Name: "person", Category: "contact.id", Purpose: "dpv:Marketing", Basis: "dpv:Consent", Erase: datamap.Retain},
				{Name: "name", Category: "contact.name", Purpose: "dpv:Marketing", Basis: "dpv:Consent"},
			},
		}, datamap.Table{
			Name: "remarks", Key: []string{"id"}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body"}},
			Edges: []datamap.Edge{{Columns: []string{"about"}, Table: "members", Unlink: datamap.Null}},
		})
		s.openWith(m)
		s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
		s.reopen()
		s.exec(`INSERT INTO members VALUES (1, 'lead-one', 'Ann')`)
		s.exec(`INSERT INTO remarks VALUES (1, 1, 'called')`)
		(&leads{system: s}).erases("lead-one")
		require.Zero(t, s.count(`SELECT COUNT(*) FROM remarks WHERE about IS NOT NULL`))

		s.exec(`UPDATE remarks SET about = 1`)
		_, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Zero(t, s.count(`SELECT COUNT(*) FROM remarks WHERE about IS NOT NULL`))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM members WHERE name IS NULL`))
	})
}
