package encryption_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/streams"
)

// spoilt is an installation with ten contacts, four of which do not open whole: a
// damaged cell, an owner without keys, an owner column that names nobody, and the
// name of a person written into another's row.
func spoilt(t *testing.T) *env {
	t.Helper()
	e := newEnv(t, 1)
	for i := range 10 {
		e.insert(t, fmt.Sprint("c", i), fmt.Sprint("p", i))
	}
	for _, query := range []string{
		`UPDATE contacts SET email = CAST(substr(email, 1, length(email) - 1) || CASE WHEN substr(email, -1) = x'00' THEN x'01' ELSE x'00' END AS BLOB) WHERE id = 'c1'`,
		`UPDATE contacts SET person = 'nobody' WHERE id = 'c3'`,
		`UPDATE contacts SET person = 'r:nobody' WHERE id = 'c5'`,
		`UPDATE contacts SET person = 'p8' WHERE id = 'c7'`,
	} {
		_, err := e.db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	return e
}

// A value that does not open stops no job. It is counted and named with the
// reason, at every run, and everything else is done.
func TestJobsGoOnBehindWhatDoesNotOpen(t *testing.T) {
	e := spoilt(t)
	old, active := e.rotate(t)
	before := e.digest(t)
	var all []jobs.Unreadable
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Batch: 3, Unreadable: func(u jobs.Unreadable) { all = append(all, u) }})
	require.NoError(t, err)
	require.Equal(t, []int{10, 20, 10}, []int{report.Rows, report.Cells, report.Unreadable})
	require.Equal(t, "c9", report.Last)
	require.Equal(t, all, report.Listed)
	reasons := map[string]error{}
	for _, u := range all {
		require.Equal(t, "contacts", u.Table)
		require.Len(t, u.Digest, 64)
		require.NotContains(t, u.Err.Error(), "nobody")
		reasons[u.Key+" "+u.Column] = u.Err
	}
	require.Len(t, reasons, 10)
	for cell, why := range map[string]error{"c1 email": encryption.ErrOpen, "c3 note": encryption.ErrNoKey, "c5 phone": encryption.ErrID, "c7 email": encryption.ErrOpen} {
		require.ErrorIs(t, reasons[cell], why, cell)
	}
	for i, line := range strings.Split(e.digest(t), "\n") {
		if i == 3 || i == 5 || i == 7 {
			require.Equal(t, strings.Split(before, "\n")[i], line, "what does not open stays as it is")
		}
	}
	again, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{10, 0, 10}, []int{again.Rows, again.Cells, again.Unreadable})
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{old: 10, active: 20}, census.KeyVersions)

	_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET email_idx = NULL WHERE id IN ('c0', 'c1')`)
	require.NoError(t, err)
	rebuilt, err := e.contacts.Rebuild(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, []int{10, 1, 4}, []int{rebuilt.Rows, rebuilt.Corrected, rebuilt.Unreadable})
	require.Equal(t, "c1", rebuilt.Listed[0].Key)
	var kept int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(email_idx) FROM contacts WHERE id IN ('c0', 'c3', 'c5', 'c7')`).Scan(&kept))
	require.Equal(t, 4, kept, "a value that may open again keeps its place in the index")
}

// SQLite takes NULL for a primary key. Such a row stops no job, and nothing that it
// holds is destroyed.
func TestARowWithoutAKeyStopsNothingAndIsCounted(t *testing.T) {
	e := newEnv(t, 1)
	for i := range 3 {
		e.insert(t, fmt.Sprint("c", i), "p")
	}
	_, err := e.db.ExecContext(t.Context(), `ALTER TABLE contacts RENAME TO strict; CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email BLOB, note BLOB, phone TEXT, email_idx INTEGER, mac BLOB);
		INSERT INTO contacts SELECT NULLIF(id, 'c1'), person, email, note, phone, email_idx, mac FROM strict`)
	require.NoError(t, err)
	old, active := e.rotate(t)
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Batch: 1})
	require.NoError(t, err)
	require.Equal(t, []int{2, 6, 3}, []int{report.Rows, report.Cells, report.Unreadable})
	require.Empty(t, report.Listed[0].Key)
	require.ErrorContains(t, report.Listed[0].Err, "NULL in its key")
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{old: 3, active: 6}, census.KeyVersions)
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)), encryption.ErrInUse)
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db, report.Listed[1:]...)), encryption.ErrInUse)
	rebuilt, err := e.contacts.Rebuild(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, []int{2, 1}, []int{rebuilt.Rows, rebuilt.Unreadable})

	// What it holds by now is not what was listed.
	_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET note = (SELECT email FROM contacts WHERE id IS NULL) WHERE id IS NULL`)
	require.NoError(t, err)
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db, report.Listed...)), encryption.ErrInUse)
	again, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db, again.Listed...)), "cell by cell, what a row without a key holds is given up")
}

// A key version that unreadable values need is destroyed only with the list of
// them, and not when one of them holds something else by now, or is readable.
func TestUnreadableValuesAreGivenUpByAListOnly(t *testing.T) {
	e := spoilt(t)
	old, _ := e.rotate(t)
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	held := func(lost ...jobs.Unreadable) int {
		n, where, err := e.contacts.Holder(e.db, lost...)(t.Context(), tenant, old)
		require.NoError(t, err)
		require.Equal(t, "table contacts", where)
		return n
	}
	list := report.Listed
	require.Equal(t, 10, held())
	require.Equal(t, 0, held(list...))
	require.Equal(t, 0, held(append(list, list...)...), "twice on the list is one cell")
	require.Equal(t, 1, held(list[1:]...))
	other := list[0]
	other.Table = "leads"
	require.Equal(t, 1, held(append(list[1:], other)...), "a cell of another table")
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)), encryption.ErrInUse)

	// Somebody brings another old value back into a cell on the list.
	_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET note = (SELECT note FROM contacts WHERE id = 'c3') WHERE id = 'c5'`)
	require.NoError(t, err)
	require.Equal(t, 1, held(list...))
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db, list...)), encryption.ErrInUse)
	report, err = e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db, report.Listed...)))
}

// The report lists the first hundred, the func gets all.
func TestTheListOfUnreadableValuesIsBounded(t *testing.T) {
	e := newEnv(t, 1)
	for i := range 40 {
		e.insert(t, fmt.Sprint("c", i), "p")
	}
	_, err := e.db.ExecContext(t.Context(), `UPDATE contacts SET person = 'nobody'`)
	require.NoError(t, err)
	e.rotate(t)
	all := 0
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Unreadable: func(jobs.Unreadable) { all++ }})
	require.NoError(t, err)
	require.Len(t, report.Listed, 100)
	require.Equal(t, []int{120, 120}, []int{report.Unreadable, all})
}

// What stops a job is what concerns all values.
func TestJobsStopWhereTheKeyStoreDoesNotAnswer(t *testing.T) {
	e := spoilt(t)
	e.rotate(t)
	cfg := e.cfg
	cfg.Keys = &breaking{Store: e.store}
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	before := e.digest(t)
	_, err = e.table(t, vault, contactsTable).Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.ErrorIs(t, err, encryption.ErrStore)
	require.Equal(t, before, e.digest(t))
	report := jobs.SealerReport{}
	_, err = vault.PersonSealer("opening").Resealer(&report)(t.Context(), tenant, "p1", sealedFor(t, e, "p1"), nil)
	require.ErrorIs(t, err, encryption.ErrStore)
	require.Zero(t, report.Unreadable)
}

// breaking answers no question about owners.
type breaking struct{ keystore.Store }

func (*breaking) Owners(context.Context, string, []string) (keystore.Rows, error) {
	return keystore.Rows{}, errors.Join(encryption.ErrStore, encryption.ErrNoKey) // whatever it says besides
}

func sealedFor(t *testing.T, e *env, person string) []byte {
	t.Helper()
	sealed, err := e.vault.PersonSealer("opening").Seal(t.Context(), tenant, person, []byte("was"), nil)
	require.NoError(t, err)
	e.rotate(t)
	return sealed
}

// A row of a person who was merged into another, over two steps, goes over to
// that one with all of its cells, also with those of the active key version; the
// destroyer then finds nothing left.
func TestRowsOfMergedPersonsGoOverToTheSurvivor(t *testing.T) {
	e := newEnv(t, 1)
	for i, p := range []string{"a", "b", "c", "d"} {
		e.insert(t, fmt.Sprint("c", i), p)
	}
	old, active := e.rotate(t)
	w, err := e.contacts.Writer(t.Context(), tenant, "a")
	require.NoError(t, err)
	_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET email = ? WHERE id = 'c0'`, w.Text("email", "a@b.example"))
	require.NoError(t, err)
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "a", "b"))
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "b", "c"))
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, jobs.ResealReport{Rows: 4, Cells: 12, Moved: 2, Last: "c3"}, report)
	rows := e.read(t)
	require.NoError(t, encryption.OpenAll(t.Context(), e.contacts, tenant, rows))
	for i, first := range []string{"a", "b", "c", "d"} {
		owner := first
		if i < 2 {
			owner = "c"
		}
		require.Equal(t, []string{owner, first + "@b.example", "note of " + first, "+41 " + first}, []string{rows[i].Person, rows[i].Email, rows[i].Note, rows[i].Phone})
	}
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{active: 12}, census.KeyVersions)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)))
	require.NoError(t, e.contacts.RebuildIndexes(e.db, tenant)(t.Context()))
}

// A cell that does not open keeps the whole row with the merged person: it may
// open again, and then only for that one.
func TestARowThatDoesNotOpenWholeStaysWithTheMergedPerson(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "a")
	_, err := e.db.ExecContext(t.Context(), `UPDATE contacts SET note = CAST(substr(note, 1, 40) AS BLOB)`)
	require.NoError(t, err)
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "a", "b"))
	e.rotate(t)
	before := e.digest(t)
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{0, 0, 1}, []int{report.Cells, report.Moved, report.Unreadable})
	require.Equal(t, before, e.digest(t))
}

// What a holder keeps for a merged person is resealed under that person's own key,
// so that it opens by the same id, and one damaged value stops nothing.
func TestTheSealerOfAMergedPersonReseals(t *testing.T) {
	e := newEnv(t, 1)
	sealer := e.vault.PersonSealer("opening")
	values := map[string][]byte{}
	for _, person := range []string{"a", "b", "gone"} {
		sealed, err := sealer.Seal(t.Context(), tenant, person, []byte("was "+person), []byte("ad"))
		require.NoError(t, err)
		values[person] = sealed
	}
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "a", "b"))
	_, err := e.vault.Erase(t.Context(), tenant, "gone")
	require.NoError(t, err)
	old, _ := e.rotate(t)
	var report jobs.SealerReport
	reseal := sealer.Resealer(&report)
	for _, person := range []string{"a", "b"} {
		resealed, err := reseal(t.Context(), tenant, person, values[person], []byte("ad"))
		require.NoError(t, err)
		keyVersion, err := sealedvalue.KeyVersion(resealed)
		require.NoError(t, err)
		require.NotEqual(t, old, keyVersion)
		opened, err := sealer.Open(t.Context(), tenant, person, resealed, []byte("ad"))
		require.NoError(t, err)
		require.Equal(t, "was "+person, string(opened))
	}
	same, err := reseal(t.Context(), tenant, "gone", values["gone"], []byte("ad"))
	require.NoError(t, err)
	require.Equal(t, values["gone"], same)
	same, err = reseal(t.Context(), tenant, "b", values["a"], []byte("ad"))
	require.NoError(t, err)
	require.Equal(t, values["a"], same)
	require.Equal(t, []int{2, 1, 1}, []int{report.Resealed, report.Erased, report.Unreadable})
	require.ErrorIs(t, report.Listed[0].Err, encryption.ErrOpen)

	_, err = e.contacts.Writer(t.Context(), tenant, "a")
	require.ErrorIs(t, err, encryption.ErrMerged, "new values are sealed for the survivor")
	_, err = sealer.Seal(t.Context(), tenant, "a", nil, nil)
	require.ErrorIs(t, err, encryption.ErrMerged)
	_, err = e.vault.Erase(t.Context(), tenant, "b")
	require.NoError(t, err)
	_, err = sealer.Open(t.Context(), tenant, "a", values["a"], []byte("ad"))
	require.ErrorIs(t, err, encryption.ErrErased)
}

// A files is a store of files that an application keeps beside its database.
type files map[string][]byte

func (f files) move(table *encryption.SealedTable) func(ctx context.Context, from, to streams.Ref) error {
	return func(ctx context.Context, from, to streams.Ref) error {
		var fresh bytes.Buffer
		if err := table.MoveStream(ctx, &fresh, bytes.NewReader(f[from.Row+"/"+from.Owner]), from, to); err != nil {
			return err
		}
		f[to.Row+"/"+to.Owner] = fresh.Bytes()
		return nil
	}
}

func (f files) open(t *testing.T, table *encryption.SealedTable, owner, row string) string {
	t.Helper()
	stream, err := table.OpenStream(t.Context(), bytes.NewReader(f[row+"/"+owner]), streams.Ref{Tenant: tenant, Owner: owner, Column: "file", Row: row})
	require.NoError(t, err)
	content, err := io.ReadAll(stream)
	require.NoError(t, err)
	return stream.Name + ": " + string(content)
}

func meetings(t *testing.T, owner string) (*env, *encryption.SealedTable, files) {
	t.Helper()
	e := newEnv(t, 1)
	table := e.table(t, e.vault, encryption.Table{Name: "meetings", Columns: []encryption.Column{{Name: "notes"}, {Name: "file", Stream: true}}})
	_, err := e.db.ExecContext(t.Context(), `CREATE TABLE meetings (id TEXT PRIMARY KEY NOT NULL, person TEXT NOT NULL, notes BLOB) STRICT`)
	require.NoError(t, err)
	writer := table.Writer
	if strings.HasPrefix(owner, "r:") {
		writer = table.RecordWriter
	}
	w, err := writer(t.Context(), tenant, owner)
	require.NoError(t, err)
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO meetings VALUES ('m1', ?, ?)`, owner, w.Text("notes", "Ann met Bob"))
	require.NoError(t, err)
	var sealed bytes.Buffer
	ref := streams.Ref{Tenant: tenant, Owner: owner, Column: "file", Row: "m1"}
	require.NoError(t, table.SealStream(t.Context(), &sealed, ref, "contract.pdf", 5, strings.NewReader("hello")))
	return e, table, files{"m1/" + owner: sealed.Bytes()}
}

// The files of a record go over to its new owner before the old one is erased; who
// does not say how is refused before anything is changed.
func TestRedactKeepsTheStreamsOfTheRecord(t *testing.T) {
	owner, err := encryption.NewRecordOwner()
	require.NoError(t, err)
	e, table, stored := meetings(t, owner)
	edit := func(string, []byte) ([]byte, error) { return []byte("Ann met somebody"), nil }
	state := func() (person string, notes []byte) {
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT person, notes FROM meetings`).Scan(&person, &notes))
		return person, notes
	}
	_, before := state()
	_, err = table.Redact(t.Context(), e.db, tenant, "m1", jobs.Redaction{Edit: edit})
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.ErrorContains(t, err, "Redaction.Streams")
	full := errors.New("the disk is full")
	_, err = table.Redact(t.Context(), e.db, tenant, "m1", jobs.Redaction{Edit: edit, Streams: func(context.Context, streams.Ref, streams.Ref) error { return full }})
	require.ErrorIs(t, err, full)
	_, err = table.Redact(t.Context(), e.db, tenant, "m1", jobs.Redaction{
		Edit: edit, Streams: stored.move(table), AfterRow: func(context.Context, *sql.Tx, string, string) error { return full },
	})
	require.ErrorIs(t, err, full)
	person, notes := state()
	require.Equal(t, owner, person)
	require.Equal(t, before, notes)
	require.Equal(t, "contract.pdf: hello", stored.open(t, table, owner, "m1"), "what failed has lost nothing")

	fresh, err := table.Redact(t.Context(), e.db, tenant, "m1", jobs.Redaction{Edit: edit, Streams: stored.move(table)})
	require.NoError(t, err)
	require.Equal(t, "contract.pdf: hello", stored.open(t, table, fresh, "m1"))
	_, err = table.OpenStream(t.Context(), bytes.NewReader(stored["m1/"+owner]), streams.Ref{Tenant: tenant, Owner: owner, Column: "file", Row: "m1"})
	require.ErrorIs(t, err, encryption.ErrErased)
}

// Rows of a merged person that have files go over only when somebody says how.
func TestRowsWithStreamsGoOverWithThem(t *testing.T) {
	e, table, stored := meetings(t, "a")
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "a", "b"))
	e.rotate(t)
	report, err := table.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{0, 0, 1}, []int{report.Moved, report.Cells, report.Unreadable})
	require.ErrorIs(t, report.Listed[0].Err, encryption.ErrMerged)
	require.Equal(t, "contract.pdf: hello", stored.open(t, table, "a", "m1"))
	report, err = table.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Streams: stored.move(table)})
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 0}, []int{report.Moved, report.Cells, report.Unreadable})
	require.Equal(t, "contract.pdf: hello", stored.open(t, table, "b", "m1"))
}

// A cell that is no sealed field is not thrown away with the old owner.
func TestRedactRefusesACellThatIsNotSealed(t *testing.T) {
	owner, err := encryption.NewRecordOwner()
	require.NoError(t, err)
	e, table, stored := meetings(t, owner)
	_, err = e.db.ExecContext(t.Context(), `UPDATE meetings SET notes = CAST('cg1.0000beef.damaged' AS BLOB)`)
	require.NoError(t, err)
	_, err = table.Redact(t.Context(), e.db, tenant, "m1", jobs.Redaction{
		Edit: func(_ string, b []byte) ([]byte, error) { return b, nil }, Streams: stored.move(table),
	})
	require.ErrorIs(t, err, encryption.ErrOpen)
	require.Equal(t, "contract.pdf: hello", stored.open(t, table, owner, "m1"))
}
