package gormfield_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// path is one way to or from the database. After each, neither the database nor
// the log holds plaintext.
type path struct {
	name string
	want error // nil: it works
	run  func(t *testing.T, e *env) error
}

func walk(t *testing.T, e *env, paths []path) {
	t.Helper()
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			e.clear(t)
			err := p.run(t, e)
			if p.want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, p.want)
				require.NotContains(t, err.Error(), "secret")
			}
			e.quiet(t)
		})
	}
}

const newMail = "secret-new@b.example"

// ContactPatch is another struct for some columns of contacts, without tags.
type ContactPatch struct{ Email string }

var writes = []path{
	{"Create", nil, func(t *testing.T, e *env) error {
		c := ann()
		err := e.db.Create(c).Error
		e.holds(t, 1, "email", c.Email)
		e.holds(t, 1, "notes", *c.Notes)
		e.holds(t, 1, "phone", c.Phone.String)
		e.holds(t, 1, "street", string(c.Street))
		whole(t, *c) // the model keeps what it had
		require.False(t, c.EmailIdx.IsNull(), "the index field is filled in")
		return err
	}},
	{"Create with NULL and empty", nil, func(t *testing.T, e *env) error {
		err := e.db.Create(&Contact{ID: 1, Person: "p1"}).Error
		row := e.cells(t, "SELECT * FROM contacts")[0]
		require.NotEmpty(t, row["email"], "an empty text is sealed")
		for _, column := range []string{"email_idx", "notes", "phone", "street"} {
			require.NotContains(t, row, column, "what is nil is NULL")
		}
		var c Contact
		require.NoError(t, e.db.First(&c).Error)
		require.Equal(t, Contact{ID: 1, Person: "p1"}, c)
		return err
	}},
	{"Create of a value", nil, func(t *testing.T, e *env) error {
		c := *ann()
		err := e.db.Create(&[]Contact{c}).Error
		e.holds(t, 1, "email", c.Email)
		return err
	}},
	{"Create draws an id for nobody's row", nil, func(t *testing.T, e *env) error {
		c := ann()
		c.ID = 0
		err := e.db.Create(c).Error
		require.NotZero(t, c.ID)
		e.holds(t, c.ID, "email", c.Email)
		return err
	}},
	{"Create of many", nil, func(t *testing.T, e *env) error {
		a, b := ann(), ann()
		b.ID, b.Person, b.Email = 2, "p2", newMail
		err := e.db.Create([]*Contact{a, b}).Error
		e.holds(t, 1, "email", a.Email)
		e.holds(t, 2, "email", newMail)
		return err
	}},
	{"CreateInBatches", nil, func(t *testing.T, e *env) error {
		a, b := ann(), ann()
		b.ID, b.Person, b.Email = 2, "p2", newMail
		err := e.db.CreateInBatches([]*Contact{a, b}, 1).Error
		e.holds(t, 1, "email", a.Email)
		e.holds(t, 2, "email", newMail)
		return err
	}},
	{"Create from a map", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(&Contact{}).Create(map[string]any{"ID": 1, "person": "p1", "Email": newMail}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Create from maps", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(&Contact{}).Create(&[]map[string]any{{"id": 1, "person": "p1", "EMAIL": newMail}, {"id": 2, "person": "p2"}}).Error
		require.NoError(t, err)
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Create from a map, by table", nil, func(t *testing.T, e *env) error {
		err := e.db.Table("contacts").Create(map[string]any{"id": 1, "person": "p1", "email": newMail}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Create from a map with an expression", gormfield.ErrValue, func(_ *testing.T, e *env) error {
		return e.db.Model(&Contact{}).Create(map[string]any{"id": 1, "person": "p1", "email": clause.Expr{SQL: "upper(?)", Vars: []any{newMail}}}).Error
	}},
	{"Create without an owner", gormfield.ErrOwner, func(_ *testing.T, e *env) error {
		c := ann()
		c.Person = ""
		return e.db.Create(c).Error
	}},
	{"Create without the owner's column", gormfield.ErrOwner, func(_ *testing.T, e *env) error {
		return e.db.Omit("Person").Create(ann()).Error
	}},
	{"Create through another struct", gormfield.ErrModel, func(_ *testing.T, e *env) error {
		return e.db.Table("contacts").Create(&ContactPatch{Email: newMail}).Error
	}},
	{"Create with Omit", nil, func(t *testing.T, e *env) error {
		err := e.db.Omit("Email").Create(ann()).Error
		require.Empty(t, e.cells(t, "SELECT * FROM contacts")[0]["email_idx"])
		e.holds(t, 1, "street", "secret street")
		return err
	}},
	{"Create with Select", nil, func(t *testing.T, e *env) error {
		err := e.db.Select("ID", "Person", "Email").Create(ann()).Error
		e.holds(t, 1, "email", "secret-ann@b.example")
		require.Empty(t, e.cells(t, "SELECT * FROM contacts")[0]["notes"])
		return err
	}},
	{"Save of a new one", nil, func(t *testing.T, e *env) error {
		err := e.db.Save(ann()).Error
		e.holds(t, 1, "email", "secret-ann@b.example")
		return err
	}},
	{"Save of an old one", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Email = newMail
		err := e.db.Save(c).Error
		e.holds(t, 1, "email", newMail)
		e.holds(t, 1, "notes", "secret notes")
		return err
	}},
	{"Save gives a row to another owner, with all it has", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Person = "p2"
		err := e.db.Save(c).Error
		e.holds(t, 1, "email", c.Email)
		e.holds(t, 1, "street", "secret street")
		return err
	}},
	{"Save of many", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Email = newMail
		err := e.db.Save([]*Contact{c}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Update", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		err := e.db.Model(c).Update("email", newMail).Error
		e.holds(t, 1, "email", newMail)
		require.Equal(t, newMail, c.Email)
		return err
	}},
	{"Update by the name of the field", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Update("Email", newMail).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Update, spelled otherwise", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Update("contacts.email", newMail).Error
		if e.name == testdb.PostgresC || e.name == testdb.PostgresICU || err != nil {
			return nil // whatever the database says of the name
		}
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Update to NULL", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Update("email", nil).Error
		row := e.cells(t, "SELECT * FROM contacts")[0]
		require.NotContains(t, row, "email")
		require.NotContains(t, row, "email_idx")
		return err
	}},
	{"Update of a row whose owner is not known", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Model(&Contact{}).Where("id = ?", 1).Update("email", newMail).Error
	}},
	{"Update with the wrong owner touches nothing", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		tx := e.db.Model(&Contact{ID: 1, Person: "p2"}).Update("email", newMail)
		require.Zero(t, tx.RowsAffected)
		e.holds(t, 1, "email", "secret-ann@b.example")
		return tx.Error
	}},
	{"Update of an owner's rows wants a condition", gorm.ErrMissingWhereClause, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Model(&Contact{Person: "p1"}).Update("email", newMail).Error
	}},
	{"Update of an expression", gormfield.ErrValue, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Update("email", gorm.Expr("upper(?)", newMail)).Error
	}},
	{"Update of a subquery", gormfield.ErrValue, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Update("email", e.db.Model(&Company{}).Select("email")).Error
	}},
	{"Update of another column by a sealed one", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Update("name", gorm.Expr("email")).Error
	}},
	{"Update of another column by a subquery on a sealed one", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Update("name", e.db.Model(&Contact{}).Select("max(email)")).Error
	}},
	{"Update of an index column", gormfield.ErrValue, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Update("email_idx", 5).Error
	}},
	{"Update of the owner alone", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Update("person", "p2").Error
	}},
	{"Updates with the owner and half of what is sealed", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Updates(Contact{Person: "p2", Email: newMail}).Error
	}},
	{"Update of a sealed value with one that is sealed", gormfield.ErrValue, func(t *testing.T, e *env) error {
		w, err := e.plugin.Table("contacts").Writer(t.Context(), "main", "p1")
		require.NoError(t, err)
		return e.db.Model(e.stored(t)).Update("email", w.Text("email", newMail)).Error
	}},
	{"Updates from a map", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Updates(map[string]any{"Email": newMail, "street": []byte("secret lane"), "phone": "secret 7", "Notes": new("secret n")}).Error
		e.holds(t, 1, "email", newMail)
		e.holds(t, 1, "street", "secret lane")
		e.holds(t, 1, "phone", "secret 7")
		e.holds(t, 1, "notes", "secret n")
		return err
	}},
	{"Updates from a map of two spellings", gormfield.ErrValue, func(t *testing.T, e *env) error {
		return e.db.Model(e.stored(t)).Updates(map[string]any{"Email": newMail, "EMAIL": newMail}).Error
	}},
	{"Updates from a struct", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Updates(Contact{Email: newMail, Address: Address{Street: []byte("secret lane")}}).Error
		e.holds(t, 1, "email", newMail)
		e.holds(t, 1, "street", "secret lane")
		return err
	}},
	{"Updates from another struct", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Updates(ContactPatch{Email: newMail}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Updates names the owner that the row has", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		err := e.db.Model(&Contact{}).Where("id = 1").Updates(Contact{Person: "p1", Email: newMail}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Updates with Select", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Select("Email").Updates(Contact{Email: newMail, Name: "no"}).Error
		e.holds(t, 1, "email", newMail)
		require.Equal(t, "Ann", e.cells(t, "SELECT name FROM contacts")[0]["name"])
		return err
	}},
	{"Updates with Omit", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Omit("Email").Updates(Contact{Email: newMail, Name: "Eve"}).Error
		e.holds(t, 1, "email", "secret-ann@b.example")
		return err
	}},
	{"Save with Omit keeps the index", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.EmailIdx, c.Name = encryption.IndexValue{}, "Eve"
		err := e.db.Omit("Email").Save(c).Error
		e.holds(t, 1, "email", "secret-ann@b.example")
		return err
	}},
	{"UpdateColumn", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).UpdateColumn("email", newMail).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"UpdateColumns", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).UpdateColumns(Contact{Email: newMail}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Update of several at once", nil, func(t *testing.T, e *env) error {
		a, b := ann(), ann()
		b.ID = 2
		require.NoError(t, e.db.Create([]*Contact{a, b}).Error)
		err := e.db.Model([]*Contact{a, b}).Update("email", newMail).Error
		e.holds(t, 1, "email", newMail)
		e.holds(t, 2, "email", newMail)
		return err
	}},
	{"Update of several owners at once", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		a, b := ann(), ann()
		b.ID, b.Person = 2, "p2"
		require.NoError(t, e.db.Create([]*Contact{a, b}).Error)
		return e.db.Model([]*Contact{a, b}).Update("email", newMail).Error
	}},
	{"clause.Set", nil, func(t *testing.T, e *env) error {
		err := e.db.Model(e.stored(t)).Where("id = 1").Clauses(clause.Set{{Column: clause.Column{Name: "email"}, Value: newMail}}).Updates(map[string]any{}).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"generics: Create, Update, Set", nil, func(t *testing.T, e *env) error {
		require.NoError(t, gorm.G[Contact](e.db).Create(t.Context(), ann()))
		e.holds(t, 1, "email", "secret-ann@b.example")
		_, err := gorm.G[Contact](e.db).Where("id = ?", 1).Updates(t.Context(), Contact{Person: "p1", Email: newMail})
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"generics: Set without an owner", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		_, err := gorm.G[Contact](e.db).Where("id = ?", 1).Set(clause.Assignment{Column: clause.Column{Name: "email"}, Value: newMail}).Update(t.Context())
		return err
	}},
	{"soft delete", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		err := e.db.Delete(c).Error
		e.holds(t, 1, "email", "secret-ann@b.example")
		return err
	}},
	{"DELETE", nil, func(t *testing.T, e *env) error {
		err := e.db.Unscoped().Delete(e.stored(t)).Error
		require.Empty(t, e.cells(t, "SELECT * FROM contacts"))
		return err
	}},
	{"Delete by a sealed column", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Where("email = ?", newMail).Delete(&Contact{}).Error
	}},
	{"FirstOrCreate creates", nil, func(t *testing.T, e *env) error {
		var c Contact
		err := e.db.Where(Contact{Person: "p1", ID: 1}).Attrs(Contact{Email: newMail}).Assign(map[string]any{"phone": "secret 7"}).FirstOrCreate(&c).Error
		e.holds(t, 1, "email", newMail)
		e.holds(t, 1, "phone", "secret 7")
		return err
	}},
	{"FirstOrCreate assigns", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var c Contact
		err := e.db.Where(Contact{ID: 1}).Assign(Contact{Email: newMail}).FirstOrCreate(&c).Error
		require.NoError(t, err)
		e.holds(t, 1, "email", newMail)
		require.Equal(t, newMail, c.Email)
		return err
	}},
	{"FirstOrCreate by a sealed column", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		var c Contact
		return e.db.Where(Contact{Email: newMail}).FirstOrCreate(&c).Error
	}},
	{"FirstOrInit", nil, func(t *testing.T, e *env) error {
		var c Contact
		err := e.db.Where(Contact{Person: "p1"}).Attrs(Contact{Email: newMail}).FirstOrInit(&c).Error
		require.Equal(t, newMail, c.Email)
		require.Empty(t, e.cells(t, "SELECT * FROM contacts"))
		return err
	}},
	{"in a transaction", nil, func(t *testing.T, e *env) error {
		err := e.db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Create(ann()).Error; err != nil {
				return err
			}
			return tx.Model(ann()).Update("email", newMail).Error
		})
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"with prepared statements", nil, func(t *testing.T, e *env) error {
		db := e.db.Session(&gorm.Session{PrepareStmt: true})
		require.NoError(t, db.Create(ann()).Error)
		err := db.Model(ann()).Update("email", newMail).Error
		e.holds(t, 1, "email", newMail)
		var c Contact
		require.NoError(t, db.First(&c, 1).Error)
		require.Equal(t, newMail, c.Email)
		return err
	}},
	{"without hooks and without transactions", nil, func(t *testing.T, e *env) error {
		err := e.db.Session(&gorm.Session{SkipHooks: true, SkipDefaultTransaction: true}).Create(ann()).Error
		e.holds(t, 1, "email", "secret-ann@b.example")
		return err
	}},
	{"DryRun", nil, func(t *testing.T, e *env) error {
		stmt := e.db.Session(&gorm.Session{DryRun: true}).Create(ann()).Statement
		for _, v := range stmt.Vars {
			require.NotContains(t, printed(v), "secret")
		}
		require.Empty(t, e.cells(t, "SELECT * FROM contacts"))
		return stmt.Error
	}},
	{"ToSQL", nil, func(t *testing.T, e *env) error {
		for _, sql := range []string{
			e.db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Create(ann()) }),
			e.db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Model(ann()).Update("email", newMail) }),
			e.db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Where("email = ?", newMail).Find(&[]Contact{}) }),
			e.db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Exec("UPDATE contacts SET email = ?", newMail) }),
			e.db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Where(&Contact{Email: newMail}).Find(&[]Contact{}) }),
		} {
			require.NotContains(t, sql, "secret")
		}
		return nil
	}},
	{"Exec", gormfield.ErrRaw, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Exec("UPDATE contacts SET email = ? WHERE id = 1", newMail).Error
	}},
	{"Exec without naming columns", gormfield.ErrRaw, func(_ *testing.T, e *env) error {
		return e.db.Exec("INSERT INTO contacts VALUES (1, 'p1', 'n', ?, 1, NULL, NULL, NULL, NULL, NULL)", newMail).Error
	}},
	{"Exec of two statements", gormfield.ErrRaw, func(_ *testing.T, e *env) error {
		return e.db.Exec("DELETE FROM contacts; UPDATE contacts SET name = ?", newMail).Error
	}},
	{"Exec that deletes", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		err := e.db.Exec("DELETE FROM contacts WHERE person = ?", "p1").Error
		require.Empty(t, e.cells(t, "SELECT * FROM contacts"))
		return err
	}},
	{"Exec by hand", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		w, err := e.plugin.Table("contacts").Writer(t.Context(), "main", "p1")
		require.NoError(t, err)
		err = gormfield.ByHand(e.db).Exec("UPDATE contacts SET email = ?, email_idx = ? WHERE id = 1", w.Text("email", newMail), w.Int64("email_idx", newMail)).Error
		e.holds(t, 1, "email", newMail)
		return err
	}},
	{"Raw that writes", gormfield.ErrRaw, func(t *testing.T, e *env) error {
		e.stored(t)
		var id int64
		return e.db.Raw("UPDATE contacts SET email = ? WHERE id = 1 RETURNING id", newMail).Scan(&id).Error
	}},
	{"an erased person", encryption.ErrErased, func(t *testing.T, e *env) error {
		c := ann()
		c.Person = "gone"
		require.NoError(t, e.db.Create(c).Error)
		_, err := e.vault.Erase(t.Context(), "main", "gone")
		require.NoError(t, err)
		return e.db.Model(c).Update("email", newMail).Error
	}},
	{"a context that is over", context.Canceled, func(t *testing.T, e *env) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return e.db.WithContext(ctx).Create(ann()).Error
	}},
}

func TestNothingIsWrittenUnsealed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		walk(t, newEnv(t, d), writes)
	})
}
