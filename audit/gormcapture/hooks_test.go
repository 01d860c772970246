package gormcapture_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The event of a hook stands for the row that it names, and for no other row of
// the statement; one about something else stands for none.
func TestAHookSpeaksForTheRowItNames(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		require.NoError(t, e.db.Create([]Contact{{ID: "p1"}, {ID: "p2"}, {ID: "p3"}}).Error)
		e.said()
		says := func(action string, about audit.Object) func(tx *gorm.DB) error {
			return func(tx *gorm.DB) error {
				_, err := e.plugin.Record(tx, audit.Event{Action: action, Object: about})
				return err
			}
		}
		vip := says("vip.changed", audit.PersonRef("contact", "p1"))
		require.NoError(t, e.db.Model(&[]Contact{{ID: "p1", hook: vip}, {ID: "p2"}, {ID: "p3"}}).Update("stage", "x").Error)
		require.ElementsMatch(t, []string{"vip.changed person p1", "contact.update person p2 stage", "contact.update person p3 stage"}, e.said())
		require.NoError(t, e.db.Model(&Contact{ID: "p2", hook: says("deal.won", audit.Ref("deal", "7"))}).Update("stage", "y").Error)
		require.ElementsMatch(t, []string{"deal.won 7", "contact.update person p2 stage"}, e.said())
	})
}

// An event of a hook that a savepoint took back stands for nothing; one that a
// savepoint kept does.
func TestAHookThatTookItsEventBack(t *testing.T) {
	errOptional := errors.New("the optional part failed")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, gorm.Config{}, models()...)
		require.NoError(t, e.db.Create(&Contact{ID: "p1"}).Error)
		e.said()
		hook := func(fails error) func(tx *gorm.DB) error {
			return func(tx *gorm.DB) error {
				err := tx.Transaction(func(tx *gorm.DB) error {
					_, err := e.plugin.Record(tx, audit.Event{Action: "hook.done", Object: audit.PersonRef("contact", "p1")})
					return errors.Join(err, fails)
				})
				if errors.Is(err, errOptional) {
					return nil
				}
				return err
			}
		}
		require.NoError(t, e.db.Model(&Contact{ID: "p1", hook: hook(errOptional)}).Update("stage", "x").Error)
		require.Equal(t, []string{"p1"}, e.stages("x"))
		require.Equal(t, []string{"contact.update person p1 stage"}, e.said())
		require.NoError(t, e.db.Model(&Contact{ID: "p1", hook: hook(nil)}).Update("stage", "y").Error)
		require.Equal(t, []string{"hook.done person p1"}, e.said())
	})
}
