package gormcapture_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/gormcapture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Values that are another person's (Shape.Who) need no preparation outside of a
// transaction: neither the one who was named, nor the one who is.
func TestValuesOfAnotherPersonArePrepared(t *testing.T) {
	deals, err := audit.NewDiffer[Deal](audit.Shape{
		Kind: "deal", Show: []string{"amount"}, Skip: []string{"id", "seen", "deleted_at", "contact_id"}, Who: map[string]string{"amount": "contact_id"},
	})
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, gormcapture.Valued(gormcapture.Model{Of: &Deal{}, Kind: "deal"}, deals))
		_, err := e.raw.ExecContext(t.Context(), `INSERT INTO contacts (id) VALUES ('p1'), ('p2'), ('p3'), ('p4')`)
		require.NoError(t, err)
		_, err = e.raw.ExecContext(t.Context(), `INSERT INTO contacts (id) VALUES ('p6')`)
		require.NoError(t, err)
		_, err = e.raw.ExecContext(t.Context(), `INSERT INTO deals (id, contact_id) VALUES (9, 'p6')`)
		require.NoError(t, err)
		p1 := "p1"
		require.NoError(t, e.db.Create(&Deal{ID: 1, Amount: 5, ContactID: &p1}).Error)
		_, err = e.raw.ExecContext(t.Context(), `UPDATE deals SET contact_id = 'p2' WHERE id = 1`)
		require.NoError(t, err)
		require.NoError(t, e.db.Model(&Deal{ID: 1, ContactID: &p1}).Update("amount", 6).Error, "the one whom the row names, whatever the model says")
		require.NoError(t, e.db.Model(&Deal{ID: 1}).Update("contact_id", "p3").Error, "the one whom it will name")
		p4 := "p4"
		require.NoError(t, e.db.Model(&Deal{}).Where("id = ?", 1).Updates(Deal{ContactID: &p4}).Error)
		require.NoError(t, e.db.Unscoped().Delete(&Deal{ID: 1}).Error)
		require.Equal(t, []string{
			"deal.create 1 amount", "deal.update 1 amount", "deal.update 1 amount amount", "deal.update 1 amount amount", "deal.delete 1 amount",
		}, e.said())
		for _, person := range []string{"p1", "p2", "p3", "p4"} {
			require.NotEmpty(t, e.surrogate(person), person)
		}
		require.Empty(t, e.surrogate("p6"), "no statement was about that row")
		person := "p5"
		if d.Name != testdb.SQLite { // within, another connection makes good for it
			_, err = e.raw.ExecContext(t.Context(), `INSERT INTO contacts (id) VALUES ('p5')`)
			require.NoError(t, err)
			require.NoError(t, e.db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Deal{ID: 2, Amount: 1, ContactID: &person}).Error }))
			require.NotEmpty(t, e.surrogate("p5"))
		}
	})
}

// Rows that GORM begins a transaction for before a plugin hears of them are
// prepared by one call.
func TestBatchesArePreparedByOneCall(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		rows := []Contact{{ID: "p1"}, {ID: "p2"}}
		if d.Name == testdb.SQLite {
			require.ErrorIs(t, e.db.CreateInBatches(rows, 1).Error, audit.ErrNotPrepared)
		}
		require.NoError(t, e.plugin.Prepare(e.db, rows, &Contact{ID: "p3"}, []*Contact{{ID: "p4"}}, &Deal{ID: 1}, nil))
		require.NoError(t, e.db.CreateInBatches(rows, 1).Error)
		require.NoError(t, e.db.Session(&gorm.Session{CreateBatchSize: 1}).Create([]Contact{{ID: "p3"}, {ID: "p4"}}).Error)
		require.Equal(t, []string{"contact.create person p1", "contact.create person p2", "contact.create person p3", "contact.create person p4"}, e.said())
	})
}
