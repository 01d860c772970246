package gormfield_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/testdb"
)

// unopenedAnn is a table of which this process has read a value that does not open:
// the notes of Ann, whose name is unique.
func (e *env) unopenedAnn(t *testing.T) map[string]string {
	t.Helper()
	e.clear(t)
	e.stored(t)
	e.exec(t, "UPDATE contacts SET notes = street WHERE id = 1")
	require.ErrorIs(t, e.db.First(&Contact{}).Error, encryption.ErrOpen)
	e.log.take()
	return e.cells(t, "SELECT * FROM contacts")[0]
}

// An upsert may meet a row by a constraint, an expression, any uniqueness of the
// table, or an id that the database draws: a value that did not open stays there
// all the same, and rows that meet none are written.
func TestAnUpsertEmptiesNoCellOfARowThatItDoesNotName(t *testing.T) {
	name, id := []clause.Column{{Name: "name"}}, []clause.Column{{Name: "id"}}
	cols := clause.AssignmentColumns([]string{"person", "email", "notes", "phone", "street"})
	constraint := clause.OnConflict{OnConstraint: "by_name", DoUpdates: cols}
	expression := clause.OnConflict{Columns: []clause.Column{{Name: "(lower(name))", Raw: true}}, DoUpdates: cols}
	byName, byID, all := clause.OnConflict{Columns: name, DoUpdates: cols}, clause.OnConflict{Columns: id, DoUpdates: cols}, clause.OnConflict{Columns: id, UpdateAll: true}
	ways := map[testdb.Name]map[string]clause.OnConflict{
		testdb.SQLite:    {"name": byName, "expression": expression, "nothing": {DoUpdates: cols}},
		testdb.PostgresC: {"name": byName, "constraint": constraint, "expression": expression},
		testdb.MariaDB:   {"name": byName, "id": byID, "nothing": {DoUpdates: cols}},
	}
	ways[testdb.PostgresICU] = ways[testdb.PostgresC]
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		unique := "CREATE UNIQUE INDEX by_name ON contacts (name)"
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			unique = "ALTER TABLE contacts ADD CONSTRAINT by_name UNIQUE (name)"
		}
		e.exec(t, unique)
		if d.Name != testdb.MariaDB {
			e.exec(t, "CREATE UNIQUE INDEX by_lower ON contacts (lower(name))")
		}
		lost := func(t *testing.T, before map[string]string, err error) {
			t.Helper()
			require.ErrorIs(t, err, gormfield.ErrLost)
			require.ErrorContains(t, err, "notes")
			require.Equal(t, []map[string]string{before}, e.cells(t, "SELECT * FROM contacts"))
			e.quiet(t)
		}
		for what, c := range ways[d.Name] {
			t.Run(what, func(t *testing.T) {
				before := e.unopenedAnn(t)
				lost(t, before, e.db.Clauses(c).Create(&Contact{Person: "p1", Name: "Ann", Email: newMail}).Error)
			})
		}
		t.Run("in a list", func(t *testing.T) {
			before := e.unopenedAnn(t)
			c := byName
			if d.Name == testdb.MariaDB {
				c = all
			}
			rows := []*Contact{{ID: 7, Person: "p1", Name: "Bob", Email: newMail}, {Person: "p1", Name: "Ann", Email: newMail}}
			lost(t, before, e.db.Clauses(c).Create(rows).Error)
		})
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			t.Run("a sequence that is behind", func(t *testing.T) {
				before := e.unopenedAnn(t)
				e.exec(t, "SELECT setval('contacts_id_seq', 1, false)")
				lost(t, before, e.db.Clauses(all).Create(&Contact{Person: "p1", Name: "Bob", Email: newMail}).Error)
				e.exec(t, "SELECT setval('contacts_id_seq', 1)")
				require.NoError(t, e.db.Clauses(all).Create(&Contact{Person: "p1", Name: "Bob", Email: newMail}).Error)
			})
		}
		t.Run("rows that meet none", func(t *testing.T) {
			before := e.unopenedAnn(t)
			if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
				e.exec(t, "SELECT setval('contacts_id_seq', 100)")
			}
			require.NoError(t, e.db.Clauses(all).Create([]*Contact{{Person: "p1", Name: "Bob"}, {ID: 50, Person: "p1", Name: "Eve"}}).Error)
			require.NoError(t, e.db.Clauses(byName).Create(&Contact{Person: "p1", Name: "Eve"}).Error)
			require.NoError(t, e.db.Clauses(all).Create(&Contact{ID: 50, Person: "p1", Name: "Eve"}).Error)
			require.NoError(t, e.db.Save(&Contact{Person: "p1", Name: "Dan"}).Error)
			rows := e.cells(t, "SELECT * FROM contacts ORDER BY id")
			require.Len(t, rows, 4)
			require.Equal(t, before, rows[0])
		})
		if d.Name == testdb.MariaDB {
			t.Run("a uniqueness of a beginning", func(t *testing.T) {
				e.exec(t, "DROP INDEX by_name ON contacts", "CREATE UNIQUE INDEX by_name ON contacts (name(2))")
				before := e.unopenedAnn(t)
				lost(t, before, e.db.Clauses(byID).Create(&Contact{Person: "p1", Name: "Anders", Email: newMail}).Error)
			})
		}
	})
}

// storeBesideAWaiter is a key store that needs no connection of the pool; somebody
// else waits for one, and gives up in the very moment in which a call is stopped.
type storeBesideAWaiter struct {
	keystore.Store
	beside func() (giveUp func())
	once   *sync.Once
}

func (s storeBesideAWaiter) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	stopped := false
	s.once.Do(func() {
		giveUp := s.beside()
		<-ctx.Done()
		giveUp()
		stopped = true
	})
	if stopped {
		return keystore.Rows{}, ctx.Err()
	}
	return s.Store.Owners(ctx, tenant, owners)
}

// Who waits for the connection that a statement holds, and gives up, is not taken
// for the key store of that statement.
func TestTheWaitOfSomebodyElseIsNoErrPool(t *testing.T) {
	dialector, raw := dialect(t, testdb.New(t, testdb.SQLite))
	raw.SetMaxOpenConns(1)
	store := storeBesideAWaiter{Store: encryptiontest.Keys(), once: &sync.Once{}, beside: func() func() {
		ctx, giveUp := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := raw.Conn(ctx); err == nil {
				conn.Close()
			}
		}()
		return func() { giveUp(); <-done }
	}}
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: store, KEK: kek, Wait: func(context.Context, time.Duration) error { return nil }})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	for _, statement := range schemaFor(testdb.SQLite) {
		_, err := raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	p := &poolOfOne{t: t, dialector: dialector, raw: raw}
	db, _ := p.use(vault)
	tx := db.Begin()
	err = tx.Create(&Contact{Person: "p1", Email: newMail}).Error
	require.NoError(t, errors.Join(err, tx.Commit().Error))
}
