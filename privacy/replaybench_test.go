package privacy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// directory is a database of persons with one table, and a ledger that names
// some of them.
type directory struct {
	tb     testing.TB
	desk   *privacy.Desk
	cfg    privacy.Config
	gone   []string
	create func()
	dir    string // of the ledger
}

func newDirectory(tb testing.TB, persons, erased int) *directory {
	dir := tb.TempDir()
	digests, err := erasurelog.KeysFrom(seqKey(1))
	require.NoError(tb, err)
	ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(dir + "/ledger"), Digests: digests})
	require.NoError(tb, err)
	require.NoError(tb, ledger.Create(tb.Context()))
	db := openDB(tb, dir+"/crm.db")
	require.NoError(tb, privacy.Install(tb.Context(), db))
	exec := func(query string, args ...any) {
		_, err := db.ExecContext(tb.Context(), query, args...)
		require.NoError(tb, err)
	}
	exec(`CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT, email TEXT, created INTEGER)`)
	exec(`CREATE INDEX contacts_person ON contacts (person)`)
	d := &directory{tb: tb, dir: dir + "/ledger"}
	add := func(from, to int) {
		const atOnce = 500
		for ; from < to; from += atOnce {
			n := min(atOnce, to-from)
			args := make([]any, 0, 3*n)
			for i := range n {
				args = append(args, d.person(from+i), "a@a.example", longAgo)
			}
			exec(`INSERT INTO contacts (person, email, created) VALUES `+strings.TrimSuffix(strings.Repeat("(?, ?, ?), ", n), ", "), args...)
		}
	}
	add(erased, persons)
	d.create = func() { add(0, erased) }
	for i := range erased {
		d.gone = append(d.gone, d.person(i))
	}
	for _, person := range d.gone {
		_, err := ledger.Append(tb.Context(), nil, func(*erasurelog.State) (*erasurelog.Entry, error) {
			e := &erasurelog.Entry{Op: erasurelog.Intent, Plan: uuid.NewString()}
			var err error
			if e.Root, e.Person, err = ledger.Digest(tb.Context(), erasurelog.KindPerson, "main", []byte(person)); err == nil {
				_, e.Tenant, err = ledger.Digest(tb.Context(), erasurelog.KindTenant, "main", []byte("main"))
			}
			return e, err
		})
		require.NoError(tb, err)
	}
	m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent"}},
	}}}
	d.cfg = privacy.Config{Map: m, DB: db, Ledger: ledger, Sign: officeKey(), ReplayEvery: time.Hour}
	d.desk, err = privacy.Open(tb.Context(), d.cfg)
	require.NoError(tb, err)
	return d
}

func (d *directory) person(i int) string { return fmt.Sprintf("person-%07d", i) }

// BenchmarkReplay erases 200 among 100,000 persons again, on SQLite.
func BenchmarkReplay(b *testing.B) {
	d := newDirectory(b, 100_000, 200)
	for b.Loop() {
		b.StopTimer()
		d.create()
		b.StartTimer()
		r, err := d.desk.Replay(b.Context())
		if err != nil || r.Erased != 200 || r.People != 100_000 {
			b.Fatal(r.Erased, r.People, err)
		}
	}
}

// BenchmarkReady asks the boot gate at 10,000 entries: warm, as a process asks
// again, and cold, as one that has just started.
func BenchmarkReady(b *testing.B) {
	d := newDirectory(b, 10, 10_000)
	_, err := d.desk.Replay(b.Context())
	require.NoError(b, err)
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, d.desk.Ready(b.Context()))
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			cold := d.again()
			b.StartTimer()
			require.NoError(b, cold.Ready(b.Context()))
		}
	})
}

// again is a desk as another process has one.
func (d *directory) again() *privacy.Desk {
	digests, err := erasurelog.KeysFrom(seqKey(1))
	require.NoError(d.tb, err)
	cfg := d.cfg
	cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(d.dir), Digests: digests})
	require.NoError(d.tb, err)
	desk, err := privacy.Open(d.tb.Context(), cfg)
	require.NoError(d.tb, err)
	return desk
}
