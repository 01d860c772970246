package gormfield_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Patient has columns whose names are not those of its fields, and an honest one
// that is nearly that of a sealed one.
type Patient struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	Remark string `gorm:"column:notes;serializer:crmguard"`
	Meta   Meta   `gorm:"embedded;embeddedPrefix:meta_"`
	NoTes  string `gorm:"column:no_tes"`
}

// Meta is embedded.
type Meta struct {
	Hint string `gorm:"column:clue;serializer:crmguard"`
}

// A name in a map or an assignment that is a sealed column or field in another
// spelling would take its value past the plugin, and is refused; the others go on.
func TestANameInAnotherSpellingIsRefused(t *testing.T) {
	tables := append([]encryption.Table{{Name: "patients", Columns: []encryption.Column{{Name: "notes"}, {Name: "meta_clue"}}}}, definitions...)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvWith(t, d, gormfield.Config{Tables: tables, Tenant: mainTenant})
		cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)"}[d.Name]
		if cell == "" {
			cell = "BYTEA"
		}
		e.exec(t, "CREATE TABLE patients (id BIGINT PRIMARY KEY, person VARCHAR(60), notes "+cell+", meta_clue "+cell+", no_tes VARCHAR(60))")
		id := []clause.Column{{Name: "id"}}
		ways := map[string]func(db *gorm.DB, name string, value any) error{
			"Create": func(db *gorm.DB, name string, value any) error {
				return db.Create(map[string]any{"id": 9, "person": "p1", name: value}).Error
			},
			"Create of a list": func(db *gorm.DB, name string, value any) error {
				return db.Create(&[]map[string]any{{"id": 9, "person": "p1"}, {"id": 10, "person": "p1", name: value}}).Error
			},
			"Updates": func(db *gorm.DB, name string, value any) error {
				return db.Where("id = 1").Updates(map[string]any{"person": "p1", name: value}).Error
			},
			"Update": func(db *gorm.DB, name string, value any) error { return db.Where("id = 1").Update(name, value).Error },
			"UpdateColumn": func(db *gorm.DB, name string, value any) error {
				return db.Where("id = 1").UpdateColumn(name, value).Error
			},
			"Set": func(db *gorm.DB, name string, value any) error {
				return db.Where("id = 1").Clauses(clause.Set{{Column: clause.Column{Name: name}, Value: value}}).Updates(map[string]any{}).Error
			},
			"an upsert": func(db *gorm.DB, name string, value any) error {
				return db.Clauses(clause.OnConflict{Columns: id, DoUpdates: clause.Assignments(map[string]any{name: value})}).Create(map[string]any{"id": 1, "person": "p1"}).Error
			},
		}
		model := func() *gorm.DB { return e.db.Model(&Patient{}) }
		table := func() *gorm.DB { return e.db.Table("patients") }
		for what, way := range ways {
			for name, on := range map[string]func() *gorm.DB{
				"`notes`": model, `"notes"`: model, "[notes]": model, "patients.notes": model, " notes": model,
				"no\u200btes": model, "remark": model, "REMARK": model, "Meta.Hint": model, "meta.clue": model, "MetaHint": model, "metahint": model, "meta hint": model,
				"Notes": table, "main.patients.notes": table, "no_tes": table,
			} {
				err := way(on(), name, "secret")
				require.ErrorIs(t, err, gormfield.ErrValue, "%s of %q", what, name)
				require.NotContains(t, err.Error(), "secret")
				require.NotContains(t, e.log.take(), "secret")
			}
		}
		for _, name := range []string{"NOTES", "MetaClue", "Remark", "Hint"} { // which GORM looks up in maps only
			require.Error(t, ways["Set"](model(), name, "secret"))
			require.Error(t, ways["an upsert"](model(), name, "secret"))
			require.NotContains(t, e.log.take(), "secret")
		}
		require.Empty(t, e.cells(t, "SELECT * FROM patients"))
		for id, name := range []string{"NOTES", "MetaClue", "Remark", "Hint"} {
			require.NoError(t, model().Create(map[string]any{"id": 100 + id, "person": "p1", name: "secret"}).Error)
			require.NoError(t, model().Where("id = ?", 100+id).Updates(map[string]any{"person": "p1", name: "secret " + name}).Error)
		}
		for _, row := range e.cells(t, "SELECT * FROM patients") {
			require.NotContains(t, row["notes"]+row["meta_clue"], "secret")
		}
		require.NoError(t, e.db.Where("id >= 100").Delete(&Patient{}).Error)

		require.NoError(t, model().Create(map[string]any{"ID": 1, "Person": "p1", "Remark": "secret", "meta_clue": "secret", "no_tes": "open"}).Error)
		require.NoError(t, model().Where("id = 1").Updates(map[string]any{"NoTes": "still open", "person": "p1", "notes": "secret new"}).Error)
		var back Patient
		require.NoError(t, e.db.First(&back).Error)
		require.Equal(t, Patient{ID: 1, Person: "p1", Remark: "secret new", Meta: Meta{"secret"}, NoTes: "still open"}, back)
		require.NotContains(t, e.log.take(), "secret")
	})
}
