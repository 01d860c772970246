package gormcapture_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/audit/gormcapture"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// With a Differ the values are recorded, before and after.
func TestValuesAreRecordedByADiffer(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		contacts, err := audit.NewDiffer[Contact](audit.Shape{Kind: "contact", Show: []string{"email", "stage"}, Skip: []string{"id", "deals"}})
		require.NoError(t, err)
		deals, err := audit.NewDiffer[Deal](audit.Shape{Kind: "deal", Show: []string{"amount", "contact_id"}, Skip: []string{"id", "seen", "deleted_at"}})
		require.NoError(t, err)
		e := newEnv(t, d, gorm.Config{},
			gormcapture.Valued(gormcapture.Model{Of: &Contact{}, Kind: "contact", Person: true}, contacts),
			gormcapture.Valued(gormcapture.Model{Of: &Deal{}, Kind: "deal"}, deals))
		require.NoError(t, e.db.Create(&Contact{ID: "p1", Email: "a", Stage: "lead"}).Error)
		require.NoError(t, e.db.Create([]Deal{{Amount: 1}, {Amount: 2}}).Error)
		require.NoError(t, e.db.Model(&Contact{}).Where("stage = ?", "lead").Updates(map[string]any{"stage": "customer", "email": "a"}).Error)
		require.NoError(t, e.db.Model(&Deal{}).Where("id > 0").Update("amount", gorm.Expr("amount + 10")).Error)
		require.NoError(t, e.db.Model(&Deal{ID: 1}).Update("seen", 1).Error)
		require.NoError(t, e.db.Delete(&Deal{ID: 2}).Error)
		require.Equal(t, []string{
			"contact.create person p1 email stage", "deal.create 1 amount contact_id", "deal.create 2 amount contact_id",
			"contact.update person p1 stage", "deal.update 1 amount", "deal.update 2 amount", "deal.delete 2 amount contact_id",
		}, e.said())
		want := map[string][2]any{"contact.update": {"lead", "customer"}, "deal.delete": {int64(12), audit.Absent{}}}
		for _, object := range []audit.Object{audit.PersonRef("contact", "p1"), audit.Ref("deal", "2")} {
			for entry, err := range e.trail.History(t.Context(), "main", object, audit.Page{Size: 10}) {
				require.NoError(t, err)
				if values, ok := want[entry.Leaf.Action]; ok {
					require.Equal(t, values[0], entry.Changes[0].Old, entry.Leaf.Action)
					require.Equal(t, values[1], entry.Changes[0].New, entry.Leaf.Action)
					delete(want, entry.Leaf.Action)
				}
			}
		}
		require.Empty(t, want)
	})
}

// Who forgot Prepare before a transaction of his own gets it within, where another
// connection can be had; where none can, he is told what to do, and nothing hangs.
func TestPrepareIsMadeGoodForWithinATransaction(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		sale := func(person string) error {
			return e.db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Contact{ID: person}).Error })
		}
		if d.Name == testdb.SQLite {
			require.ErrorIs(t, sale("p1"), audit.ErrNotPrepared, "the transaction has the one lock there is")
		} else {
			require.NoError(t, sale("p1"))
			require.Equal(t, []string{"contact.create person p1"}, e.said())
		}
		e.raw.SetMaxOpenConns(1)
		began := time.Now()
		require.ErrorIs(t, sale("p2"), audit.ErrNotPrepared)
		require.Less(t, time.Since(began), time.Minute, "it does not wait for itself")
		var n int64
		require.NoError(t, e.db.Model(&Contact{}).Where("id = ?", "p2").Count(&n).Error)
		require.Zero(t, n)
		require.NoError(t, e.trail.Prepare(t.Context(), "main", "p2"))
		require.NoError(t, sale("p2"))
		require.NoError(t, e.db.Create(&Contact{ID: "p3"}).Error, "outside of one it is done before")
		require.NoError(t, e.db.Model(&Contact{}).Where("id = ?", "p3").Update("stage", "x").Error)
		require.Equal(t, []string{"contact.create person p2", "contact.create person p3", "contact.update person p3 stage"}, e.said())
	})
}

// A statement whose event cannot be recorded changes nothing, whoever began the
// transaction.
func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	for name, config := range map[string]gorm.Config{"default": {}, "no transactions": {SkipDefaultTransaction: true}} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				e := newEnv(t, d, config, models()...)
				require.NoError(t, e.db.Create(&Deal{Amount: 1}).Error)
				_, err := e.raw.ExecContext(t.Context(), `ALTER TABLE crmguard_audit_events RENAME TO gone`)
				require.NoError(t, err)
				require.Error(t, e.db.Create(&Deal{Amount: 2}).Error)
				require.Error(t, e.db.Model(&Deal{ID: 1}).Update("amount", 2).Error)
				require.Error(t, e.db.Delete(&Deal{ID: 1}).Error)
				var left []Deal
				require.NoError(t, e.db.Find(&left).Error)
				require.Len(t, left, 1)
				require.Equal(t, int64(1), left[0].Amount)
			})
		})
	}
}

// What is more than a log should hold row by row is one event with the count.
func TestAStatementOfVeryManyRowsIsOneEvent(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		many := make([]Line, 1001)
		for i := range many {
			many[i] = Line{Deal: int64(i + 1), Name: "n"}
		}
		require.NoError(t, e.db.Create(many).Error)
		require.NoError(t, e.db.Model(&Line{}).Where("name = ?", "n").Update("amount", 3).Error)
		require.NoError(t, e.db.Where("name = ?", "n").Delete(&Line{}).Error)
		said := e.said()
		require.Len(t, said, 3)
		require.Equal(t, []string{"line.create  count", "line.delete  count"}, []string{said[0], said[2]})
		require.Regexp(t, `^line.update  c:\S+ count$`, said[1], "names of fields are declared for a kind of objects, and it has none")
	})
}

// Where the database captures changes as well, one that GORM's event tells of is
// not in the log twice: both name a row by the same text.
func TestACapturedChangeIsToldOfByItsEvent(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), gorm.Config{}, models()...)
			tables := []capture.Table{
				{Name: "contacts", Kind: "contact", Tenant: "main"}, {Name: "deals", Kind: "deal", Tenant: "main", Skip: []string{"seen"}}, {Name: "lines", Kind: "line", Tenant: "main"},
			}
			up, _, err := capture.Pack(tables...)
			require.NoError(t, err)
			_, err = e.raw.ExecContext(t.Context(), up)
			require.NoError(t, err)
			store, err := sqltrail.Open(t.Context(), e.raw)
			require.NoError(t, err)
			config := e.config
			config.Captured = tables
			e.trail, err = audit.Open(t.Context(), store, config)
			require.NoError(t, err)
			require.NoError(t, e.db.Create(&Contact{ID: "p1", Deals: []Deal{{Amount: 1}}}).Error)
			require.NoError(t, e.db.Create([]Line{{1, "a/b", 1}, {2, "50%", 1}}).Error)
			require.NoError(t, e.db.Model(&Line{}).Where("amount = 1").Update("amount", 2).Error)
			require.NoError(t, e.db.Delete(&Deal{ID: 1}).Error)
			require.NoError(t, e.db.Delete([]Line{{1, "a/b", 1}, {2, "50%", 1}}).Error)
			require.NoError(t, e.db.Model(&Contact{ID: "p1"}).Update("stage", "x").Error)
			require.NoError(t, e.db.Exec("UPDATE contacts SET stage = 'y'").Error)
			r, err := e.trail.RunOnce(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, r.Captured, "the one that GORM saw as text alone")
			kinds := map[string]int{}
			for entry, err := range auditlog.Entries(t.Context(), e.sink.FS()) {
				require.NoError(t, err)
				leaf, err := auditlog.ParseLeaf(entry.Leaf)
				require.NoError(t, err)
				kinds[leaf.Kind]++
			}
			require.Equal(t, map[string]int{"event": 10, "capture": 1, "beat": 1}, kinds)
		})
	}
}

// What a model cannot be recorded as is said at the start.
func TestRegisterRefusesWhatItCannotRecord(t *testing.T) {
	type Keyless struct{ Name string }
	d := testdb.New(t, testdb.SQLite)
	e := newEnv(t, d, gorm.Config{}, models()...)
	deals, err := audit.NewDiffer[Deal](audit.Shape{Kind: "deal", Show: []string{"amount"}, Skip: []string{"id", "seen", "deleted_at", "contact_id"}})
	require.NoError(t, err)
	for i, bad := range [][]gormcapture.Model{
		{},
		{{}},
		{{Of: &Deal{}}},
		{{Of: &Deal{}, Kind: "no code"}},
		{{Of: &Keyless{}, Kind: "k"}},
		{{Of: &Line{}, Kind: "line", Person: true}},
		{{Of: &Deal{}, Kind: "deal", Skip: []string{"none"}}},
		{{Of: &Deal{}, Kind: "deal"}, {Of: &Deal{}, Kind: "deal"}},
		{gormcapture.Valued(gormcapture.Model{Of: &Line{}, Kind: "line"}, deals)},
		{gormcapture.Valued[Deal](gormcapture.Model{Of: &Deal{}, Kind: "deal"}, &audit.Differ[Deal]{})},
	} {
		_, err := gormcapture.Register(e.db, e.trail, bad...)
		require.ErrorIs(t, err, gormcapture.ErrModel, fmt.Sprint(i))
	}
	_, err = gormcapture.Register(nil, e.trail, models()...)
	require.ErrorIs(t, err, gormcapture.ErrModel)
	_, err = gormcapture.Register(e.db, nil, models()...)
	require.ErrorIs(t, err, gormcapture.ErrModel)
	_, err = gormcapture.Register(e.db, e.trail, models()...)
	require.ErrorIs(t, err, gormcapture.ErrModel)
	require.ErrorContains(t, err, "hand all models to one call")
}
