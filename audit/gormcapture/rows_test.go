package gormcapture_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/gormcapture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// stages are the persons whose stage this is.
func (e *env) stages(stage string) (ids []string) {
	e.Helper()
	require.NoError(e, e.db.Model(&Contact{}).Where("stage = ?", stage).Order("id").Pluck("id", &ids).Error)
	return ids
}

// A condition with OR beside a model with a key means other rows than the model's:
// those are recorded which changed, one or many, and nobody else. So does text in
// which OR stands where GORM does not see it.
func TestAConditionWithOrRecordsTheRowsThatChanged(t *testing.T) {
	for name, narrow := range map[string]func(db *gorm.DB) *gorm.DB{
		"Or":       func(db *gorm.DB) *gorm.DB { return db.Where("stage = ?", "b").Or("stage = ?", "none") },
		"Or first": func(db *gorm.DB) *gorm.DB { return db.Or("stage = ?", "b").Or("stage = ?", "none") },
		"text":     func(db *gorm.DB) *gorm.DB { return db.Where("stage = 'b'\nOR\nstage = 'none'") },
	} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				e := newEnv(t, d, gorm.Config{}, models()...)
				_, err := e.raw.ExecContext(t.Context(), `INSERT INTO contacts (id, stage) VALUES ('p1', 'a'), ('p2', 'b'), ('p3', 'b')`)
				require.NoError(t, err, "nobody was prepared")
				require.NoError(t, narrow(e.db.Model(&Contact{ID: "p1"})).Update("stage", "new").Error)
				var want []string
				for _, id := range e.stages("new") {
					want = append(want, "contact.update person "+id+" stage")
				}
				require.Contains(t, want, "contact.update person p2 stage")
				require.ElementsMatch(t, want, e.said())
				require.NoError(t, e.db.Model(&Contact{}).Where("id = ?", "p2").Update("stage", "b").Error)
				e.said()
				require.NoError(t, narrow(e.db).Delete(&Contact{ID: "p1"}).Error)
				var left []string
				require.NoError(t, e.db.Model(&Contact{}).Pluck("id", &left).Error)
				said := e.said()
				require.Less(t, len(left), 3)
				require.Len(t, said, 3-len(left))
				for _, id := range left {
					require.NotContains(t, said, "contact.delete person "+id)
				}
			})
		})
	}
}

// An update that sets the key is told of under both keys, and no value is said to
// have gone that is still there.
func TestAnUpdateOfTheKey(t *testing.T) {
	lines, err := audit.NewDiffer[Line](audit.Shape{Kind: "line", Show: []string{"amount"}, Skip: []string{"deal", "name"}})
	require.NoError(t, err)
	for name, model := range map[string]gormcapture.Model{
		"names":  {Of: &Line{}, Kind: "line"},
		"values": gormcapture.Valued(gormcapture.Model{Of: &Line{}, Kind: "line"}, lines),
	} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				e := newEnv(t, d, gorm.Config{}, model, models()[0])
				require.NoError(t, e.db.Create([]Line{{Deal: 1, Name: "a", Amount: 5}, {Deal: 2, Name: "a", Amount: 5}}).Error)
				require.NoError(t, e.db.Create(&Contact{ID: "p1"}).Error)
				e.said()
				changes := func(id string) (out []string) {
					for entry, err := range e.trail.History(t.Context(), "main", audit.Ref("line", id), audit.Page{Size: 10}) {
						require.NoError(t, err)
						for _, c := range entry.Changes {
							if entry.Leaf.Action != "line.update" {
								continue
							}
							out = append(out, c.Path)
							if c.Path != "amount" || name == "names" {
								require.Equal(t, [2]any{audit.Absent{}, audit.Absent{}}, [2]any{c.Old, c.New}, id)
							} else {
								require.Equal(t, [2]any{int64(5), int64(6)}, [2]any{c.Old, c.New}, id)
							}
						}
					}
					slices.Sort(out)
					return out
				}
				require.NoError(t, e.db.Model(&Line{}).Where("deal = ?", 1).Updates(map[string]any{"name": "b", "amount": 6}).Error)
				require.Len(t, e.said(), 2)
				old := []string{"name"}
				if name == "names" {
					old = []string{"amount", "name"}
				}
				require.Equal(t, old, changes("1/a"))
				require.Equal(t, []string{"amount", "name"}, changes("1/b"))
				require.NoError(t, e.db.Model(&Line{Deal: 1, Name: "b"}).Update("name", "c").Error)
				require.Len(t, e.said(), 2)
				require.Equal(t, []string{"name"}, changes("1/c"), "GORM writes the new key into the model before it runs")
				require.NoError(t, e.db.Model(&Line{}).Where("deal = ?", 2).Update("deal", gorm.Expr("deal + 1")).Error)
				require.Len(t, e.said(), 1)
				require.Equal(t, []string{"deal"}, changes("2/a"), "what the database computes is not known")
				require.NoError(t, e.db.Model(&Line{Deal: 3, Name: "a"}).Updates(Line{Deal: 3, Amount: 7}).Error)
				require.Len(t, e.said(), 1, "the key is set to what it is")
				require.NoError(t, e.db.Model(&Contact{ID: "p1"}).Update("id", "p2").Error)
				require.Len(t, e.said(), 2, "of both persons, who need no preparation")
			})
		})
	}
}

// Where the key is the id of a person, values are told as nobody's of the two.
func TestAnUpdateOfThePersonsKey(t *testing.T) {
	contacts, err := audit.NewDiffer[Contact](audit.Shape{Kind: "contact", Show: []string{"email", "stage"}, Skip: []string{"id", "deals"}})
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, gormcapture.Valued(gormcapture.Model{Of: &Contact{}, Kind: "contact", Person: true}, contacts))
		require.NoError(t, e.db.Create(&Contact{ID: "p1", Stage: "a"}).Error)
		require.NoError(t, e.db.Model(&Contact{}).Where("id = ?", "p1").Updates(map[string]any{"id": "p2", "stage": "b"}).Error)
		require.Len(t, e.said(), 3)
		for person, want := range map[string][]string{"p1": {"id"}, "p2": {"id", "stage"}} {
			var said []string
			for entry, err := range e.trail.History(t.Context(), "main", audit.PersonRef("contact", person), audit.Page{Size: 10}) {
				require.NoError(t, err)
				for _, c := range entry.Changes {
					if entry.Leaf.Action == "contact.update" {
						require.Equal(t, [2]any{audit.Absent{}, audit.Absent{}}, [2]any{c.Old, c.New})
						said = append(said, c.Path)
					}
				}
			}
			require.ElementsMatch(t, want, said, person)
		}
	})
}

// An upsert with a condition leaves rows alone: that is partial.
func TestAnUpsertThatLeavesRowsAloneIsPartial(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.MariaDB {
			return // it has no such condition
		}
		e := newEnv(t, d, gorm.Config{}, models()...)
		require.NoError(t, e.db.Create(&Line{Deal: 1, Name: "a", Amount: 5}).Error)
		e.said()
		below := clause.OnConflict{
			Columns: []clause.Column{{Name: "deal"}, {Name: "name"}}, DoUpdates: clause.AssignmentColumns([]string{"amount"}),
			Where: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "lines.amount < 0"}}},
		}
		require.NoError(t, e.db.Clauses(below).Create([]Line{{1, "a", 99}, {2, "b", 1}}).Error)
		require.Equal(t, []string{"line.save 1/a partial", "line.save 2/b partial"}, e.said())
		require.NoError(t, e.db.Clauses(below).Create(&Line{3, "c", 1}).Error)
		require.Equal(t, []string{"line.save 3/c"}, e.said())
		require.NoError(t, e.db.Clauses(below).Create(&Line{1, "a", 99}).Error)
		require.Empty(t, e.said(), "no row")
	})
}

// Of an upsert some of whose rows were there already nobody knows which ids the
// database has drawn for which rows.
func TestAnUpsertOfDrawnIdsNamesNoWrongRow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		_, err := e.raw.ExecContext(t.Context(), `CREATE UNIQUE INDEX one_seen ON deals (seen)`)
		require.NoError(t, err)
		require.NoError(t, e.db.Create([]*Deal{{Seen: 1, Amount: 1}, {Seen: 3, Amount: 1}}).Error)
		e.said()
		on := clause.OnConflict{Columns: []clause.Column{{Name: "seen"}}, DoUpdates: clause.AssignmentColumns([]string{"amount"})}
		want := []string{"deal.save 1", "deal.save 70"}
		if d.Name != testdb.MariaDB {
			on.Where = clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "deals.amount < 0"}}}
			want = []string{"deal.save  count partial"}
		}
		require.NoError(t, e.db.Clauses(on).Create([]*Deal{{Seen: 1, Amount: 9}, {ID: 70, Seen: 2}}).Error)
		require.Equal(t, want, e.said())
	})
}

// Rows that an update met and did not change: there is no event that says they
// surely changed.
func TestABatchThatSetsWhatIsThereIsPartial(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		require.NoError(t, e.db.Create([]Contact{{ID: "p1", Stage: "a"}, {ID: "p2", Stage: "b"}}).Error)
		e.said()
		tx := e.db.Model(&Contact{}).Where("id <> ''").Update("stage", "b")
		require.NoError(t, tx.Error)
		outcome := ""
		if tx.RowsAffected == 1 { // MariaDB counts what changed
			require.Equal(t, testdb.MariaDB, d.Name)
			outcome = " partial"
		}
		require.ElementsMatch(t, []string{"contact.update person p1 stage" + outcome, "contact.update person p2 stage" + outcome}, e.said())
	})
}
