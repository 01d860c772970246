package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

func TestCheckSchema(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		findings, err := sqlstore.CheckSchema(t.Context(), db, dataMap())
		require.NoError(t, err)
		require.Empty(t, findings)

		exec(t, db, `ALTER TABLE people ADD COLUMN birthday TEXT`)
		exec(t, db, `CREATE TABLE newsletter (mail TEXT)`)
		exec(t, db, `DROP INDEX cases_person ON cases`)
		exec(t, db, `DROP INDEX meeting_people_person ON meeting_people`)
		exec(t, db, `ALTER TABLE meeting_people ADD COLUMN role TEXT`)
		exec(t, db, `CREATE TABLE logins (id INTEGER PRIMARY KEY, case_id INTEGER REFERENCES cases(id))`)
		m := dataMap()
		m.Tables[2].Columns = append(m.Tables[2].Columns, datamap.Column{Name: "gone", Category: "x"})
		m.Tables = append(m.Tables, datamap.Table{Name: "never"}, datamap.Table{Name: "logins", Columns: []datamap.Column{{Name: "id"}, {Name: "case_id"}}})
		findings, err = sqlstore.CheckSchema(t.Context(), db, m)
		require.NoError(t, err)
		var text []string
		for _, f := range findings {
			text = append(text, f.String())
		}
		require.Equal(t, []string{
			"edge without index cases.person",
			"edge without index meeting_people.person",
			"missing column steps.gone",
			"missing table never",
			"unclassified column meeting_people.role",
			"unclassified column people.birthday",
			"unclassified table newsletter",
			"undeclared edge logins.case_id",
		}, text)
		_, err = sqlstore.CheckSchema(t.Context(), db, &datamap.Map{})
		require.ErrorIs(t, err, datamap.ErrMap)
	})
}
