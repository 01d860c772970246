package adoption_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb/stranger"
)

// A schema that others wrote, with their types of keys, their triggers and
// constraints, goes there and back, and what stands in it is what stood in it.
func TestAStrangersTablesGoThereAndBack(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		for _, one := range []struct {
			def  encryption.Table
			cols []adoption.Column
		}{
			{ // keys of text, of which some differ by a blank or by case; citext with UNIQUE and CHECK
				encryption.Table{Name: "contacts", Owner: "id", Columns: []encryption.Column{
					{Name: "email", SQL: "email_sealed", Find: encryption.Email}, {Name: "phone", SQL: "phone_sealed"},
				}},
				[]adoption.Column{{Name: "email", Plain: "email"}, {Name: "phone", Plain: "phone"}},
			},
			{ // keys that the database draws, and values bound to them
				encryption.Table{Name: "activities", Owner: "subject_id", Level: encryption.LevelRow, Columns: []encryption.Column{{Name: "body", SQL: "body_sealed"}}},
				[]adoption.Column{{Name: "body", Plain: "body"}},
			},
			{ // uuid keys
				encryption.Table{Name: "accounts", Owner: "id", Columns: []encryption.Column{{Name: "name", SQL: "name_sealed"}}},
				[]adoption.Column{{Name: "name", Plain: "name"}},
			},
		} {
			table := c.Table(t, one.def.Name)
			one.def.SQL = table.Path
			e := newEnvOn(t, c.Name, c.DB, one.def, one.cols, "")
			dump := func() (out []string) {
				t.Helper()
				var columns []string
				for _, col := range one.cols {
					columns = append(columns, col.Plain)
				}
				rows, err := c.DB.QueryContext(t.Context(), `SELECT id, `+strings.Join(columns, ", ")+` FROM `+table.SQL+` ORDER BY id`)
				require.NoError(t, err)
				defer rows.Close()
				values, into := make([]*string, 1+len(columns)), make([]any, 1+len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				for rows.Next() {
					require.NoError(t, rows.Scan(into...))
					var line strings.Builder
					for _, v := range values {
						if v == nil {
							line.WriteString("|NULL")
							continue
						}
						fmt.Fprintf(&line, "|%q", *v)
					}
					out = append(out, line.String())
				}
				require.NoError(t, rows.Err())
				return out
			}
			// Most rows have no value, so that there is less to do.
			switch one.def.Name {
			case "contacts":
				few := []any{}
				marks := ""
				for _, id := range c.SpecialIDs() {
					few, marks = append(few, id), marks+"?, "
				}
				e.exec(t, `UPDATE `+table.SQL+` SET email = NULL, phone = NULL WHERE last_name < 'V' AND id NOT IN (`+strings.TrimSuffix(marks, ", ")+`)`, few...)
			case "activities":
				e.exec(t, `UPDATE `+table.SQL+` SET body = NULL WHERE id > 300`)
			}
			before := dump()
			require.Len(t, before, table.Rows)
			obstacles, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			var stand, lose []string
			for _, one := range obstacles {
				if one.Name != "" {
					lose = append(lose, one.Name)
				}
				stand = append(stand, string(one.Before)+" "+one.Column+" "+one.Option)
			}
			require.Equal(t, map[string][]string{
				"contacts": {"write-both email LoseUnique", "sealed-only email LoseChecks"}, "accounts": {"sealed-only name "},
			}[one.def.Name], stand, "%v", obstacles)
			require.Equal(t, before, dump())
			e.prepare(t)
			e.move(t, adoption.WriteBoth, adoption.MoveOptions{LoseUnique: lose})
			report := e.backfill(t)
			require.True(t, report.Clean, "%+v", report)
			require.EqualValues(t, table.Rows, report.Rows)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			e.backfill(t)
			err = e.a.Move(t.Context(), tenant, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseUnique: lose, LoseChecks: true, Accept: report.Refused})
			if one.def.Name == "accounts" { // a name is NOT NULL there
				require.ErrorIs(t, err, adoption.ErrNotReady)
				require.ErrorContains(t, err, "NOT NULL")
				continue
			}
			require.NoError(t, err)
			cleared, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.Equal(t, report.Refused, cleared.Refused, "%+v", cleared)
			require.NotEqual(t, before, dump())
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			unsealed, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, unsealed.Clean, "%+v", unsealed)
			e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
			e.move(t, adoption.Plain, adoption.MoveOptions{})
			require.Equal(t, before, dump())
			require.Greater(t, report.Changed, int64(50))
		}
	})
}
