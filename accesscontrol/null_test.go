package accesscontrol_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

const noteSchema = `entity User; entity Note = { stage?: String, amount?: Long, hot?: Bool, owner?: User };
action "read" appliesTo { principal: User, resource: Note };`

// noteConditions ask in every way whether something is there.
var noteConditions = []string{
	`resource has stage`, `!(resource has stage)`, `resource has stage && resource.stage == ""`, `resource has stage && resource.stage != "lead"`,
	`resource has amount`, `!(resource has amount)`, `resource has amount && resource.amount == 0`, `resource has amount && resource.amount < 5`,
	`resource has hot`, `!(resource has hot)`, `resource has hot && resource.hot`, `!(resource has hot && resource.hot)`,
	`resource has owner`, `!(resource has owner)`, `resource has owner && resource.owner == principal`, `!(resource has owner && resource.owner == principal)`,
}

func noteTable(name testdb.Name) string {
	switch name {
	case testdb.SQLite:
		return `CREATE TABLE notes (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stage TEXT, amount INTEGER, hot INTEGER, owner TEXT) STRICT`
	case testdb.MariaDB:
		return `CREATE TABLE notes (id BIGINT PRIMARY KEY, tenant VARBINARY(64) NOT NULL, stage VARCHAR(40) COLLATE utf8mb4_nopad_bin, amount BIGINT, hot BOOLEAN, owner VARBINARY(64))`
	default:
		return `CREATE TABLE notes (id bigint PRIMARY KEY, tenant text NOT NULL, stage text, amount bigint, hot boolean, owner text)`
	}
}

// noteTargets are what applications scan a nullable column into.
var noteTargets = map[string]func() any{
	"any": func() any { return new(any) }, "[]byte": func() any { return new([]byte) }, "RawBytes": func() any { return new(sql.RawBytes) },
	"NullString": func() any { return new(sql.NullString) }, "Null[string]": func() any { return new(sql.Null[string]) }, "Null[[]byte]": func() any { return new(sql.Null[[]byte]) },
	"NullInt64": func() any { return new(sql.NullInt64) }, "NullBool": func() any { return new(sql.NullBool) }, "NullFloat64": func() any { return new(sql.NullFloat64) },
	"*string": func() any { return new(*string) }, "**int64": func() any { return new(**int64) }, "*bool": func() any { return new(*bool) }, "RawMessage": func() any { return new(json.RawMessage) },
}

// A check permits exactly what the filter selects, whatever Go type a row was
// scanned into: NULL, empty text, 0 and false stay what they are. A Go type
// that a column does not fit may be an error; it is never a permit.
func TestACheckKnowsNullAsTheDatabaseDoes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		_, err := db.ExecContext(t.Context(), noteTable(d.Name))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO notes VALUES (1, 'main', NULL, NULL, NULL, NULL), (2, 'main', '', 0, `+literal(d, false)+`, ''), (3, 'main', 'lead', 7, `+literal(d, true)+`, 'ann'), (4, 'main', 'x', 1, `+literal(d, true)+`, 'bob')`)
		require.NoError(t, err)
		for _, driver := range d.Name.Drivers() {
			t.Run(driver, func(t *testing.T) { agree(t, d.OpenWith(t, driver), d) })
		}
	})
}

func literal(d testdb.Database, yes bool) string {
	if d.Name == testdb.SQLite {
		return map[bool]string{false: "0", true: "1"}[yes]
	}
	return strings.ToUpper(fmt.Sprint(yes))
}

func agree(t *testing.T, db *sql.DB, d testdb.Database) {
	t.Helper()
	ann := accesscontrol.Principal{Tenant: "main", ID: "ann"}
	rows := notes(t, db)
	permits, denials, faults := 0, 0, 0
	for _, condition := range noteConditions {
		for _, text := range []string{
			`@id("p") permit (principal, action, resource) when { ` + condition + ` };`,
			`@id("p") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { ` + condition + ` };`,
		} {
			policy := notePolicy(t, text)
			require.NoError(t, policy.CheckSchema(t.Context(), db))
			selected := selectedNotes(t, db, policy, ann, d)
			for _, row := range rows {
				err := policy.Check(t.Context(), ann, "read", row.Resource)
				if err == nil {
					permits++
					require.True(t, selected[row.id], "%s: row %d scanned into %s is permitted and not selected", text, row.id, row.target)
				} else if _, denied := errors.AsType[*accesscontrol.Denied](err); denied {
					denials++
					require.False(t, selected[row.id], "%s: row %d scanned into %s is selected and denied", text, row.id, row.target)
				} else {
					faults++
					require.ErrorIs(t, err, accesscontrol.ErrRequest)
					require.NotEqual(t, int64(1), row.id, "%s: NULL fits every type, scanned into %s", text, row.target)
				}
			}
		}
	}
	require.Greater(t, permits, 500)
	require.Greater(t, denials, 500)
	require.Positive(t, faults, "a boolean is no integer")
}

// note is a row as an application has it.
type note struct {
	accesscontrol.Resource
	id     int64
	target string
}

// notes reads every row into every target.
func notes(t *testing.T, db *sql.DB) []note {
	t.Helper()
	var out []note
	for id := int64(1); id <= 4; id++ {
		for name, target := range noteTargets {
			attrs := map[string]any{}
			for _, column := range []string{"stage", "amount", "hot", "owner"} {
				attrs[column] = scanned(t, db, column, id, target, name == "RawBytes" && id == 2) // of empty text nobody can tell
			}
			out = append(out, note{accesscontrol.Resource{Type: "note", ID: fmt.Sprint(id), Tenant: "main", Attrs: attrs}, id, name})
		}
	}
	return out
}

func notePolicy(t *testing.T, text string) *accesscontrol.Policy {
	t.Helper()
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
		Texts: map[string]string{"note.cedarschema": noteSchema, "note.cedar": text},
		Tables: []accesscontrol.Table{{
			Resource: "note", Entity: "Note", Name: "notes", Key: "id", KeyAs: accesscontrol.Integer, Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "stage"}, {Attr: "amount"}, {Attr: "hot"}, {Attr: "owner"}},
		}},
	})
	require.NoError(t, err)
	return policy
}

func selectedNotes(t *testing.T, db *sql.DB, policy *accesscontrol.Policy, who accesscontrol.Principal, d testdb.Database) map[int64]bool {
	t.Helper()
	where, err := policy.Filter(t.Context(), who, "read", "note")
	require.NoError(t, err)
	condition, args := rendered(d, where, "n")
	rows, err := db.QueryContext(t.Context(), "SELECT id FROM notes n WHERE "+condition, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	out := map[int64]bool{}
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		out[id] = true
	}
	require.NoError(t, rows.Err())
	return out
}

// scanned reads a column as an application would that keeps all its values in
// one Go type, or in an any where the database refuses that.
func scanned(t *testing.T, db *sql.DB, column string, id int64, target func() any, plain bool) any {
	t.Helper()
	read := func(into any) error {
		rows, err := db.QueryContext(t.Context(), fmt.Sprintf("SELECT %s FROM notes WHERE id = %d", column, id))
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		require.True(t, rows.Next())
		err = rows.Scan(into)
		if raw, isRaw := into.(*sql.RawBytes); isRaw && *raw != nil {
			*raw = append(sql.RawBytes{}, *raw...) // the driver's own buffer until here
		}
		return err
	}
	into := target()
	if plain || read(into) != nil {
		into = new(any)
		require.NoError(t, read(into))
	}
	return reflect.ValueOf(into).Elem().Interface() // what stands in the struct of the application
}
