package gormfield_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A model whose rows go to another table is sealed by the definition of that
// table; where there is none, it is not written.
func TestTheTableThatAStatementNamesDecides(t *testing.T) {
	tables := append([]encryption.Table{
		{Name: "archive", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}, {Name: "notes"}, {Name: "phone"}, {Name: "street"}}},
		{Name: "vault", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}, {Name: "name"}, {Name: "notes"}, {Name: "phone"}, {Name: "street"}}},
	}, definitions...)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvWith(t, d, gormfield.Config{Tables: tables, Tenant: mainTenant})
		for _, name := range []string{"archive", "vault", "old"} {
			e.exec(t, "CREATE TABLE "+name+" AS SELECT * FROM contacts")
		}
		c := ann()
		require.NoError(t, e.db.Table("archive").Create(c).Error)
		require.NoError(t, e.db.Table("archive").Where("id = 1").Model(c).Update("email", newMail).Error)
		row := e.cells(t, "SELECT * FROM archive")[0]
		reader, err := e.plugin.Table("archive").Row(t.Context(), "main", "p1", "1")
		require.NoError(t, err)
		for column, want := range map[string]string{"email": newMail, "street": "secret street"} {
			got, err := reader.Text(t.Context(), column, []byte(row[column]))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		var back Contact
		require.NoError(t, e.db.Table("archive").First(&back).Error)
		require.Equal(t, newMail, back.Email)
		require.NoError(t, e.db.Table("archive AS a").Where("a.id = 1").Take(&back).Error)

		c.Name = "secret name"
		require.ErrorIs(t, e.db.Table("vault").Create(c).Error, gormfield.ErrModel, "the name is sealed there")
		require.ErrorIs(t, e.db.Table("old").Create(c).Error, gormfield.ErrModel)
		require.ErrorIs(t, e.db.Table("old").Model(c).Where("id = 1").Update("email", newMail).Error, gormfield.ErrModel)
		require.ErrorIs(t, e.db.Table("old").Save(c).Error, gormfield.ErrModel)
		require.ErrorIs(t, e.db.Scopes(func(db *gorm.DB) *gorm.DB { return db.Table("old") }).Create(c).Error, gormfield.ErrModel)
		for _, name := range []string{"vault", "old"} {
			require.Empty(t, e.cells(t, "SELECT * FROM "+name))
		}
		require.NotContains(t, e.log.take(), "secret")
	})
}

// Nothing in an upsert compares with a sealed column.
func TestAnUpsertHasNoConditionOnASealedColumn(t *testing.T) {
	where := func(sql string, vars ...any) clause.Where {
		return clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: sql, Vars: vars}}}
	}
	id := []clause.Column{{Name: "id"}}
	name := clause.AssignmentColumns([]string{"name"})
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		e.stored(t)
		for what, c := range map[string]clause.OnConflict{
			"where":            {Columns: id, DoUpdates: name, Where: where("contacts.email = ?", "secret-ann@b.example")},
			"literal":          {Columns: id, DoUpdates: name, Where: where("contacts.email = 'secret'")},
			"Eq":               {Columns: id, DoUpdates: name, Where: clause.Where{Exprs: []clause.Expression{clause.Eq{Column: "email", Value: "secret"}}}},
			"subquery":         {Columns: id, DoUpdates: name, Where: where("id IN (?)", e.db.Model(&Contact{}).Select("id").Where("email = ?", "secret"))},
			"target":           {Columns: id, UpdateAll: true, TargetWhere: where("email = 'secret'")},
			"target, no write": {Columns: id, DoNothing: true, TargetWhere: where("email = 'secret'")},
			"column":           {Columns: []clause.Column{{Name: "email"}}, DoNothing: true},
			"constraint":       {OnConstraint: "email", DoNothing: true},
			"value":            {Columns: id, DoUpdates: clause.Assignments(map[string]any{"name": gorm.Expr("CASE WHEN contacts.email = ? THEN 'a' END", "secret")})},
		} {
			e.log.take()
			require.ErrorIs(t, e.db.Clauses(c).Create(ann()).Error, gormfield.ErrSearch, what)
			e.quiet(t)
		}
	})
}

// A condition of the caller's stays one beside those of the plugin. (MariaDB knows
// none there.)
func TestTheConditionOfAnUpsertStays(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			e := newEnv(t, d)
			e.stored(t)
			upsert := func(person string) int64 {
				c := ann()
				c.Person, c.Email = person, newMail
				tx := e.db.Clauses(clause.OnConflict{
					Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"email"}),
					Where: clause.Where{Exprs: []clause.Expression{clause.Or(clause.Expr{SQL: "contacts.name = 'Ann'"}), clause.Or(clause.Expr{SQL: "contacts.id = 1"})}},
				}).Create(c)
				require.NoError(t, tx.Error)
				return tx.RowsAffected
			}
			require.Zero(t, upsert("p2"))
			e.holds(t, 1, "email", "secret-ann@b.example")
			require.EqualValues(t, 1, upsert("p1"))
			e.holds(t, 1, "email", newMail)
		})
	}
}

// Doc has a stream, which no field stands for.
type Doc struct {
	ID     int64 `gorm:"primaryKey"`
	Person string
	Email  string `gorm:"serializer:crmguard"`
}

// DocFile has a field for the stream.
type DocFile struct {
	Doc
	File []byte
}

// TableName is for GORM.
func (DocFile) TableName() string { return "docs" }

// What a stream holds is not GORM's to write, and a row that has one stays with
// whom the stream is sealed for.
func TestAStreamIsNeitherWrittenNorLeftBehind(t *testing.T) {
	e := newEnvWith(t, testdb.New(t, testdb.SQLite), gormfield.Config{Tables: append([]encryption.Table{
		{Name: "docs", Columns: []encryption.Column{{Name: "email"}, {Name: "file", Stream: true}}},
	}, definitions...), Tenant: mainTenant})
	e.exec(t, "CREATE TABLE docs (id INTEGER PRIMARY KEY, person TEXT, email BLOB, file BLOB)")
	doc := Doc{ID: 1, Person: "p1", Email: "secret"}
	require.ErrorIs(t, e.db.Create(&DocFile{Doc: doc, File: []byte("secret")}).Error, gormfield.ErrModel)
	require.ErrorIs(t, e.db.Model(&Doc{}).Create(map[string]any{"id": 1, "person": "p1", "file": []byte("secret")}).Error, gormfield.ErrValue)
	require.NoError(t, e.db.Create(&doc).Error)
	require.ErrorIs(t, e.db.Model(&doc).Update("file", []byte("secret")).Error, gormfield.ErrValue)
	for _, change := range []map[string]any{{"person": "p2", "email": "secret"}, {"id": 2}} {
		other := doc // which GORM sets to what is new
		require.ErrorIs(t, e.db.Model(&other).Updates(change).Error, gormfield.ErrOwner)
	}
	moved := doc
	moved.Person = "p2"
	tx := e.db.Save(&moved)
	require.NoError(t, tx.Error)
	require.Zero(t, tx.RowsAffected)
	var back Doc
	require.NoError(t, e.db.First(&back).Error)
	require.Equal(t, doc, back)
	require.NotContains(t, e.log.take(), "secret")
}

// Where one cell does not open, the others do, and saving the row keeps them.
func TestOneCellThatDoesNotOpenTakesNoOthers(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d)
		e.stored(t)
		b := ann()
		b.ID, b.Person, b.Calls = 2, "p2", []Call{{ID: 5, Person: "p2", Text: "secret call"}}
		require.NoError(t, e.db.Create(b).Error)
		gone := ann()
		gone.ID, gone.Person = 3, "gone"
		require.NoError(t, e.db.Create(gone).Error)
		_, err := e.vault.Erase(t.Context(), "main", "gone")
		require.NoError(t, err)
		e.exec(t, "UPDATE contacts SET notes = street WHERE id = 1")

		var all []Contact
		err = e.db.Preload("Calls").Order("id").Find(&all).Error
		var rows *encryption.RowsError
		require.ErrorAs(t, err, &rows)
		require.Len(t, rows.Rows, 2)
		require.ErrorIs(t, rows.Rows[0], encryption.ErrOpen)
		require.ErrorIs(t, rows.Rows[2], encryption.ErrErased)
		require.Len(t, all, 3)
		require.Nil(t, all[0].Notes)
		require.Equal(t, ann().Email, all[0].Email)
		require.Equal(t, ann().Phone, all[0].Phone)
		require.Equal(t, ann().Street, all[0].Street)
		whole(t, Contact{Email: all[1].Email, Notes: all[1].Notes, Phone: all[1].Phone, Address: all[1].Address, Person: "p1"})
		require.Len(t, all[1].Calls, 1, "relations of the rows that open are loaded")
		require.Equal(t, "secret call", all[1].Calls[0].Text)
		require.Equal(t, Contact{ID: 3, Person: "gone", Name: "Ann", Phone: sql.NullString{}, Calls: []Call{}}, all[2])

		require.NoError(t, e.db.Omit("Calls", "Notes").Save(&all[0]).Error)
		e.holds(t, 1, "email", ann().Email)
		e.holds(t, 1, "phone", ann().Phone.String)
		e.holds(t, 1, "street", string(ann().Street))
	})
}
