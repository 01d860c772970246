package gormfield_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// withCall is ann with a company and a call; calls are bound to their rows.
func withCall() *Contact {
	c := ann()
	c.Company = &Company{ID: 5, Email: "plain@b.example"}
	c.Calls = []Call{{ID: 9, Person: "p1", Text: "secret call"}}
	return c
}

// call opens a call without GORM.
func (e *env) call(t *testing.T, id, want string) {
	t.Helper()
	rows := e.cells(t, "SELECT * FROM calls WHERE id = "+id)
	require.Len(t, rows, 1)
	reader, err := e.plugin.Table("calls").Row(t.Context(), "main", rows[0]["person"], id)
	require.NoError(t, err)
	got, err := reader.Text(t.Context(), "text", []byte(rows[0]["text"]))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

var relations = []path{
	{"nested create", nil, func(t *testing.T, e *env) error {
		err := e.db.Create(withCall()).Error
		e.holds(t, 1, "email", annMail)
		e.call(t, "9", "secret call")
		return err
	}},
	{"nested create from below", nil, func(t *testing.T, e *env) error {
		err := e.db.Create(&Call{ID: 9, Person: "p1", Text: "secret call", Contact: ann()}).Error
		e.holds(t, 1, "email", annMail)
		e.call(t, "9", "secret call")
		return err
	}},
	{"nested save", nil, func(t *testing.T, e *env) error {
		c := withCall()
		require.NoError(t, e.db.Create(c).Error)
		c.Calls[0].Text = "secret again"
		err := e.db.Session(&gorm.Session{FullSaveAssociations: true}).Save(c).Error
		if e.name == testdb.MariaDB { // an upsert of what is bound to its row
			require.ErrorIs(t, err, gormfield.ErrOwner)
			return nil
		}
		e.call(t, "9", "secret again")
		return err
	}},
	{"nested create without an owner", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		c := withCall()
		c.Calls[0].Person = ""
		err := e.db.Create(c).Error
		require.Empty(t, e.cells(t, "SELECT * FROM contacts"), "the whole is rolled back")
		return err
	}},
	{"Preload", nil, func(t *testing.T, e *env) error {
		require.NoError(t, e.db.Create(withCall()).Error)
		var c Contact
		require.NoError(t, e.db.Preload("Calls").Preload("Company").First(&c).Error)
		whole(t, c)
		require.Equal(t, "secret call", c.Calls[0].Text)
		require.Equal(t, "plain@b.example", c.Company.Email)
		c = Contact{}
		require.NoError(t, e.db.Preload(clause.Associations).First(&c).Error)
		require.Equal(t, "secret call", c.Calls[0].Text)
		return nil
	}},
	{"Preload with a condition on a sealed column", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		require.NoError(t, e.db.Create(withCall()).Error)
		return e.db.Preload("Calls", "text = ?", "secret call").First(&Contact{}).Error
	}},
	{"Joins", nil, func(t *testing.T, e *env) error {
		require.NoError(t, e.db.Create(withCall()).Error)
		var calls []Call
		require.NoError(t, e.db.Joins("Contact").Joins("Contact.Company").Find(&calls).Error)
		require.Equal(t, "secret call", calls[0].Text)
		whole(t, *calls[0].Contact)
		require.Equal(t, "plain@b.example", calls[0].Contact.Company.Email)
		var c Contact
		require.NoError(t, e.db.InnerJoins("Company").First(&c).Error)
		whole(t, c)
		require.Equal(t, "plain@b.example", c.Company.Email)
		return nil
	}},
	{"Joins without the other side", nil, func(t *testing.T, e *env) error {
		require.NoError(t, e.db.Create(&Call{ID: 9, Person: "p1", Text: "secret call"}).Error)
		var calls []Call
		require.NoError(t, e.db.Joins("Contact").Find(&calls).Error)
		require.Equal(t, "secret call", calls[0].Text)
		require.Nil(t, calls[0].Contact)
		return nil
	}},
	{"Joins with a condition on a sealed column", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Joins("Contact", e.db.Where("email = ?", annMail)).Find(&[]Call{}).Error
	}},
	{"Joins with a condition on a sealed column of the relation", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Joins("Contact").Where("Contact.email = ?", annMail).Find(&[]Call{}).Error
	}},
	{"Association", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		calls := e.db.Model(c).Association("Calls")
		require.NoError(t, calls.Append(&Call{ID: 9, Person: "p1", Text: "secret call"}))
		e.call(t, "9", "secret call")
		var found []Call
		require.NoError(t, calls.Find(&found))
		require.Equal(t, "secret call", found[0].Text)
		require.NoError(t, e.db.Model(c).Association("Calls").Replace(&Call{ID: 10, Person: "p1", Text: "secret other"}))
		e.call(t, "10", "secret other")
		e.call(t, "9", "secret call") // cut off, and still its own
		require.EqualValues(t, 1, e.db.Model(c).Association("Calls").Count())
		return e.db.Model(c).Association("Calls").Clear()
	}},
	{"an upsert of what is sealed and whose it is", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Email, c.Person = newMail, "p2"
		err := e.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(c).Error
		e.holds(t, 1, "email", newMail)
		e.holds(t, 1, "street", "secret street")
		return err
	}},
	{"an upsert of one column", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Email = newMail
		err := e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"email"})}).Create(c).Error
		if e.name == testdb.MariaDB { // no WHERE there that keeps to the owner
			require.ErrorIs(t, err, gormfield.ErrOwner)
			return nil
		}
		e.holds(t, 1, "email", newMail) // and its index
		return err
	}},
	{"an upsert of one column for another owner touches nothing", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Email, c.Person = newMail, "p2"
		err := e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"email", "person"})}).Create(c).Error
		if e.name == testdb.MariaDB {
			require.ErrorIs(t, err, gormfield.ErrOwner)
			err = nil
		}
		e.holds(t, 1, "email", annMail)
		e.holds(t, 1, "street", "secret street")
		return err
	}},
	{"an upsert with a value", gormfield.ErrValue, func(t *testing.T, e *env) error {
		return e.db.Clauses(clause.OnConflict{DoUpdates: clause.Assignments(map[string]any{"email": newMail})}).Create(e.stored(t)).Error
	}},
	{"an upsert of another column by a sealed one", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		return e.db.Clauses(clause.OnConflict{DoUpdates: clause.Assignments(map[string]any{"name": gorm.Expr("contacts.email")})}).Create(e.stored(t)).Error
	}},
	{"an upsert that does nothing", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		c.Email = newMail
		err := e.db.Clauses(clause.OnConflict{DoNothing: true}).Create(c).Error
		e.holds(t, 1, "email", annMail)
		return err
	}},
	{"an upsert of a row by something else than its key", gormfield.ErrOwner, func(_ *testing.T, e *env) error {
		return e.db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "contact_id"}}, UpdateAll: true}).Create(&Call{ID: 9, Person: "p1", Text: "secret call"}).Error
	}},
	{"RETURNING", nil, func(t *testing.T, e *env) error {
		c := e.stored(t)
		if e.name == testdb.MariaDB {
			return nil // GORM asks it for nothing on UPDATE
		}
		var back []Contact
		err := e.db.Model(&back).Clauses(clause.Returning{}).Where("id = ?", 1).Update("name", "Eve").Error
		require.Len(t, back, 1)
		whole(t, back[0])
		back = nil
		require.NoError(t, e.db.Unscoped().Clauses(clause.Returning{}).Where("id = ?", c.ID).Delete(&back).Error)
		whole(t, back[0])
		return err
	}},
	{"RETURNING of an expression", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		if e.name == testdb.MariaDB {
			return gormfield.ErrSearch
		}
		var back []Contact
		return e.db.Model(&back).Clauses(clause.Returning{Columns: []clause.Column{{Name: "upper(email) AS name", Raw: true}}}).Where("id = ?", 1).Update("name", "Eve").Error
	}},
	{"another owner's call is not moved", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		require.NoError(t, e.db.Create(&Call{ID: 9, Person: "p1", Text: "secret call"}).Error)
		return e.db.Model(&Call{ID: 9, Person: "p1"}).Update("id", 10).Error
	}},
}

func TestRelationsAndUpserts(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		walk(t, newEnv(t, d), relations)
	})
}
