package gormfield_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What an adoption hands out for a search or a column in the clear finds its rows
// through GORM and stands in none of its logs.
func TestNoLogShowsWhatAnAdoptionSearchesFor(t *testing.T) {
	const mail = "secret-lead@b.example"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvWith(t, d, gormfield.Config{
			Tables: []encryption.Table{{Name: "leads", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}}}},
			Tenant: mainTenant,
		})
		e.exec(t, `CREATE TABLE leads (id BIGINT PRIMARY KEY, person VARCHAR(60) NOT NULL, email VARCHAR(200))`)
		require.NoError(t, adoption.Install(t.Context(), e.raw))
		a, err := adoption.Open(t.Context(), adoption.Config{DB: e.raw, Table: e.plugin.Table("leads"), Columns: []adoption.Column{{Name: "email", Plain: "email"}}})
		require.NoError(t, err)
		statements, err := a.SQL(t.Context())
		require.NoError(t, err)
		e.exec(t, statements...)
		for i, stage := range []adoption.Stage{adoption.Plain, adoption.WriteBoth} {
			if stage != adoption.Plain {
				require.NoError(t, a.Move(t.Context(), "main", stage, adoption.MoveOptions{}))
			}
			w, err := a.Writer(t.Context(), "main", "p1")
			require.NoError(t, err)
			require.NoError(t, e.db.Table("leads").Create(map[string]any{"id": i + 1, "person": "p1", "email": w.Plain("email", mail)}).Error)
			condition, err := a.Lookup(t.Context(), "main", "email", mail)
			require.NoError(t, err)
			where, args := condition.Where("")
			for name, db := range map[string]*gorm.DB{"plain": e.db, "prepared": e.db.Session(&gorm.Session{PrepareStmt: true})} {
				var n int64
				found := db.Model(&Lead{}).Where(where, args...)
				require.NoError(t, found.Count(&n).Error, name)
				require.NotZero(t, n, name)
				rows := []Lead{}
				require.NoError(t, found.Find(&rows).Error, name)
				require.Len(t, rows, int(n), name)
				ids := db.Model(&Lead{}).Select("id").Where(where, args...)
				require.NoError(t, db.Where("id IN (?)", ids).Where(where, args...).Find(&rows).Error, name)
				require.Len(t, rows, int(n), name)
				require.NoError(t, db.Raw("SELECT count(*) FROM leads WHERE "+where, args...).Row().Scan(&n), name)
				require.Len(t, rows, int(n), name)
				tx := db.Model(&Lead{}).Where(where, args...).Updates(map[string]any{"email": w.Plain("email", mail)})
				require.NoError(t, tx.Error, name)
				require.NotContains(t, db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Where(where, args...).Find(&[]Lead{}) }), "secret", name)
				require.ErrorIs(t, db.Where(where, args...).Where("id = -1").First(&Lead{}).Error, gorm.ErrRecordNotFound, name)
				require.Error(t, db.Where(where, args...).Where("there_is_none = 1").Find(&rows).Error, name)
			}
			log := e.log.take()
			require.Contains(t, log, "value(masked)")
			require.NotContains(t, log, "secret")
		}
		condition, err := a.Lookup(t.Context(), "main", "email", mail)
		require.NoError(t, err)
		where, args := condition.Where("")
		require.EqualValues(t, 2, e.db.Where(where, args...).Delete(&Lead{}).RowsAffected)
		require.NotContains(t, e.log.take(), "secret")
	})
}
