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

// Card is another struct for some columns of contacts.
type Card struct {
	Person string
	Email  string
}

const annMail = "secret-ann@b.example"

var reads = []path{
	{"First, Take, Last", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		for _, find := range []func(any, ...any) *gorm.DB{e.db.First, e.db.Take, e.db.Last} {
			var c Contact
			require.NoError(t, find(&c).Error)
			whole(t, c)
		}
		return nil
	}},
	{"Find", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var values []Contact
		require.NoError(t, e.db.Find(&values).Error)
		require.Len(t, values, 1)
		whole(t, values[0])
		var pointers []*Contact
		require.NoError(t, e.db.Find(&pointers).Error)
		whole(t, *pointers[0])
		var array [2]Contact
		require.NoError(t, e.db.Find(&array).Error)
		whole(t, array[0])
		return nil
	}},
	{"FindInBatches", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var page []Contact
		n := 0
		err := e.db.FindInBatches(&page, 1, func(*gorm.DB, int) error {
			n += len(page)
			whole(t, page[0])
			return nil
		}).Error
		require.Equal(t, 1, n)
		return err
	}},
	{"Scan into the model", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var one Contact
		require.NoError(t, e.db.Model(&Contact{}).Scan(&one).Error)
		whole(t, one)
		var many []Contact
		require.NoError(t, e.db.Model(&Contact{}).Scan(&many).Error)
		whole(t, many[0])
		return nil
	}},
	{"into another struct", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var cards []Card
		require.NoError(t, e.db.Model(&Contact{}).Find(&cards).Error)
		require.Equal(t, []Card{{"p1", annMail}}, cards)
		cards = nil
		require.NoError(t, e.db.Model(&Contact{}).Select("person", "email").Scan(&cards).Error)
		require.Equal(t, []Card{{"p1", annMail}}, cards)
		cards = nil
		require.NoError(t, e.db.Table("contacts").Find(&cards).Error)
		require.Equal(t, []Card{{"p1", annMail}}, cards)
		return nil
	}},
	{"into another struct without the owner", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Model(&Contact{}).Find(&[]ContactPatch{}).Error
	}},
	{"into a map", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		one := map[string]any{}
		require.NoError(t, e.db.Model(&Contact{}).Take(&one).Error)
		require.Equal(t, annMail, one["email"])
		require.EqualValues(t, "secret street", one["street"])
		var many []map[string]any
		require.NoError(t, e.db.Model(&Contact{}).Find(&many).Error)
		require.Equal(t, annMail, many[0]["email"])
		many = nil
		require.NoError(t, e.db.Table("contacts").Find(&many).Error)
		require.Equal(t, annMail, many[0]["email"])
		return nil
	}},
	{"Pluck", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		var mails []string
		err := e.db.Model(&Contact{}).Pluck("email", &mails).Error
		require.Empty(t, mails)
		return err
	}},
	{"Pluck of what is not sealed", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var names []string
		err := e.db.Model(&Contact{}).Pluck("name", &names).Error
		require.Equal(t, []string{"Ann"}, names)
		return err
	}},
	{"Select without the owner", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Select("id", "email").First(&Contact{}).Error
	}},
	{"Select and Omit", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var c Contact
		require.NoError(t, e.db.Select("person", "email").First(&c).Error)
		require.Equal(t, annMail, c.Email)
		require.Empty(t, c.Street)
		c = Contact{}
		require.NoError(t, e.db.Omit("Email").First(&c).Error)
		require.Empty(t, c.Email)
		require.Equal(t, "secret street", string(c.Street))
		return nil
	}},
	{"Select under another name", gormfield.ErrRaw, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Select("person, email AS name").Find(&[]Contact{}).Error
	}},
	{"Select of an expression", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Select("person", "upper(email) AS name").Find(&[]Contact{}).Error
	}},
	{"Select of a subquery", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Select("(SELECT email FROM contacts c WHERE c.id = contacts.id) AS name").Find(&[]Contact{}).Error
	}},
	{"Distinct", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Model(&Contact{}).Distinct("person", "email").Find(&[]Card{}).Error
	}},
	{"MapColumns", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var c Contact
		err := e.db.MapColumns(map[string]string{"email": "name"}).First(&c).Error
		require.Equal(t, annMail, c.Name) // opened before it is renamed
		return err
	}},
	{"Row and Rows", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var person, email string
		require.NoError(t, e.db.Model(&Contact{}).Select("person", "email").Row().Scan(&person, &email))
		require.Equal(t, annMail, email)
		rows, err := e.db.Model(&Contact{}).Rows()
		require.NoError(t, err)
		defer rows.Close()
		require.True(t, rows.Next())
		var c Contact
		require.NoError(t, e.db.ScanRows(rows, &c))
		whole(t, c)
		require.False(t, rows.Next())
		return rows.Err()
	}},
	{"Row without the owner", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		var email string
		return e.db.Model(&Contact{}).Select("email").Row().Scan(&email)
	}},
	{"ScanRows of rows from elsewhere", gormfield.ErrUnopened, func(t *testing.T, e *env) error {
		e.stored(t)
		rows, err := e.raw.QueryContext(t.Context(), "SELECT * FROM contacts")
		require.NoError(t, err)
		defer rows.Close()
		require.True(t, rows.Next())
		require.NoError(t, rows.Err())
		var c Contact
		err = e.db.ScanRows(rows, &c)
		require.Empty(t, c.Email)
		return err
	}},
	{"Raw", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var c Contact
		require.NoError(t, e.db.Raw("SELECT * FROM contacts WHERE id = ?", 1).Scan(&c).Error)
		whole(t, c)
		var card Card
		require.NoError(t, e.db.Raw("SELECT person, email FROM contacts").Scan(&card).Error)
		require.Equal(t, annMail, card.Email)
		many := []map[string]any{}
		require.NoError(t, e.db.Raw("SELECT c.person, c.email FROM contacts c").Find(&many).Error)
		require.Equal(t, annMail, many[0]["email"])
		return nil
	}},
	{"Raw under another name", gormfield.ErrRaw, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Raw("SELECT person, email AS name FROM contacts").Scan(&Contact{}).Error
	}},
	{"Raw of a scalar", gormfield.ErrOwner, func(t *testing.T, e *env) error {
		e.stored(t)
		var email string
		return e.db.Raw("SELECT email FROM contacts").Scan(&email).Error
	}},
	{"Raw with a condition", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Raw("SELECT * FROM contacts WHERE email = ?", annMail).Scan(&Contact{}).Error
	}},
	{"Raw of a union", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Raw("SELECT person, name FROM contacts UNION SELECT person, email FROM contacts").Scan(&Card{}).Error
	}},
	{"Raw of a subquery with *", gormfield.ErrRaw, func(t *testing.T, e *env) error {
		e.stored(t)
		return e.db.Raw("SELECT x.a FROM (SELECT * FROM contacts) x").Scan(&Card{}).Error
	}},
	{"Raw by hand", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var sealed encryption.Sealed
		require.NoError(t, gormfield.ByHand(e.db).Raw("SELECT email FROM contacts").Row().Scan(&sealed))
		require.NotEmpty(t, sealed.Bytes())
		session := gormfield.ByHand(e.db)
		require.NoError(t, session.Table("contacts").Where("id = 7").Find(&[]map[string]any{}).Error)
		var n int64
		require.NoError(t, session.Table("contacts").Count(&n).Error)
		require.EqualValues(t, 1, n, "the session is used again")
		return nil
	}},
	{"Where with a struct", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where(&Contact{Email: annMail}).Find(&[]Contact{}).Error
	}},
	{"Where with a map", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where(map[string]any{"email": annMail}).Find(&[]Contact{}).Error
	}},
	{"Where with text", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where("EMAIL = ?", annMail).Find(&[]Contact{}).Error
	}},
	{"Where with a literal", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where("email = 'secret-ann@b.example'").Find(&[]Contact{}).Error // which the log would show
	}},
	{"Where with a named argument", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where("email = @m", sql.Named("m", annMail)).Find(&[]Contact{}).Error
	}},
	{"Where with a clause", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Clauses(clause.Like{Column: "email", Value: annMail}).Find(&[]Contact{}).Error
	}},
	{"Where something is NULL", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		require.NoError(t, e.db.Create(&Contact{ID: 2, Person: "p1", Email: "secret"}).Error)
		for where, want := range map[string]int64{
			"notes IS NULL": 2, "contacts.notes is not null": 1, "(notes IS NULL AND NOT phone IS NOT NULL)": 2, "id = 2 AND notes  IS NULL": 2,
		} {
			var found []Contact
			require.NoError(t, e.db.Where(where).Find(&found).Error, where)
			require.Len(t, found, 1)
			require.Equal(t, want, found[0].ID)
		}
		for _, where := range []string{"'secret' = notes IS NULL", "notes IS NULL OR notes = 'secret'", "coalesce(notes, 'secret') IS NULL", "notes || 'secret' IS NULL"} {
			require.ErrorIs(t, e.db.Where(where).Find(&[]Contact{}).Error, gormfield.ErrSearch, where)
		}
		return nil
	}},
	{"Or, Not, inline", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		require.ErrorIs(t, e.db.Where("id = 1").Or("email = ?", annMail).Find(&[]Contact{}).Error, gormfield.ErrSearch)
		require.ErrorIs(t, e.db.Not("email = ?", annMail).Find(&[]Contact{}).Error, gormfield.ErrSearch)
		return e.db.Find(&[]Contact{}, "email = ?", annMail).Error
	}},
	{"Where with a subquery on a sealed column", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where("id NOT IN (?)", e.db.Model(&Contact{}).Select("id").Where("email = ?", annMail)).Find(&[]Contact{}).Error
	}},
	{"Where of another table with a subquery on a sealed column", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Where("id NOT IN (?)", e.db.Model(&Contact{}).Select("id").Where("email = ?", annMail)).Find(&[]Company{}).Error
	}},
	{"Where on the plain column of another table", nil, func(_ *testing.T, e *env) error {
		return e.db.Where("email = ?", "plain").Find(&[]Company{}).Error
	}},
	{"Order", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Order("email").Find(&[]Contact{}).Error
	}},
	{"Order by a clause", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Order(clause.OrderByColumn{Column: clause.Column{Name: "email"}}).Find(&[]Contact{}).Error
	}},
	{"Group and Having", gormfield.ErrSearch, func(t *testing.T, e *env) error {
		require.ErrorIs(t, e.db.Model(&Contact{}).Select("count(*)").Group("email").Find(&[]int64{}).Error, gormfield.ErrSearch)
		return e.db.Model(&Contact{}).Select("person").Group("person").Having("max(email) > ?", annMail).Find(&[]Card{}).Error
	}},
	{"Count", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		var n int64
		require.NoError(t, e.db.Model(&Contact{}).Count(&n).Error)
		require.EqualValues(t, 1, n)
		require.ErrorIs(t, e.db.Model(&Contact{}).Distinct("email").Count(&n).Error, gormfield.ErrSearch)
		return nil
	}},
	{"Lookup", nil, func(t *testing.T, e *env) error {
		e.stored(t)
		where, err := e.plugin.Lookup(t.Context(), "main", "contacts", "email_idx", "SECRET-ANN@b.example")
		require.NoError(t, err)
		var found []Contact
		require.NoError(t, e.db.Where(where).Find(&found).Error)
		require.Len(t, found, 1)
		whole(t, found[0])
		where, err = e.plugin.Lookup(t.Context(), "main", "contacts", "email_idx", newMail)
		require.NoError(t, err)
		require.NoError(t, e.db.Where(where).Find(&found).Error)
		require.Empty(t, found)
		return nil
	}},
	{"Joins over raw SQL with *", gormfield.ErrRaw, func(_ *testing.T, e *env) error {
		return e.db.Table("companies").Select("*").Joins("JOIN contacts ON contacts.company_id = companies.id").Find(&[]map[string]any{}).Error
	}},
	{"Joins over raw SQL with a sealed column", gormfield.ErrRaw, func(_ *testing.T, e *env) error {
		return e.db.Model(&Company{}).Select("companies.id", "contacts.email").Joins("JOIN contacts ON contacts.company_id = companies.id").Find(&[]Company{}).Error
	}},
	{"Joins over raw SQL on a sealed column", gormfield.ErrSearch, func(_ *testing.T, e *env) error {
		return e.db.Model(&Company{}).Joins("JOIN contacts ON contacts.email = companies.email").Find(&[]Company{}).Error
	}},
	{"one erased person on a page", encryption.ErrErased, func(t *testing.T, e *env) error {
		a, b := ann(), ann()
		a.ID, a.Person = 1, "gone"
		b.ID = 2
		require.NoError(t, e.db.Create([]*Contact{a, b}).Error)
		_, err := e.vault.Erase(t.Context(), "main", "gone")
		require.NoError(t, err)
		var page []Contact
		err = e.db.Order("id").Find(&page).Error
		require.Len(t, page, 2)
		whole(t, page[1])
		require.Empty(t, page[0].Email)
		require.Nil(t, page[0].Notes)
		var rows *encryption.RowsError
		require.ErrorAs(t, err, &rows)
		require.Len(t, rows.Rows, 1)
		require.ErrorIs(t, rows.Rows[0], encryption.ErrErased)
		return err
	}},
	{"a cell in another's place", encryption.ErrOpen, func(t *testing.T, e *env) error {
		a, b := ann(), ann()
		b.ID, b.Person = 2, "p2"
		require.NoError(t, e.db.Create([]*Contact{a, b}).Error)
		_, err := e.raw.ExecContext(t.Context(), "UPDATE contacts SET person = 'p2' WHERE id = 1")
		require.NoError(t, err)
		var c Contact
		err = e.db.First(&c, 1).Error
		require.Empty(t, c.Email)
		return err
	}},
}

func TestNothingIsReadUnopened(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		walk(t, newEnv(t, d), reads)
	})
}
