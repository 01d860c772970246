package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// watched is a contact whose hooks record.
type watched Contact

func (watched) TableName() string { return "contacts" }

type recorderKey struct{}

// AfterUpdate records in the transaction that GORM has around each statement.
func (w *watched) AfterUpdate(tx *gorm.DB) error {
	record, _ := tx.Statement.Context.Value(recorderKey{}).(func(tx audit.Tx, id string) error)
	return record(tx.Statement.ConnPool, w.ID)
}

// A hook has the transaction of its statement, unless the session makes none.
func TestAHookRecordsInTheTransactionOfItsStatement(t *testing.T) {
	each(t, func(b *bench) {
		o := b.opened()
		for name, db := range map[string]*gorm.DB{"plain": o.gorm, "prepared": o.prepared} {
			b.add(name, "ann@a.example")
			var recorded error
			ctx := context.WithValue(b.t.Context(), recorderKey{}, func(tx audit.Tx, id string) error {
				recorded = only(b.trail.Record(b.t.Context(), tx, b.moved(&Contact{ID: id}, &Contact{ID: id, Email: "ann@b.example"})))
				return recorded
			})
			before := b.rows()
			err := db.WithContext(ctx).Session(&gorm.Session{SkipDefaultTransaction: true}).Save(&watched{ID: name, Email: "ann@b.example"}).Error
			require.ErrorIs(b.t, err, audit.ErrNoTransaction)
			require.Equal(b.t, before, b.rows())
			require.Equal(b.t, "ann@b.example", b.email(name), "without a transaction nothing takes the row back")

			require.NoError(b.t, db.WithContext(ctx).Save(&watched{ID: name, Email: "ann@c.example"}).Error)
			require.NoError(b.t, recorded)
			require.Equal(b.t, 1, b.sequenced())

			failed := errors.New("failed")
			err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				require.NoError(b.t, tx.Save(&watched{ID: name, Email: "ann@d.example"}).Error)
				return failed
			})
			require.ErrorIs(b.t, err, failed)
			require.Equal(b.t, 0, b.sequenced())
			require.Equal(b.t, "ann@c.example", b.email(name))
		}
	})
}

// Person is sealed by gormfield.
type Person struct {
	ID    string `gorm:"primaryKey"`
	Owner string
	Email string `gorm:"serializer:crmguard"`
}

// AfterCreate is as the hook of watched.
func (p *Person) AfterCreate(tx *gorm.DB) error {
	record, _ := tx.Statement.Context.Value(recorderKey{}).(func(tx audit.Tx, id string) error)
	return record(tx.Statement.ConnPool, p.ID)
}

// Beside gormfield a transaction and its hooks record as they do without it. Its
// own pool stands before the connection while its statement runs, and takes no
// other one then: a callback that records there writes nothing, and the statement
// is rolled back.
func TestBesideGormfield(t *testing.T) {
	each(t, func(b *bench) {
		cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)"}[b.name]
		if cell == "" {
			cell = "BYTEA"
		}
		_, err := b.db.ExecContext(b.t.Context(), `CREATE TABLE people (id VARCHAR(40) PRIMARY KEY, owner VARCHAR(40), email `+cell+`)`)
		require.NoError(b.t, err)
		o := b.opened()
		for name, db := range map[string]*gorm.DB{"plain": o.gorm, "prepared": o.prepared} {
			plugin, err := gormfield.New(encryptiontest.Vault(b.t, tenant), gormfield.Config{
				Tables: []encryption.Table{{Name: "people", Owner: "owner", Columns: []encryption.Column{{Name: "email"}}}},
				Tenant: func(context.Context) (string, error) { return tenant, nil },
			})
			require.NoError(b.t, err)
			require.NoError(b.t, db.Use(plugin))
			event := func(id string) audit.Event {
				return b.moved(&Contact{ID: id}, &Contact{ID: id, Email: "ann@b.example"})
			}
			require.NoError(b.t, db.Callback().Create().After("gorm:create").Before("crmguard:open").Register("test:within", func(tx *gorm.DB) {
				_ = tx.AddError(only(b.trail.Record(b.t.Context(), tx.Statement.ConnPool, event(name+"-within"))))
			}))
			ctx := context.WithValue(b.t.Context(), recorderKey{}, func(tx audit.Tx, id string) error {
				return only(b.trail.Record(b.t.Context(), tx, event(id)))
			})
			require.NoError(b.t, b.trail.Prepare(ctx, tenant, name, name+"-within", name+"-none", name+"-nested", name+"-after"))
			before := b.rows()
			err = db.WithContext(ctx).Create(&Person{ID: name, Owner: "p", Email: "secret"}).Error
			require.Error(b.t, err)
			require.Equal(b.t, b.name == testdb.SQLite, errors.Is(err, audit.ErrNoTransaction), "%v", err)
			require.Equal(b.t, before, b.rows())
			require.Zero(b.t, b.count(`SELECT COUNT(*) FROM people WHERE id = '`+name+`'`))
			require.NoError(b.t, db.Callback().Create().Remove("test:within"))

			err = db.WithContext(ctx).Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Person{ID: name + "-none", Owner: "p", Email: "secret"}).Error
			require.ErrorIs(b.t, err, audit.ErrNoTransaction)
			require.Equal(b.t, before, b.rows())

			require.NoError(b.t, db.WithContext(ctx).Create(&Person{ID: name, Owner: "p", Email: "secret"}).Error)
			require.Equal(b.t, 1, b.sequenced())
			require.NoError(b.t, db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				return tx.Transaction(func(tx *gorm.DB) error {
					if err := tx.Create(&Person{ID: name + "-nested", Owner: "p", Email: "secret"}).Error; err != nil {
						return err
					}
					return only(b.trail.Record(b.t.Context(), tx.Statement.ConnPool, event(name+"-after")))
				})
			}))
			require.Equal(b.t, 2, b.sequenced())
		}
	})
}
