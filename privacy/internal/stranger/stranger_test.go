package stranger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// A search that cannot find proves nothing: every needle is found in the place
// where it was put, on every database, and in no other person's.
func TestEveryNeedleIsFoundWhereItWasPut(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		for _, p := range w.People {
			needles := w.Needles(p)
			require.Greater(t, len(needles), 15, p.Habit)
			found := w.Search(t, needles)
			require.Empty(t, wholedb.Lost(found, needles), p.Habit)
			require.Empty(t, w.Lost(t, p))
		}
	})
}

// An erasure by hand of one person leaves nothing of them, and everything else.
func TestNeedlesOfOnePersonAreNotThoseOfAnother(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		for _, p := range w.People {
			for _, q := range w.People {
				for _, n := range w.Needles(p) {
					if p == q {
						continue
					}
					require.False(t, slices.ContainsFunc(w.Needles(q), func(m wholedb.Needle) bool {
						return strings.Contains(strings.ToLower(m.Text), strings.ToLower(n.Text))
					}), "%s of %d and %d", n.Name, p.N, q.N)
				}
			}
		}
	})
}

func TestAWorldIsPutBack(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		all := func() (out []string) {
			w.Rows(t, func(r wholedb.Row) { out = append(out, r.String()) })
			slices.Sort(out)
			return out
		}
		before := all()
		state := w.Backup(t)
		require.Equal(t, before, all())
		exec := func(query string) {
			_, err := w.SQL.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		add := `INSERT INTO comments (subject_type, subject_id, author_id, body, created_at) SELECT 'Deal', '7', author_id, 'late', created_at FROM comments WHERE id = 1`
		exec(add)
		exec(`CREATE TABLE later (a INTEGER)`)
		exec(`INSERT INTO later VALUES (1)`)
		exec(`DELETE FROM ` + w.Table("invoice_lines"))
		exec(`DELETE FROM ` + w.Table("invoices"))
		exec(`UPDATE contacts SET name = 'x', nickname = NULL`)
		require.NotEqual(t, before, all())
		w.Restore(t, state)
		require.Equal(t, before, all())
		exec(add)
		var top, rows int
		require.NoError(t, w.SQL.QueryRowContext(t.Context(), `SELECT max(id), count(*) FROM comments`).Scan(&top, &rows))
		require.Equal(t, rows, top, "the next number is given out again, as after any restore")
		w.Restore(t, state)
		require.Equal(t, before, all(), "a state is put back as often as one wants")
	}, stranger.Trigger)
}

// What the schema does by itself.
func TestTheSchemaHasAWillOfItsOwn(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		exec := func(query string) error {
			_, err := w.SQL.ExecContext(t.Context(), query)
			return err
		}
		contact := func(i int) string { return fmt.Sprint(w.People[i].ID) }
		require.Error(t, exec(`DELETE FROM contacts WHERE id = `+contact(0)), "notes and chiefs name the contact")
		require.Error(t, exec(`UPDATE contacts SET email = NULL`), "an address is never NULL")
		require.Error(t, exec(`UPDATE contacts SET email = 'x@example.org'`), "and UNIQUE")
		require.Error(t, exec(`UPDATE portal_accounts SET login = 'gone'`), "and an address")
		require.Error(t, exec(`UPDATE portal_accounts SET display = 'x'`), "two characters at least")
		require.Error(t, exec(`UPDATE contacts SET phone = '[redacted]'`), "a number")
		require.Error(t, exec(`UPDATE contacts SET attribs = 'none'`), "JSON")
		require.Error(t, exec(`UPDATE contacts SET stage = 'gone'`), "one of four")
		require.Error(t, exec(`DELETE FROM `+w.Table("invoices")), "lines name their invoice")
		if w.Name == testdb.MariaDB {
			n := 0
			require.NoError(t, w.SQL.QueryRowContext(t.Context(), `SELECT count(*) FROM mailing_list WHERE address = (SELECT email FROM contacts WHERE id = `+contact(0)+`)`).Scan(&n))
			require.Equal(t, 2, n, "the lookalike is one to MariaDB")
		}
	})
}

func TestVariants(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			w := stranger.OpenWith(t, name, 3, stranger.Cascade, stranger.Trigger)
			p := w.People[0]
			for _, query := range []string{`DELETE FROM notes`, `DELETE FROM deal_persons`, `UPDATE contacts SET reports_to = NULL`, `DELETE FROM ` + w.Table("invoice_lines"), `DELETE FROM contacts WHERE id = ` + p.IDText()} {
				_, err := w.SQL.ExecContext(t.Context(), query)
				require.NoError(t, err, query)
			}
			n := 0
			require.NoError(t, w.SQL.QueryRowContext(t.Context(), `SELECT count(*) FROM `+w.Table("invoices")+` WHERE contact_id = `+p.IDText()).Scan(&n))
			require.Zero(t, n, "kept invoices went with their contact")
			email := slices.DeleteFunc(w.Needles(p), func(n wholedb.Needle) bool { return n.Name != "contacts.email" })
			require.True(t, slices.ContainsFunc(w.Search(t, email), func(f wholedb.Where) bool { return f.Table == "outbox" }), "and the deletion was written to the outbox")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, name := range testdb.Names() {
		b.Run(string(name), func(b *testing.B) {
			for b.Loop() {
				stranger.Open(b, name)
			}
		})
	}
}
