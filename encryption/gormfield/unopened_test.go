package gormfield_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A value that did not open when its row was read stays in its cell, however the
// row is saved: as it was read, as a copy, from JSON, as a map, by an upsert.
func TestWhatDidNotOpenIsNotSavedAway(t *testing.T) {
	copyOf := func(t *testing.T, c Contact) Contact {
		t.Helper()
		raw, err := json.Marshal(c)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(raw, &fields))
		delete(fields, "EmailIdx")
		raw, err = json.Marshal(fields)
		require.NoError(t, err)
		var back Contact
		require.NoError(t, json.Unmarshal(raw, &back))
		return back
	}
	id := []clause.Column{{Name: "id"}}
	ways := map[string]func(t *testing.T, e *env, c Contact) error{
		"Save":           func(_ *testing.T, e *env, c Contact) error { return e.db.Save(&c).Error },
		"Save of JSON":   func(t *testing.T, e *env, c Contact) error { c = copyOf(t, c); return e.db.Save(&c).Error },
		"Save of a list": func(_ *testing.T, e *env, c Contact) error { return e.db.Save([]*Contact{&c}).Error },
		"Select *": func(_ *testing.T, e *env, c Contact) error {
			return e.db.Model(&Contact{ID: 1}).Select("*").Updates(c).Error
		},
		"Omit of another": func(_ *testing.T, e *env, c Contact) error { return e.db.Omit("Email").Save(&c).Error },
		"an empty text":   func(_ *testing.T, e *env, c Contact) error { c.Notes = new(""); return e.db.Save(&c).Error },
		"an upsert": func(_ *testing.T, e *env, c Contact) error {
			return e.db.Clauses(clause.OnConflict{Columns: id, UpdateAll: true}).Create(&c).Error
		},
		"an association": func(_ *testing.T, e *env, c Contact) error {
			return e.db.Session(&gorm.Session{FullSaveAssociations: true}).Create(&Call{ID: 7, Person: "p1", Text: "secret", Contact: &c}).Error
		},
		"a map": func(t *testing.T, e *env, _ Contact) error {
			row := map[string]any{}
			require.ErrorIs(t, e.db.Model(&Contact{}).Where("id = 1").Take(&row).Error, encryption.ErrOpen)
			require.Equal(t, annMail, row["email"], "what opens is there")
			require.Contains(t, row, "notes")
			require.Nil(t, row["notes"])
			delete(row, "email_idx")
			return e.db.Model(&Contact{}).Where("id = 1").Updates(row).Error
		},
		"a map with a struct for the row": func(_ *testing.T, e *env, _ Contact) error {
			return e.db.Model(&Contact{ID: 1, Person: "p1"}).Updates(map[string]any{"notes": nil, "name": "Eve"}).Error
		},
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		for name, way := range ways {
			t.Run(name, func(t *testing.T) {
				e.clear(t)
				e.stored(t)
				e.exec(t, "UPDATE contacts SET notes = street WHERE id = 1")
				before := e.cells(t, "SELECT * FROM contacts")
				var c Contact
				require.ErrorIs(t, e.db.First(&c).Error, encryption.ErrOpen)
				require.Nil(t, c.Notes)
				c.Name = "Eve"
				err := way(t, e, c)
				require.ErrorIs(t, err, gormfield.ErrLost)
				require.ErrorContains(t, err, "notes")
				require.Equal(t, before, e.cells(t, "SELECT * FROM contacts"), "the row is as it was")
				e.quiet(t)
			})
		}
		t.Run("leaving it out", func(t *testing.T) {
			e.clear(t)
			e.stored(t)
			e.exec(t, "UPDATE contacts SET notes = street WHERE id = 1")
			before := e.cells(t, "SELECT * FROM contacts")[0]["notes"]
			var c Contact
			require.ErrorIs(t, e.db.First(&c).Error, encryption.ErrOpen)
			c.Name, c.Phone = "Eve", sql.NullString{}
			require.NoError(t, e.db.Omit("Notes").Save(&c).Error)
			require.NoError(t, e.db.Updates(&Contact{ID: 1, Person: "p1", Email: newMail}).Error)
			row := e.cells(t, "SELECT * FROM contacts")[0]
			require.Equal(t, before, row["notes"])
			require.Equal(t, "Eve", row["name"])
			require.NotContains(t, row, "phone", "what opens may be emptied")
			e.holds(t, 1, "email", newMail)
		})
		t.Run("giving it up", func(t *testing.T) {
			for name, give := range map[string]func(c Contact) error{
				"Update":  func(c Contact) error { return e.db.Model(&c).Update("notes", nil).Error },
				"Select":  func(c Contact) error { return e.db.Model(&c).Select("Notes", "Name").Updates(c).Error },
				"a value": func(c Contact) error { c.Notes = new("secret new"); return e.db.Save(&c).Error },
			} {
				e.clear(t)
				e.stored(t)
				e.exec(t, "UPDATE contacts SET notes = street WHERE id = 1")
				var c Contact
				require.ErrorIs(t, e.db.First(&c).Error, encryption.ErrOpen)
				require.NoError(t, give(c), name)
				require.NoError(t, e.db.First(&c).Error, name)
				c.Notes = nil
				require.NoError(t, e.db.Save(&c).Error, name)
			}
		})
		t.Run("new rows", func(t *testing.T) {
			upsert := e.db.Clauses(clause.OnConflict{Columns: id, UpdateAll: true}).Session(&gorm.Session{})
			require.NoError(t, upsert.Create([]*Contact{{Person: "p1", Email: newMail}, {ID: 90, Person: "p1"}}).Error)
			require.NoError(t, upsert.Create([]*Contact{{ID: 90, Person: "p1"}}).Error)
			require.NoError(t, e.db.Create(&Contact{ID: 91, Person: "gone", Email: "secret"}).Error)
			_, err := e.vault.Erase(t.Context(), "main", "gone")
			require.NoError(t, err)
			require.NoError(t, upsert.Create([]*Contact{{ID: 91, Person: "p2"}}).Error, "what is erased is no loss")
			e.quiet(t)
		})
	})
}

// Where nobody reads anything that does not open, saving costs no query more.
func TestSavingAsksForNothingWhereEverythingOpens(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	gone := &Contact{ID: 2, Person: "gone", Email: newMail}
	require.NoError(t, e.db.Create(gone).Error)
	_, err := e.vault.Erase(t.Context(), "main", "gone")
	require.NoError(t, err)
	require.ErrorIs(t, e.db.Find(&[]Contact{}).Error, encryption.ErrErased)
	c := e.stored(t)
	c.Notes = nil
	require.NoError(t, e.db.Save(c).Error)
	require.NotContains(t, e.log.take(), "SELECT", "the erased is lost for good, and no reason to look")
	e.holds(t, 1, "email", annMail)
}

// FindInBatches fetches the keys of a batch with one query, and ends at a row that
// does not open, like every read; with OnUnopened it goes on, and says so.
func TestBatchesHaveTheirKeysAtOnce(t *testing.T) {
	store := encryptiontest.Keys()
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	vault, err := encryption.Create(t.Context(), encryption.Config{
		Keys: store, KEK: kek, Now: func() time.Time { return time.Unix(0, clock.Load()) },
		Wait: func(context.Context, time.Duration) error { return nil },
	})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	dialector, raw := dialect(t, testdb.New(t, testdb.SQLite))
	for _, statement := range schemaFor(testdb.SQLite) {
		_, err := raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: silent()})
	require.NoError(t, err)
	plugin, err := gormfield.New(vault, gormfield.Config{Tables: definitions, Tenant: mainTenant})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	db = db.WithContext(t.Context())
	rows := persons(30, "p")
	for i := range rows {
		rows[i].ID, rows[i].Calls = int64(i+1), []Call{{ID: int64(i + 1), Person: rows[i].Person, Text: fmt.Sprint("secret ", i)}}
	}
	require.NoError(t, db.Create(&rows).Error)

	read := func(db *gorm.DB) (seen, batches, asked int, err error) {
		clock.Add(int64(time.Minute)) // what is in memory is older than its lease
		var page []Contact
		before := store.Asked("Owners")
		err = db.FindInBatches(&page, 10, func(*gorm.DB, int) error {
			clock.Add(int64(time.Minute))
			batches++
			for _, c := range page {
				seen++
				if c.Person != "p0015" {
					require.Equal(t, rows[c.ID-1].Email, c.Email)
				}
			}
			return nil
		}).Error
		return seen, batches, store.Asked("Owners") - before, err
	}
	seen, batches, asked, err := read(db)
	require.NoError(t, err)
	require.Equal(t, []int{30, 3, 3}, []int{seen, batches, asked})

	_, err = vault.Erase(t.Context(), "main", "p0015")
	require.NoError(t, err)
	seen, batches, _, err = read(db)
	require.ErrorIs(t, err, encryption.ErrErased)
	var some *encryption.RowsError
	require.ErrorAs(t, err, &some)
	require.Equal(t, []int{10, 1}, []int{seen, batches}, "the page with the erased person is not handed on")
	require.Contains(t, some.Rows, 5)

	var told []*encryption.RowsError
	bearing := gormfield.OnUnopened(db, func(err *encryption.RowsError) { told = append(told, err) })
	seen, batches, _, err = read(bearing)
	require.NoError(t, err)
	require.Equal(t, []int{30, 3}, []int{seen, batches})
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0].Rows[5], encryption.ErrErased)

	told = nil
	var page []Contact
	require.NoError(t, bearing.Where("id = 1").Find(&page).Error)
	require.Len(t, page, 1)
	require.NoError(t, bearing.Find(&page).Error)
	require.Len(t, page, 30, "the session is used again")
	require.Error(t, gormfield.OnUnopened(db, nil).Find(&page).Error)

	told, page = nil, nil
	require.NoError(t, bearing.Preload("Calls").Order("id").Find(&page).Error)
	require.Len(t, told, 2, "of the persons, and of their calls")
	require.Equal(t, "secret 29", page[29].Calls[0].Text)
	require.Empty(t, page[15].Email)
	require.Empty(t, page[15].Calls[0].Text)
}
