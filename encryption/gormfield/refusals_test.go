package gormfield_test

import (
	"database/sql/driver"
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

// What is refused is not logged: neither its text, in which a value may stand as
// a literal, nor its arguments.
func TestARefusedStatementIsNotLogged(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		c := e.stored(t)
		for what, run := range map[string]func(db *gorm.DB) error{
			"Find":   func(db *gorm.DB) error { return db.Where("email = 'secret'").Find(&[]Contact{}).Error },
			"Rows":   func(db *gorm.DB) error { return rowsOf(db.Model(c).Where("email = 'secret'")) },
			"Update": func(db *gorm.DB) error { return db.Model(c).Where("email = 'secret'").Update("name", "x").Error },
			"Delete": func(db *gorm.DB) error { return db.Where("email = 'secret'").Delete(c).Error },
			"Exec":   func(db *gorm.DB) error { return db.Exec("UPDATE contacts SET email = 'secret'").Error },
			"Raw": func(db *gorm.DB) error {
				return db.Raw("SELECT id FROM contacts WHERE email = 'secret'").Scan(&[]int64{}).Error
			},
			"Create": func(db *gorm.DB) error {
				return db.Clauses(clause.Returning{Columns: []clause.Column{{Name: "coalesce(email, 'secret')", Raw: true}}}).Create(&Contact{Person: "p1"}).Error
			},
			"arguments": func(db *gorm.DB) error { return db.Where("email = ?", "secret").Find(&[]Contact{}).Error },
		} {
			require.Error(t, run(e.db), what)
			require.NotContains(t, e.log.take(), "secret", what)
		}
	})
}

func rowsOf(db *gorm.DB) error {
	rows, err := db.Rows()
	if err == nil {
		_ = rows.Close()
	}
	return err
}

// Slow is a value that takes longer to be had than a Writer may be used.
type Slow struct{ clock *atomic.Int64 }

// Value is for GORM.
func (s Slow) Value() (driver.Value, error) {
	s.clock.Add(int64(time.Hour))
	return "secret at last", nil
}

// A value is sealed by a Writer whose lease holds, however long it took to get
// the value after the Writer was taken.
func TestAWriterWhoseLeaseIsOverIsTakenAgain(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kek, Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	plugin, err := gormfield.New(vault, gormfield.Config{Tables: definitions, Tenant: mainTenant})
	require.NoError(t, err)
	dialector, raw := dialect(t, testdb.New(t, testdb.SQLite))
	for _, statement := range schemaFor(testdb.SQLite) {
		_, err := raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: silent()})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	e.db, e.raw, e.plugin = db.WithContext(t.Context()), raw, plugin

	require.NoError(t, e.db.Table("contacts").Create(map[string]any{"id": 1, "person": "p1", "email": Slow{&clock}}).Error)
	e.holds(t, 1, "email", "secret at last")
	require.NoError(t, e.db.Table("contacts").Where("id = 1").Updates(map[string]any{"person": "p1", "notes": Slow{&clock}}).Error)
	e.holds(t, 1, "notes", "secret at last")
}

// Seat is sealed for its row, whose key is not the only unique one.
type Seat struct {
	ID     int64 `gorm:"primaryKey"`
	Place  string
	Person string
	Text   string `gorm:"serializer:crmguard"`
}

// An upsert gives no row another key while values stay that are bound to the old.
func TestAnUpsertDoesNotMoveTheKeyOfARow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvWith(t, d, gormfield.Config{Tables: append([]encryption.Table{{Name: "seats", Level: encryption.LevelRow, Columns: []encryption.Column{{Name: "text"}}}}, definitions...), Tenant: mainTenant})
		cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)"}[d.Name]
		if cell == "" {
			cell = "BYTEA"
		}
		e.exec(t, "CREATE TABLE seats (id BIGINT PRIMARY KEY, place VARCHAR(60) UNIQUE, person VARCHAR(60), text "+cell+")")
		require.NoError(t, e.db.Create(&Seat{ID: 1, Place: "a", Person: "p1", Text: "secret"}).Error)
		place := []clause.Column{{Name: "place"}}
		for _, c := range []clause.OnConflict{
			{Columns: place, DoUpdates: clause.Assignments(map[string]any{"id": 9})},
			{Columns: place, DoUpdates: clause.AssignmentColumns([]string{"id"})},
			{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.Assignments(map[string]any{"id": 9})},
		} {
			require.ErrorIs(t, e.db.Clauses(c).Create(&Seat{ID: 2, Place: "a", Person: "p1", Text: "secret"}).Error, gormfield.ErrOwner)
		}
		var seats []Seat
		require.NoError(t, e.db.Find(&seats).Error)
		require.Equal(t, []Seat{{1, "a", "p1", "secret"}}, seats)
	})
}

// A migration does not convert a sealed column, which no value would survive.
func TestAMigrationDoesNotConvertWhatIsSealed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		e.stored(t)
		require.ErrorIs(t, e.db.AutoMigrate(&Contact{}), gormfield.ErrRaw)
		require.NoError(t, e.db.Exec("ALTER TABLE contacts ADD COLUMN more VARCHAR(10)").Error)
		var c Contact
		require.NoError(t, e.db.First(&c).Error)
		whole(t, c)
	})
}

// An error of GORM about a value that no field takes does not quote the value.
func TestAnErrorDoesNotQuoteAValue(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	e.stored(t)
	bad := struct{ A string }{"secret"}
	for what, db := range map[string]*gorm.DB{
		"Assign": e.db.Where("id = 1").Assign(map[string]any{"email": bad}).FirstOrCreate(&Contact{}),
		"Update": e.db.Model(ann()).Update("email", bad),
		"Create": e.db.Model(&Contact{}).Create(map[string]any{"id": 2, "person": "p1", "email": bad}),
	} {
		require.ErrorIs(t, db.Error, gormfield.ErrValue, what)
		require.NotContains(t, db.Error.Error(), "secret", what)
	}
	e.quiet(t)
	hooked := e.db.Session(&gorm.Session{})
	require.NoError(t, hooked.Callback().Create().Before("crmguard:seal").Register("set", func(db *gorm.DB) { db.Statement.SetColumn("Email", bad) }))
	err := hooked.Create(&Contact{ID: 3, Person: "p1"}).Error
	require.ErrorIs(t, err, gormfield.ErrValue)
	require.NotContains(t, err.Error(), "secret")
	e.quiet(t)
}
