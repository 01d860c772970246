package encryption_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/primitives"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/testdb"
)

// worn is an installation of ten persons with a row each, in which one cell is
// damaged and one is not sealed, and later one key.
type worn struct {
	*site
	people     *encryption.SealedTable
	old, fresh uint32
	whole      string // a key copy from before any damage
	listed     []jobs.Unreadable
	sealed     map[string][]byte // by person, of a sealer
}

var peopleTable = encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "mail", Find: encryption.Email}, {Name: "note"}}}

func newWorn(t *testing.T, d testdb.Database) *worn {
	t.Helper()
	w := &worn{site: newSite(t, d), sealed: map[string][]byte{}}
	require.NoError(t, w.vault.AddTenant(t.Context(), tenant))
	w.people = w.table(t, w.vault, peopleTable)
	cell := bytesOf(d.Name)
	w.exec(t, `CREATE TABLE people (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(60) NOT NULL, mail `+cell+`, mail_idx BIGINT, note `+cell+`)`)
	w.exec(t, `CREATE TABLE aside (id INTEGER NOT NULL PRIMARY KEY, content `+cell+`)`)
	for i := range 10 {
		person := fmt.Sprint("p", i)
		writer, err := w.people.Writer(t.Context(), tenant, person)
		require.NoError(t, err)
		w.exec(t, `INSERT INTO people (id, person, mail, mail_idx, note) VALUES (?, ?, ?, ?, ?)`, fmt.Sprint("r", i), person,
			writer.Text("mail", person+"@b.example"), writer.Int64("mail_idx", person+"@b.example"), writer.Text("note", "note of "+person))
		w.sealed[person], err = w.vault.PersonSealer("opening").Seal(t.Context(), tenant, person, []byte("was "+person), nil)
		require.NoError(t, err)
		w.old, err = sealedvalue.KeyVersion(w.sealed[person])
		require.NoError(t, err)
	}
	written, err := w.vault.WriteCopy(t.Context(), w.copies())
	require.NoError(t, err)
	w.keep(t, written)
	damaged := w.cell(t, "mail", "r1")
	damaged[len(damaged)-1] ^= 1
	w.exec(t, `UPDATE people SET mail = ? WHERE id = 'r1'`, damaged)
	w.exec(t, `UPDATE people SET mail = ? WHERE id = 'r4'`, []byte("clear"))
	return w
}

// keep keeps a copy for as long as the installation stands.
func (w *worn) keep(t *testing.T, written keycopy.Copy) {
	t.Helper()
	w.whole = filepath.Join(w.dir, "whole.jsonl")
	require.NoError(t, os.Rename(kept(t, written.Path), w.whole))
}

func (w *worn) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	_, err := w.db.ExecContext(t.Context(), dialectOf(t, w.db).Bind(query), args...)
	require.NoError(t, err, query)
}

func (w *worn) cell(t *testing.T, column, id string) []byte {
	t.Helper()
	var cell []byte
	require.NoError(t, w.db.QueryRowContext(t.Context(), `SELECT `+column+` FROM people WHERE id = '`+id+`'`).Scan(&cell))
	return cell
}

// opens are the persons whose note opens, in the order of their rows, in a process
// that remembers nothing.
func (w *worn) opens(t *testing.T) (out []string) {
	t.Helper()
	table := w.table(t, w.another(t), peopleTable)
	for i := range 10 {
		person, id := fmt.Sprint("p", i), fmt.Sprint("r", i)
		cell := w.cell(t, "note", id)
		if cell == nil {
			continue
		}
		row, err := table.Row(t.Context(), tenant, person, id)
		if err != nil {
			continue
		}
		if text, err := row.Text(t.Context(), "note", cell); err == nil {
			require.Equal(t, "note of "+person, text)
			out = append(out, person)
		}
	}
	return out
}

// spoilKey damages the key of a person that seals now.
func (w *worn) spoilKey(t *testing.T, person string) {
	t.Helper()
	w.exec(t, `UPDATE crmguard_encryption_key SET wrapped = ? WHERE owner = ? AND generation = ?`, make([]byte, 65), person, int64(w.fresh))
}

func without(person ...string) (out []string) {
	for i := range 10 {
		if p := fmt.Sprint("p", i); !slices.Contains(person, p) {
			out = append(out, p)
		}
	}
	return out
}

// A step is a call that walks over rows, values or keys, beside a bad one.
type wornStep struct {
	call string
	do   func(t *testing.T, w *worn)
}

// wornSteps are in the order in which they are taken: each leaves the installation
// to the next.
func wornSteps() []wornStep {
	return []wornStep{
		{"SealedTable.Census", func(t *testing.T, w *worn) {
			census, err := w.people.Census(t.Context(), w.db, tenant)
			require.NoError(t, err)
			require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{w.old: 19}, Unsealed: 1}, census)
		}},
		{"Vault.Counts", func(t *testing.T, w *worn) {
			counts, err := w.vault.Counts(w.db, tenant, w.people)(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[uint32]int64{w.old: 19}, counts[tenant])
		}},
		{"SealedTable.Opened", func(t *testing.T, w *worn) {
			var values []string
			for value, err := range w.people.Opened(t.Context(), w.db, tenant, "mail") {
				require.NoError(t, err)
				values = append(values, value)
			}
			require.Len(t, values, 8)
		}},
		{"SealedTable.Rebuild", func(t *testing.T, w *worn) {
			w.exec(t, `UPDATE people SET mail_idx = NULL WHERE id IN ('r0', 'r9')`)
			report, err := w.people.Rebuild(t.Context(), w.db, tenant)
			require.NoError(t, err)
			require.Equal(t, []int{10, 2, 2}, []int{report.Rows, report.Corrected, report.Unreadable})
			require.Equal(t, []string{"r1", "r4"}, []string{report.Listed[0].Key, report.Listed[1].Key})
		}},
		{"SealedTable.RebuildIndexes", func(t *testing.T, w *worn) {
			w.exec(t, `UPDATE people SET mail_idx = NULL WHERE id = 'r9'`)
			require.NoError(t, w.people.RebuildIndexes(w.db, tenant)(t.Context()))
			probes, err := w.people.Lookup(t.Context(), tenant, "mail_idx", "p9@b.example")
			require.NoError(t, err)
			where, args := probes.Where("")
			var id string
			require.NoError(t, w.db.QueryRowContext(t.Context(), dialectOf(t, w.db).Bind(`SELECT id FROM people WHERE `+where), args...).Scan(&id))
			require.Equal(t, "r9", id)
		}},
		{"Vault.FindRows", func(t *testing.T, w *worn) {
			found := map[string]bool{}
			for row, err := range w.vault.FindRows(t.Context(), w.db, tenant, map[string][]string{"email": {"p0@b.example", "p1@b.example", "p2@b.example"}}) {
				require.NoError(t, err)
				found[row.Key] = row.Confirmed
			}
			require.Equal(t, map[string]bool{"r0": true, "r1": false, "r2": true}, found)
		}},
		{"Vault.Undeclared", func(t *testing.T, w *worn) {
			for i, cell := range [][]byte{w.cell(t, "note", "r0"), w.cell(t, "mail", "r1"), []byte("\x01\x02"), nil, w.cell(t, "note", "r2")} {
				w.exec(t, `INSERT INTO aside (id, content) VALUES (?, ?)`, i, cell)
			}
			columns, err := w.vault.Undeclared(t.Context(), w.db, tenant)
			require.NoError(t, err)
			require.Len(t, columns, 1)
			require.Equal(t, map[uint32]int64{w.old: 3}, columns[0].KeyVersions)
		}},
		{"Vault.UndeclaredHolder", func(t *testing.T, w *worn) {
			n, _, err := w.vault.UndeclaredHolder(w.db)(t.Context(), tenant, w.old)
			require.NoError(t, err)
			require.Equal(t, 3, n)
			w.exec(t, `DELETE FROM aside`)
		}},
		{"SealedTable.Reseal", func(t *testing.T, w *worn) {
			var err error
			w.fresh, err = w.vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			report, err := w.people.Reseal(t.Context(), w.db, tenant, jobs.ResealOptions{Batch: 3})
			require.NoError(t, err)
			require.Equal(t, []int{10, 18, 1, 1}, []int{report.Rows, report.Cells, report.Unreadable, report.Unsealed})
			require.Equal(t, "r1", report.Listed[0].Key)
			w.listed = report.Listed
			require.Equal(t, without(), w.opens(t))
		}},
		{"PersonSealer.Reseal", func(t *testing.T, w *worn) {
			sealer := w.vault.PersonSealer("opening")
			_, _, err := sealer.Reseal(t.Context(), tenant, "p2", w.sealed["p1"], nil)
			require.ErrorIs(t, err, encryption.ErrOpen)
			resealed, changed, err := sealer.Reseal(t.Context(), tenant, "p2", w.sealed["p2"], nil)
			require.NoError(t, err)
			require.True(t, changed)
			w.sealed["p2"] = resealed
		}},
		{"PersonSealer.Resealer", func(t *testing.T, w *worn) {
			var report jobs.SealerReport
			reseal := w.vault.PersonSealer("opening").Resealer(&report)
			for i, value := range [][]byte{w.sealed["p0"], {1, 2, 3}, nil, w.sealed["p1"], []byte("clear"), w.sealed["p3"]} {
				out, err := reseal(t.Context(), tenant, []string{"p0", "p0", "p0", "p8", "p0", "p3"}[i], value, nil)
				require.NoError(t, err)
				require.Equal(t, i == 0 || i == 5, string(out) != string(value))
			}
			require.Equal(t, []int{2, 4}, []int{report.Resealed, report.Unreadable})
		}},
		{"PersonSealer.Census", func(t *testing.T, w *worn) {
			values := [][]byte{w.sealed["p2"], {1, 2, 3}, nil, w.sealed["p1"], []byte("clear"), {}, w.sealed["p3"]}
			census, err := w.vault.PersonSealer("opening").Census(all(values...))
			require.NoError(t, err)
			require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{w.old: 2, w.fresh: 1}, Null: 1, Unsealed: 3}, census)
		}},
		{"SealedTable.Holder", func(t *testing.T, w *worn) {
			for _, lost := range [][]jobs.Unreadable{nil, w.listed} {
				n, _, err := w.people.Holder(w.db, lost...)(t.Context(), tenant, w.old)
				require.NoError(t, err)
				require.Equal(t, 1-len(lost), n)
			}
		}},
		{"Vault.DestroyKeyVersion", func(t *testing.T, w *worn) {
			require.ErrorIs(t, w.vault.DestroyKeyVersion(t.Context(), tenant, w.old, w.people.Holder(w.db)), encryption.ErrInUse)
			require.NoError(t, w.vault.DestroyKeyVersion(t.Context(), tenant, w.old, w.people.Holder(w.db, w.listed...)))
			require.Equal(t, without(), w.opens(t))
		}},
		wornCaches(),
		{"Vault.WriteCopy", func(t *testing.T, w *worn) {
			written, err := w.vault.WriteCopy(t.Context(), w.copies())
			require.NoError(t, err)
			w.keep(t, written)
			require.NoError(t, w.vault.Ensure(t.Context(), tenant, "new"))
			w.spoilKey(t, "p3")
			w.spoilKey(t, "new")
			_, err = w.vault.WriteCopy(t.Context(), w.copies())
			damaged := damagedRows(t, err)
			require.Equal(t, []string{"new", "p3"}, []string{damaged.Rows[0].Owner, damaged.Rows[1].Owner})
			require.Equal(t, without("p3"), w.opens(t))
			cfg := w.cfg
			cfg.Keys = encryptiontest.Keys()
			_, err = encryption.RestoreCopy(t.Context(), cfg, kept(t, damaged.Copy))
			require.NoError(t, err)
		}},
		{"Vault.VerifyCopy", func(t *testing.T, w *worn) {
			_, err := w.vault.WriteCopy(t.Context(), w.copies())
			verified, err := w.vault.VerifyCopy(t.Context(), damagedRows(t, err).Copy)
			require.NoError(t, err)
			require.Equal(t, 2, verified.Holes)
		}},
		{"Vault.Copier", func(t *testing.T, w *worn) {
			require.Equal(t, 2, damagedRows(t, w.vault.Copier(w.copies())(t.Context())).Count)
		}},
		{"Vault.KeyCopy", func(t *testing.T, w *worn) {
			require.Equal(t, 2, damagedRows(t, w.vault.KeyCopy(w.copies())(t.Context(), mustPosition(t, w.vault))).Count)
		}},
		{"Vault.Status", func(t *testing.T, w *worn) {
			require.EqualValues(t, 2, found(t, w.vault, "encryption.store.damaged", "").Value)
		}},
		{"Vault.Inventory", func(t *testing.T, w *worn) {
			all, err := w.vault.Inventory(t.Context())
			require.NoError(t, err)
			require.Len(t, all.Tenants, 2)
		}},
		{"SealedTable.Reader", func(t *testing.T, w *worn) {
			table := w.table(t, w.another(t), peopleTable)
			r, err := table.Reader(t.Context(), tenant, "p2", "p3", "p6")
			require.NoError(t, err)
			for person, want := range map[string]bool{"p2": true, "p3": false, "p6": true} {
				_, err := r.Row(person, "").Text(t.Context(), "note", w.cell(t, "note", "r"+person[1:]))
				require.Equal(t, want, err == nil, "%s: %v", person, err)
			}
		}},
		{"SealedTable.PageReader", func(t *testing.T, w *worn) {
			r, err := w.table(t, w.another(t), peopleTable).PageReader(t.Context(), tenant, "p2", "p3", "p6")
			require.NoError(t, err)
			_, err = r.Row("p6", "").Text(t.Context(), "note", w.cell(t, "note", "r6"))
			require.NoError(t, err)
		}},
		wornPersons()[0], wornPersons()[1], wornPersons()[2],
		{"Vault.RepairFromCopy", func(t *testing.T, w *worn) {
			report, err := w.vault.RepairFromCopy(t.Context(), w.whole)
			require.Equal(t, "new", damagedRows(t, err).Rows[0].Owner)
			require.Equal(t, 1, report.Keys)
			require.Equal(t, without(), w.opens(t))
		}},
		{"Vault.GiveUp", func(t *testing.T, w *worn) {
			_, err := w.vault.WriteCopy(t.Context(), w.copies())
			rows := damagedRows(t, err).Rows
			require.Len(t, rows, 1)
			opens := rows[0]
			opens.Owner = "p3"
			require.ErrorIs(t, w.vault.GiveUp(t.Context(), rows[0], opens), encryption.ErrDamaged)
			_, err = w.vault.WriteCopy(t.Context(), w.copies())
			require.Equal(t, rows, damagedRows(t, err).Rows, "nothing was deleted")
			require.NoError(t, w.vault.GiveUp(t.Context(), rows...))
			_, err = w.vault.WriteCopy(t.Context(), w.copies())
			require.NoError(t, err)
		}},
		{"Vault.RewrapKeys", func(t *testing.T, w *worn) {
			w.spoilKey(t, "p3")
			told := w.another(t)
			require.ErrorIs(t, func() error {
				_, err := told.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }})
				return err
			}(), encryption.ErrRewrap, "it knows of no copy")
			report, err := w.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: w.vault.Copier(w.copies()), Destroy: w.destroy})
			require.NoError(t, err)
			require.Equal(t, 1, report.Repaired)
			require.Equal(t, without(), w.opens(t))
		}},
		{"SealedTable.Redact", func(t *testing.T, w *worn) {
			owner, err := encryption.NewRecordOwner()
			require.NoError(t, err)
			writer, err := w.people.RecordWriter(t.Context(), tenant, owner)
			require.NoError(t, err)
			w.exec(t, `INSERT INTO people (id, person, mail, note) VALUES ('x', ?, ?, ?)`, owner, w.cell(t, "mail", "r1"), writer.Text("note", "Ann"))
			edit := jobs.Redaction{Edit: func(_ string, b []byte) ([]byte, error) { return b[:1], nil }}
			_, err = w.people.Redact(t.Context(), w.db, tenant, "x", edit)
			require.Error(t, err)
			var person string
			require.NoError(t, w.db.QueryRowContext(t.Context(), `SELECT person FROM people WHERE id = 'x'`).Scan(&person))
			require.Equal(t, owner, person, "nothing was changed")
			w.exec(t, `UPDATE people SET mail = NULL WHERE id = 'x'`)
			_, err = w.people.Redact(t.Context(), w.db, tenant, "x", edit)
			require.NoError(t, err)
			w.exec(t, `DELETE FROM people WHERE id = 'x'`)
		}},
		{"SealedTable.ClearRows", func(t *testing.T, w *worn) {
			require.NoError(t, w.people.ClearRows(w.db)(t.Context(), tenant, "p1"))
			require.Nil(t, w.cell(t, "mail", "r1"))
			require.Equal(t, without("p1"), w.opens(t))
		}},
		{"Vault.EraseMany", func(t *testing.T, w *worn) {
			w.spoilKey(t, "p3")
			receipts, err := w.vault.EraseMany(t.Context(), tenant, "p2", "p3", "p6")
			require.NoError(t, err)
			require.Len(t, receipts, 3)
			for _, receipt := range receipts {
				require.Equal(t, 1, receipt.Keys)
			}
			require.Equal(t, without("p1", "p2", "p3", "p6"), w.opens(t))
		}},
		{"Vault.Erase", func(t *testing.T, w *worn) {
			w.spoilKey(t, "p7")
			receipt, err := w.vault.Erase(t.Context(), tenant, "p7")
			require.NoError(t, err)
			require.Equal(t, 1, receipt.Keys)
			require.Equal(t, without("p1", "p2", "p3", "p6", "p7"), w.opens(t))
			_, err = w.vault.WriteCopy(t.Context(), w.copies())
			require.NoError(t, err, "nothing is damaged any more")
		}},
	}
}

// ofOne are the calls that are about one value, one person, one tenant, or about
// the definition: a bad one is the answer, and stands in nobody's way.
var ofOne = strings.Fields(`
	PersonSealer.Open PersonSealer.Seal
	SealedTable.CheckIn SealedTable.CommitSealed SealedTable.Definition SealedTable.Exists SealedTable.FenceOldWriters
	SealedTable.Lookup SealedTable.LongestTransaction SealedTable.Match SealedTable.MoveStream SealedTable.Name
	SealedTable.OpenStream SealedTable.RecordWriter SealedTable.ResealStream SealedTable.Row SealedTable.SealStream
	SealedTable.Searchable SealedTable.Tagger SealedTable.TenantWriter SealedTable.Terms SealedTable.Writer
	Vault.AddAlias Vault.AddTenant Vault.Aliases Vault.AuditKeys Vault.ChangeLease Vault.ChangeLongestTransaction Vault.Digests Vault.EraseRecord Vault.Eraser
	Vault.Head Vault.KeyVersions Vault.LedgerDigests Vault.ManifestTagger Vault.PersonSealer
	Vault.Position Vault.Table Vault.Tagger Vault.Tenants Vault.Unmerge Vault.WrappedKeys
	SealedTable.Normalise Vault.FindConditions
	SealedTable.PageQueries Vault.FailDisk Vault.HasSealed Vault.SealsLeft Vault.UseUp`) // the last five for tests only

// One bad row, value or key stops no job, on no database: it is counted, named or
// refused, and everything else is done.
func TestOneBadRowStopsNoJob(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		w := newWorn(t, d)
		for _, step := range slices.Concat(wornSteps(), wornEnd()) {
			if !t.Run(step.call, func(t *testing.T) { step.do(t, w) }) {
				return
			}
		}
	})
}

// No call is forgotten by the test above.
func TestEveryCallIsTriedBesideABadRow(t *testing.T) {
	var calls, known []string
	for name, of := range map[string]any{"Vault": &encryption.Vault{}, "SealedTable": &encryption.SealedTable{}, "PersonSealer": primitives.PersonSealer{}} {
		for method := range reflect.TypeOf(of).Methods() {
			calls = append(calls, name+"."+method.Name)
		}
	}
	for _, step := range slices.Concat(wornSteps(), wornEnd()) {
		known = append(known, step.call)
	}
	known = append(known, ofOne...)
	for _, call := range calls {
		require.Contains(t, known, call, "%s is new: try it beside a bad row, or say that it is about one", call)
	}
	require.Len(t, known, len(calls), "a call that is no more")
}
