package gormfield_test

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

func kek(context.Context, string, string) (tink.AEADWithContext, error) {
	return insecurekeys.KEK(make([]byte, 32))
}

func mainTenant(context.Context) (string, error) { return "main", nil }

// Without the plugin a model with sealed fields neither writes nor reads.
func TestWithoutThePluginNothingGoesThrough(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	e.stored(t)
	dialector, _ := dialect(t, testdb.New(t, testdb.SQLite))
	bare, err := gorm.Open(dialector, &gorm.Config{Logger: silent()})
	require.NoError(t, err)
	for _, statement := range schemaFor(testdb.SQLite) {
		require.NoError(t, bare.Exec(statement).Error)
	}
	require.ErrorIs(t, bare.Create(ann()).Error, gormfield.ErrUnsealed)
	require.ErrorIs(t, bare.Model(ann()).Updates(Contact{Email: newMail}).Error, gormfield.ErrUnsealed)
	require.ErrorIs(t, bare.Where(&Contact{Email: newMail}).Find(&[]Contact{}).Error, gormfield.ErrUnsealed)
	require.NoError(t, bare.Exec("INSERT INTO contacts (id, person, email) VALUES (1, 'p1', x'0102')").Error)
	var c Contact
	require.ErrorIs(t, bare.First(&c).Error, gormfield.ErrUnopened)
	require.Empty(t, c.Email)
}

// What Changed compares is not shown, and is right.
func TestChangedKnowsSealedFields(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	c := e.stored(t)
	changed := map[string]bool{}
	require.NoError(t, e.db.Callback().Update().Before("gorm:before_update").Register("look", func(db *gorm.DB) {
		changed["email"], changed["phone"] = db.Statement.Changed("Email"), db.Statement.Changed("Phone")
	}))
	require.NoError(t, e.db.Model(c).Updates(Contact{Email: newMail, Phone: c.Phone}).Error)
	require.Equal(t, map[string]bool{"email": true, "phone": false}, changed)
}

// Keyless is a model that does not fit.
type Keyless struct {
	ID    int64  `gorm:"primaryKey"`
	Email string `gorm:"serializer:crmguard;default:none"`
}

// TableName is for GORM.
func (Keyless) TableName() string { return "contacts" }

// Wrong has a sealed field that holds no text.
type Wrong struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	Email  int `gorm:"serializer:crmguard"`
}

// TableName is for GORM.
func (Wrong) TableName() string { return "contacts" }

// Untagged would be sealed, but not refused without the plugin.
type Untagged struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	Email  string
}

// TableName is for GORM.
func (Untagged) TableName() string { return "contacts" }

// Undeclared has the tag on a column that nobody has declared.
type Undeclared struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	Name   string `gorm:"serializer:crmguard"`
}

// TableName is for GORM.
func (Undeclared) TableName() string { return "contacts" }

func TestAModelThatDoesNotFitIsRefused(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	for _, model := range []any{&Keyless{ID: 1}, &Wrong{ID: 1, Person: "p1"}, &Untagged{ID: 1, Person: "p1", Email: newMail}, &Undeclared{ID: 1, Person: "p1"}} {
		require.ErrorIs(t, e.db.Create(model).Error, gormfield.ErrModel, "%T", model)
	}
	e.quiet(t)
	for name, config := range map[string]gormfield.Config{
		"no tables":  {},
		"no tenant":  {Tables: definitions},
		"twice":      {Tables: append(append([]encryption.Table{}, definitions...), definitions...), Tenant: mainTenant},
		"shared":     {Tables: []encryption.Table{{Name: "s", Shared: true, Columns: []encryption.Column{{Name: "a"}}}}, Tenant: mainTenant},
		"no columns": {Tables: []encryption.Table{{Name: "s"}}, Tenant: mainTenant},
	} {
		_, err := gormfield.New(e.vault, config)
		require.Error(t, err, name)
	}
}

// The key store and the data share one connection: GORM's own transactions do
// not wait for themselves, and a caller's fails in bounded time until the keys
// are taken before it.
func TestAPoolOfOneDoesNotWaitForItself(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	dialector, raw := dialect(t, d)
	raw.SetMaxOpenConns(1)
	require.NoError(t, sqlkeys.Install(t.Context(), raw))
	keys, err := sqlkeys.Open(t.Context(), raw)
	require.NoError(t, err)
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: keys, KEK: kek})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	db, err := gorm.Open(dialector, &gorm.Config{Logger: silent()})
	require.NoError(t, err)
	for _, statement := range schemaFor(testdb.SQLite) {
		require.NoError(t, db.Exec(statement).Error)
	}
	plugin, err := gormfield.New(vault, gormfield.Config{Tables: definitions, Tenant: mainTenant, KeyWait: time.Minute})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	db = db.WithContext(t.Context())

	c := withCall()
	c.Calls[0].Person = "p9" // whose key nobody has yet
	require.NoError(t, db.Create(c).Error)
	var back Contact
	require.NoError(t, db.Preload("Calls").First(&back).Error)
	whole(t, back)
	rows, err := db.Model(&Contact{}).Rows()
	require.NoError(t, err)
	require.True(t, rows.Next())
	require.NoError(t, db.ScanRows(rows, &back))
	require.NoError(t, rows.Close())
	require.NoError(t, rows.Err())

	late := func(person string) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return tx.Create(&Contact{Person: person, Email: newMail}).Error
		})
	}
	err = late("p3")
	require.ErrorIs(t, err, gormfield.ErrPool)
	require.ErrorContains(t, err, "Ensure")
	require.NoError(t, vault.Ensure(t.Context(), "main", "p3"))
	require.NoError(t, late("p3"))
}

// A page costs one query for keys, whoever its rows belong to.
func TestKeysOfAPageAreOneQuery(t *testing.T) {
	store := encryptiontest.Keys()
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: store, KEK: kek, Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	dialector, _ := dialect(t, testdb.New(t, testdb.SQLite))
	db, err := gorm.Open(dialector, &gorm.Config{Logger: silent()})
	require.NoError(t, err)
	for _, statement := range schemaFor(testdb.SQLite) {
		require.NoError(t, db.Exec(statement).Error)
	}
	plugin, err := gormfield.New(vault, gormfield.Config{Tables: definitions, Tenant: mainTenant})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	db = db.WithContext(t.Context())
	var page []*Contact
	for i := range 50 {
		page = append(page, &Contact{ID: int64(i + 1), Person: fmt.Sprintf("p%d", i), Email: newMail})
	}
	require.NoError(t, db.Create(page).Error)

	clock.Add(int64(time.Minute)) // what the vault has in memory is older than its lease
	before := store.Asked("Owners")
	var found []Contact
	require.NoError(t, db.Find(&found).Error)
	require.Len(t, found, 50)
	require.Equal(t, newMail, found[49].Email)
	require.Equal(t, 1, store.Asked("Owners")-before)
}

// Ids of rows that values are bound to are drawn before the INSERT: from the
// sequence, many at once, or by Config.IDs; otherwise the row is refused.
func TestIDsAreKnownBeforeValuesAreBoundToThem(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		calls := []*Call{{Person: "p1", Text: "secret 1"}, {ID: 77, Person: "p1", Text: "secret 2"}, {Person: "p2", Text: "secret 3"}}
		err := e.db.Create(calls).Error
		if d.Name == testdb.SQLite || d.Name == testdb.MariaDB {
			require.ErrorIs(t, err, gormfield.ErrOwner)
			require.ErrorContains(t, err, "Config.IDs")
		} else {
			require.NoError(t, err)
			for _, c := range calls {
				require.NotZero(t, c.ID)
				e.call(t, fmt.Sprint(c.ID), c.Text)
			}
		}
		e.quiet(t)
	})
	var drawn []int
	store, next := testdb.New(t, testdb.SQLite), 1000
	e := newEnvWith(t, store, gormfield.Config{IDs: func(_ context.Context, table string, n int) ([]any, error) {
		require.Equal(t, "calls", table)
		drawn = append(drawn, n)
		out := make([]any, n)
		for i := range out {
			next++
			out[i] = next
		}
		return out, nil
	}})
	require.NoError(t, e.db.Create([]*Call{{Person: "p1", Text: "secret 1"}, {Person: "p2", Text: "secret 2"}}).Error)
	require.Equal(t, []int{2}, drawn)
	e.call(t, "1002", "secret 2")
	require.ErrorIs(t, e.db.Session(&gorm.Session{DryRun: true}).Create(&Call{Person: "p1", Text: "secret"}).Error, gormfield.ErrOwner)
}

// An owner that is the id of the row is not drawn, which is said.
func TestAnOwnerThatIsTheIDIsSetByTheApplication(t *testing.T) {
	e := newEnvWith(t, testdb.New(t, testdb.PostgresC), gormfield.Config{Tables: []encryption.Table{
		{Name: "contacts", Owner: "id", Columns: definitions[0].Columns},
	}, Tenant: mainTenant})
	c := ann()
	c.ID = 0
	err := e.db.Create(c).Error
	require.ErrorIs(t, err, gormfield.ErrOwner)
	require.ErrorContains(t, err, "the owner is the id of the row, which is not drawn")
	require.NoError(t, e.raw.QueryRowContext(t.Context(), `SELECT nextval('contacts_id_seq')`).Scan(&c.ID))
	require.NoError(t, e.db.Create(c).Error)
	var back Contact
	require.NoError(t, e.db.First(&back, c.ID).Error)
	require.Equal(t, c.Email, back.Email)
}

// Setting is the tenant's own, of several tenants in one table.
type Setting struct {
	ID     int64 `gorm:"primaryKey"`
	Tenant string
	Value  string `gorm:"serializer:crmguard"`
}

func TestTenantsHaveAColumn(t *testing.T) {
	e := newEnvWith(t, testdb.New(t, testdb.SQLite), gormfield.Config{Tables: []encryption.Table{
		{Name: "settings", Shared: true, Tenant: "tenant", Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "value", Text: true}}},
	}}, "other")
	_, err := e.raw.ExecContext(t.Context(), "CREATE TABLE settings (id INTEGER PRIMARY KEY, tenant TEXT, value TEXT)")
	require.NoError(t, err)
	require.NoError(t, e.db.Create([]*Setting{{ID: 1, Tenant: "main", Value: "secret a"}, {ID: 2, Tenant: "other", Value: "secret b"}}).Error)
	require.ErrorIs(t, e.db.Create(&Setting{Value: "secret c"}).Error, gormfield.ErrOwner)
	var all []Setting
	require.NoError(t, e.db.Order("id").Find(&all).Error)
	require.Equal(t, []Setting{{1, "main", "secret a"}, {2, "other", "secret b"}}, all)
	require.ErrorIs(t, e.db.Model(&all[0]).Update("tenant", "other").Error, gormfield.ErrOwner)
	tx := e.db.Model(&Setting{ID: 1, Tenant: "other"}).Update("value", "secret d")
	require.NoError(t, tx.Error)
	require.Zero(t, tx.RowsAffected)
	require.Contains(t, e.cells(t, "SELECT * FROM settings")[0]["value"], "cg1.")
	e.quiet(t)
}

// Each part of a statement is looked at by the callback that it is meant for:
// the connection is the plugin's only while the statement runs.
func TestHooksSeeTheirOwnConnectionAndOpenedValues(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	e.stored(t)
	seen := 0
	look := func(db *gorm.DB) {
		seen++
		require.NotContains(t, reflect.TypeOf(db.Statement.ConnPool).String(), "gormfield")
	}
	for _, register := range []func(string, func(*gorm.DB)) error{
		e.db.Callback().Create().Before("gorm:after_create").Register, e.db.Callback().Update().Before("gorm:after_update").Register,
		e.db.Callback().Query().Before("gorm:after_query").Register, e.db.Callback().Delete().Before("gorm:commit_or_rollback_transaction").Register,
	} {
		require.NoError(t, register("look", look))
	}
	require.NoError(t, e.db.Callback().Query().Before("gorm:after_query").Register("opened", func(db *gorm.DB) {
		if c, ok := db.Statement.Dest.(*Contact); ok && db.Error == nil {
			require.Equal(t, annMail, c.Email)
		}
	}))
	var c Contact
	require.NoError(t, e.db.First(&c).Error)
	require.NoError(t, e.db.Model(&c).Update("name", "Eve").Error)
	require.NoError(t, e.db.Create(&Contact{ID: 2, Person: "p1"}).Error)
	require.NoError(t, e.db.Delete(&c).Error)
	require.Equal(t, 4, seen)
	_, registered := schema.GetSerializer("crmguard")
	require.True(t, registered)
}
