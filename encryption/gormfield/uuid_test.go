package gormfield_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Badge is sealed for its row, whose key is a UUID.
type Badge struct {
	ID     string `gorm:"primaryKey"`
	Person string
	Text   string `gorm:"serializer:crmguard"`
}

const (
	small  = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	second = "B0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11"
)

// A UUID is one id in capitals and in small letters, as it is to the keys: whatever
// the column makes of it, a row is written, read and saved under either.
func TestAUUIDIsOneIDInEitherCase(t *testing.T) {
	types := map[testdb.Name][]string{
		testdb.SQLite: {"TEXT"}, testdb.PostgresC: {"UUID", "TEXT"}, testdb.PostgresICU: {"UUID", "VARCHAR(36)"},
		testdb.MariaDB: {"UUID", "VARCHAR(36) COLLATE utf8mb4_bin"},
	}
	capitals := strings.ToUpper(small)
	id := []clause.Column{{Name: "id"}}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, typ := range types[d.Name] {
			t.Run(typ, func(t *testing.T) {
				tables := append([]encryption.Table{{Name: "badges", Level: encryption.LevelRow, Columns: []encryption.Column{{Name: "text"}}}}, definitions...)
				e := newEnvWith(t, testdb.New(t, d.Name), gormfield.Config{Tables: tables, Tenant: mainTenant})
				contacts := strings.Replace(schemaFor(d.Name)[1], "person VARCHAR(60)", "person "+typ, 1)
				cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(600)"}[d.Name]
				if cell == "" {
					cell = "BYTEA"
				}
				e.exec(t, "DROP TABLE contacts", contacts, "CREATE TABLE badges (id "+typ+" PRIMARY KEY, person "+typ+", text "+cell+")")
				contact := func(id int64, person string) *Contact {
					c := ann()
					c.ID, c.Person = id, person
					return c
				}
				require.NoError(t, e.db.Create([]*Contact{contact(1, capitals), contact(2, small)}).Error)
				for _, id := range []int64{1, 2} {
					for _, person := range []string{small, capitals} {
						tx := e.db.Model(&Contact{ID: id, Person: person}).Update("email", newMail)
						require.NoError(t, tx.Error)
						require.EqualValues(t, 1, tx.RowsAffected)
						tx = e.db.Model(&Contact{}).Where("id = ?", id).Updates(map[string]any{"person": person, "name": "Eve", "notes": "secret " + person[:2]})
						require.NoError(t, tx.Error)
						require.EqualValues(t, 1, tx.RowsAffected)
						other := map[string]string{small: capitals, capitals: small}[person]
						tx = e.db.Model(&Contact{ID: id, Person: other}).Updates(map[string]any{"person": person, "notes": "secret " + person[:2]})
						require.NoError(t, tx.Error)
						require.EqualValues(t, 1, tx.RowsAffected)
						tx = e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"name", "phone", "email", "notes", "street", "person"})}).Create(contact(id, person))
						require.NoError(t, tx.Error)
						require.NotZero(t, tx.RowsAffected)
					}
					if d.Name != testdb.MariaDB { // where an upsert writes all or nothing
						for _, person := range []string{small, capitals} {
							c := contact(id, person)
							c.Email = "secret-" + person[:2] + "@b.example"
							tx := e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"email"})}).Create(c)
							require.NoError(t, tx.Error)
							require.EqualValues(t, 1, tx.RowsAffected)
							e.holds(t, id, "email", c.Email)
						}
					}
					require.Zero(t, e.db.Model(&Contact{ID: id, Person: second}).Update("email", newMail).RowsAffected, "another id")
				}
				saved := contact(2, capitals)
				require.NoError(t, e.db.Save(saved).Error)
				var all []Contact
				require.NoError(t, e.db.Order("id").Find(&all).Error)
				require.Len(t, all, 2)
				require.Equal(t, annMail, all[1].Email)
				require.Equal(t, "secret notes", *all[0].Notes)

				require.NoError(t, e.db.Create(&Badge{ID: capitals, Person: capitals, Text: "secret"}).Error)
				tx := e.db.Where("person IS NOT NULL").Table("badges").Updates(map[string]any{"id": strings.ToUpper(small), "person": small, "text": "secret new"})
				require.NoError(t, tx.Error)
				require.EqualValues(t, 1, tx.RowsAffected)
				if d.Name != testdb.MariaDB {
					tx = e.db.Clauses(clause.OnConflict{Columns: id, UpdateAll: true}).Create(&Badge{ID: capitals, Person: small, Text: "secret upsert"})
					require.NoError(t, tx.Error)
					require.EqualValues(t, 1, tx.RowsAffected)
				}
				var badges []Badge
				require.NoError(t, e.db.Find(&badges).Error)
				require.Len(t, badges, 1)
				require.Contains(t, []string{"secret new", "secret upsert"}, badges[0].Text)
				e.quiet(t)
			})
		}
	})
}
