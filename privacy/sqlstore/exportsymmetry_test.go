package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Every cell that an erasure changes or deletes was in the export before, as it
// stood there, or was listed as left out: on a schema that other people wrote.
func TestAnExportHasWhatAnErasureTakes(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		require.NoError(t, privacy.Install(t.Context(), w.SQL))
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: w.SQL, Map: w.Map(), Redact: func(_ context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
			return sqlstore.Redaction{Apply: func(ctx context.Context, tx datastore.Tx) error {
				_, err := tx.ExecContext(ctx, `UPDATE deals SET summary = '[redacted]' WHERE id = `+r.Key)
				return err
			}}, nil
		}})
		require.NoError(t, err)
		state := w.Backup(t)
		for _, p := range w.People {
			w.Restore(t, state)
			scopes := []datastore.Scope{{Tenant: p.TenantText(), Person: p.IDText(), Now: stranger.Now()}}
			if p.Merged != 0 {
				scopes = append(scopes, datastore.Scope{Tenant: p.TenantText(), Person: fmt.Sprint(p.Merged), Now: stranger.Now()})
			}
			taken := symmetric(t, t, w.DB, w.Map(), s, scopes)
			require.Greater(t, taken, 40, p.Habit)
		}
	})
}

// So on schemas that nobody wrote.
func TestAnExportHasWhatAnErasureTakesOfAnySchema(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		randomschema.Walk(t, d, 8, randomschema.Options{Undated: true}, func(rt *rapid.T, c *randomschema.Case, db wholedb.DB) {
			require.NoError(rt, privacy.Install(t.Context(), db.SQL))
			s := openRandom(t, rt, c, db)
			var scopes []datastore.Scope
			for _, n := range c.Group(rapid.IntRange(0, len(c.People)-1).Draw(rt, "erased")) {
				scopes = append(scopes, datastore.Scope{Tenant: fmt.Sprint(c.People[n].Tenant), Person: c.People[n].ID, Now: randomschema.Now()})
			}
			symmetric(t, rt, db, c.Map, s, scopes)
		})
	})
}

// symmetric exports and erases, and returns how many cells were taken.
func symmetric(t *testing.T, rt require.TestingT, db wholedb.DB, m *datamap.Map, s *sqlstore.Store, scopes []datastore.Scope) (taken int) {
	t.Helper()
	exported := map[string]map[string]datastore.Field{}
	for _, scope := range scopes {
		for r, err := range s.Export(t.Context(), scope) {
			require.NoError(rt, err)
			name := r.Table + " " + strings.ReplaceAll(r.Key, "T00:00:00Z", "") // what a driver makes of a DATE
			row := exported[name]
			if row == nil {
				row = map[string]datastore.Field{}
				exported[name] = row
			}
			for _, f := range r.Fields {
				if known, there := row[f.Name]; !there || known.Withhold != "" {
					row[f.Name] = f
				}
			}
		}
	}
	rows := func() map[string]wholedb.Row {
		all := map[string]wholedb.Row{}
		db.Rows(t, func(r wholedb.Row) {
			if name, ok := rowName(m, r); ok {
				all[name] = r
			}
		})
		return all
	}
	before := rows()
	require.NoError(rt, s.EraseIn(t.Context(), scopes, func(context.Context, datastore.Tx, []datastore.Row) error { return nil }))
	after := rows()
	for name, was := range before {
		is, stayed := after[name]
		if as, ok := ofLink(m, was); ok { // it says that the record is about the person
			if !stayed {
				require.Contains(rt, exported, as, "the record that %s names", name)
				taken++
			}
			continue
		}
		for _, cell := range was.Cells {
			if stayed && is.Text(cell.Column) == string(cell.Bytes) || cell.Bytes == nil {
				continue
			}
			taken++
			require.Contains(rt, exported, name, "an erasure takes %s", cell.Column)
			field, there := exported[name][cell.Column]
			require.True(rt, there, "an erasure takes %s of %s, and no export has it", cell.Column, name)
			if text, isText := field.Value.(string); isText && !strings.HasPrefix(string(cell.Bytes), "{") {
				require.Equal(rt, strings.TrimSuffix(strings.TrimSuffix(string(cell.Bytes), "/128"), "/32"), text, "%s of %s", cell.Column, name) // an inet of one host
			}
			require.True(rt, field.Value != nil || field.Withhold != "", "%s of %s is empty in the export", cell.Column, name)
		}
	}
	return taken
}

// rowName names a row as an export does.
func rowName(m *datamap.Map, r wholedb.Row) (name string, ok bool) {
	if table, mapped := m.Table(r.Table); mapped {
		key := make([]string, len(table.Key))
		for i, column := range table.Key {
			if key[i] = r.Text(column); len(key) > 1 {
				key[i] = strings.NewReplacer("%", "%25", "/", "%2F").Replace(key[i])
			}
		}
		return r.Table + " " + strings.Join(key, "/"), true
	}
	for _, table := range m.Tables {
		if table.Link != nil && table.Link.Table == r.Table {
			return r.String(), true
		}
	}
	return "", false
}

// ofLink names the record of a row in a link table.
func ofLink(m *datamap.Map, r wholedb.Row) (record string, ok bool) {
	if t, mapped := m.Table(r.Table); mapped && t.Reaches() {
		return "", false
	}
	for _, table := range m.Tables {
		if table.Link != nil && table.Link.Table == r.Table {
			return table.Name + " " + r.Text(table.Link.Record), true
		}
	}
	return "", false
}
