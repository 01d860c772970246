package gormcapture_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/gormcapture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// surrogate is a person's, "" for one that has none.
func (e *env) surrogate(person string) string {
	var raw []byte
	if e.raw.QueryRowContext(e.Context(), `SELECT surrogate FROM crmguard_audit_surrogates WHERE person = '`+person+`'`).Scan(&raw) != nil {
		return ""
	}
	return "s:" + base64.RawURLEncoding.EncodeToString(raw)
}

var errUndone = errors.New("undone")

// Whatever way of GORM's changes a row, an event says so, in its transaction, once.
func TestWhatGORMChangesIsRecorded(t *testing.T) {
	for name, config := range map[string]gorm.Config{"default": {}, "prepared": {PrepareStmt: true}, "no transactions": {SkipDefaultTransaction: true}} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) { everyWay(newEnv(t, d, config, models()...)) })
		})
	}
}

func everyWay(e *env) {
	e.Helper()
	for _, way := range []struct {
		name string
		do   func(db *gorm.DB) error
		want []string
	}{
		{name: "create a person", do: func(db *gorm.DB) error { return db.Create(&Contact{ID: "p1", Email: "a"}).Error }, want: []string{"contact.create person p1"}},
		{name: "create with a key of the database", do: func(db *gorm.DB) error { return db.Create(&Deal{Amount: 1}).Error }, want: []string{"deal.create 1"}},
		{name: "create many", do: func(db *gorm.DB) error { return db.Create([]*Deal{{Amount: 1}, {Amount: 2}}).Error }, want: []string{"deal.create 2", "deal.create 3"}},
		{name: "create in batches", do: func(db *gorm.DB) error {
			return db.CreateInBatches([]Line{{1, "a/b", 1}, {1, "c", 1}, {2, "50%", 1}}, 2).Error
		}, want: []string{"line.create 1/a%2Fb", "line.create 1/c", "line.create 2/50%25"}},
		{name: "create from a map", do: func(db *gorm.DB) error {
			return db.Model(&Line{}).Create(map[string]any{"Deal": 9, "Name": "m", "Amount": 1}).Error
		}, want: []string{"line.create  count"}},
		{name: "create with what belongs to it", do: func(db *gorm.DB) error { return db.Create(&Contact{ID: "p2", Deals: []Deal{{Amount: 5}}}).Error }, want: []string{"deal.save 4", "contact.create person p2"}},
		{name: "nothing for the log", do: func(db *gorm.DB) error { return db.Create(&Plain{}).Error }, want: []string{}},
		{name: "update by the key", do: func(db *gorm.DB) error { return db.Model(&Deal{ID: 1}).Update("amount", 10).Error }, want: []string{"deal.update 1 amount"}},
		{name: "update several columns", do: func(db *gorm.DB) error {
			return db.Model(&Contact{ID: "p1"}).Updates(Contact{Email: "b", Stage: "c"}).Error
		}, want: []string{"contact.update person p1 email stage"}},
		{name: "update from a map", do: func(db *gorm.DB) error {
			return db.Model(&Contact{ID: "p1"}).Updates(map[string]any{"stage": "d"}).Error
		}, want: []string{"contact.update person p1 stage"}},
		{name: "update by conditions", do: func(db *gorm.DB) error {
			return db.Model(&Deal{}).Where("amount < ?", 10).Update("amount", gorm.Expr("amount + 100")).Error
		}, want: []string{"deal.update 2 amount", "deal.update 3 amount", "deal.update 4 amount"}},
		{name: "update persons by conditions", do: func(db *gorm.DB) error {
			return db.Model(&Contact{}).Where("id IN ?", []string{"p1", "p2"}).Update("stage", "e").Error
		}, want: []string{"contact.update person p1 stage", "contact.update person p2 stage"}},
		{name: "update without a model", do: func(db *gorm.DB) error { return db.Table("deals").Where("id = ?", 2).Update("amount", 7).Error }, want: []string{"deal.update 2 amount"}},
		{name: "update without conditions", do: func(db *gorm.DB) error {
			return db.Session(&gorm.Session{AllowGlobalUpdate: true}).Model(&Line{}).Update("amount", 6).Error
		}, want: []string{"line.update 1/a%2Fb amount", "line.update 1/c amount", "line.update 2/50%25 amount", "line.update 9/m amount"}},
		{name: "update of no row", do: func(db *gorm.DB) error { return db.Model(&Deal{ID: 99}).Update("amount", 10).Error }, want: []string{}},
		{name: "update of what is skipped", do: func(db *gorm.DB) error { return db.Model(&Deal{ID: 1}).Update("seen", 10).Error }, want: []string{}},
		{name: "update past the hooks", do: func(db *gorm.DB) error { return db.Model(&Deal{ID: 1}).UpdateColumn("amount", 11).Error }, want: []string{"deal.update 1 amount"}},
		{name: "save", do: func(db *gorm.DB) error { return db.Save(&Line{2, "50%", 77}).Error }, want: []string{"line.update 2/50%25 amount"}},
		{name: "insert or update", do: func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&Line{2, "50%", 78}).Error
		}, want: []string{"line.save 2/50%25"}},
		{name: "insert or nothing, something", do: func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{DoNothing: true}).Create([]Line{{2, "50%", 78}, {3, "n", 1}}).Error
		}, want: []string{"line.save 2/50%25 partial", "line.save 3/n partial"}},
		{name: "insert or nothing, nothing", do: func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&Line{3, "n", 78}).Error
		}, want: []string{}},
		{name: "generics", do: func(db *gorm.DB) error {
			_, err := gorm.G[Deal](db).Where("id = ?", 1).Update(e.Context(), "amount", 12)
			return err
		}, want: []string{"deal.update 1 amount"}},
		{name: "delete softly", do: func(db *gorm.DB) error { return db.Delete(&Deal{ID: 1}).Error }, want: []string{"deal.delete 1 deleted_at"}},
		{name: "delete what is deleted", do: func(db *gorm.DB) error { return db.Delete(&Deal{}, "id = ?", 1).Error }, want: []string{}},
		{name: "delete by conditions", do: func(db *gorm.DB) error { return db.Where("amount > ?", 100).Delete(&Deal{}).Error }, want: []string{"deal.delete 3 deleted_at", "deal.delete 4 deleted_at"}},
		{name: "delete for good", do: func(db *gorm.DB) error { return db.Unscoped().Delete(&Deal{}, 1).Error }, want: []string{"deal.delete 1"}},
		{name: "delete many", do: func(db *gorm.DB) error { return db.Delete([]Line{{1, "a/b", 0}, {1, "c", 0}, {8, "none", 0}}).Error }, want: []string{"line.delete 1/a%2Fb", "line.delete 1/c"}},
		{name: "a dry run", do: func(db *gorm.DB) error {
			return db.Session(&gorm.Session{DryRun: true}).Model(&Deal{ID: 2}).Update("amount", 1).Error
		}, want: []string{}},
		{name: "by hand", do: func(db *gorm.DB) error { return gormcapture.ByHand(db).Model(&Deal{ID: 2}).Update("amount", 1).Error }, want: []string{}},
		{name: "a hook that has recorded it", do: func(db *gorm.DB) error {
			c := &Contact{ID: "p1", hook: func(tx *gorm.DB) error {
				_, err := e.plugin.Record(tx, audit.Event{Action: "contact.promoted", Object: audit.PersonRef("contact", "p1")})
				return err
			}}
			return db.Model(c).Update("stage", "x").Error
		}, want: []string{"contact.promoted person p1"}},
		{name: "after that hook", do: func(db *gorm.DB) error { return db.Model(&Contact{ID: "p1"}).Update("stage", "y").Error }, want: []string{"contact.update person p1 stage"}},
		{name: "a hook that fails", do: func(db *gorm.DB) error {
			c := &Contact{ID: "p1", hook: func(*gorm.DB) error { return errUndone }}
			if err := db.Model(c).Update("stage", "z").Error; !errors.Is(err, errUndone) {
				return fmt.Errorf("it did not fail: %w", err)
			}
			return nil
		}, want: []string{}},
		{name: "a transaction", do: func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				if err := tx.Transaction(func(tx *gorm.DB) error {
					return errors.Join(tx.Model(&Deal{ID: 2}).Update("amount", 50).Error, errUndone)
				}); !errors.Is(err, errUndone) {
					return err
				}
				return tx.Model(&Contact{ID: "p2"}).Update("stage", "in").Error
			})
		}, want: []string{"contact.update person p2 stage"}},
		{name: "a transaction that is undone", do: func(db *gorm.DB) error {
			if err := db.Transaction(func(tx *gorm.DB) error {
				return errors.Join(tx.Model(&Deal{ID: 2}).Update("amount", 51).Error, errUndone)
			}); !errors.Is(err, errUndone) {
				return err
			}
			return nil
		}, want: []string{}},
		{name: "SQL of the application's own", do: func(db *gorm.DB) error { return db.Exec("UPDATE deals SET amount = 3 WHERE id = 2").Error }, want: []string{}},
	} {
		require.NoError(e, way.do(e.db), way.name)
		require.ElementsMatch(e, way.want, e.said(), way.name)
	}
	report, err := e.trail.VerifyStore(e.Context(), nil)
	require.NoError(e, err)
	require.Empty(e, report.Faults)
}
