package privacy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// telling is a store that exports what a func yields.
type telling struct {
	datastore.Store
	export func(ctx context.Context, scope datastore.Scope, yield func(datastore.Record, error) bool)
}

func (s telling) Export(ctx context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) { s.export(ctx, scope, yield) }
}

// tells gives the desk one more store, "index", that exports what f yields.
func (s *system) tells(f func(ctx context.Context, scope datastore.Scope, yield func(datastore.Record, error) bool)) {
	index := datastore.Func{Name: "index", Class: datastore.Deleted, Erase: func(context.Context, string, string) error { return nil }}.Store()
	s.cfg.Stores = append(s.cfg.Stores, telling{index, f})
	s.reopen()
}

func hit(key, text string) datastore.Record {
	return datastore.Record{Table: "hits", Key: key, Fields: []datastore.Field{{Name: "text", Value: text}}}
}

// tearing is a writer that fails behind so many bytes.
type tearing struct {
	bytes.Buffer
	left int
}

var errTorn = errors.New("torn")

func (w *tearing) Write(data []byte) (int, error) {
	if len(data) > w.left {
		_, _ = w.Buffer.Write(data[:w.left])
		w.left = 0
		return len(data), errTorn
	}
	w.left -= len(data)
	return w.Buffer.Write(data)
}

// whole reports whether bytes are an export that opens and verifies.
func whole(data []byte, id age.Identity) bool {
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if err != nil {
		return false
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return false
	}
	_, err = bundle.Verify(bytes.NewReader(plain), int64(len(plain)))
	return err == nil
}

// Wherever the writer tears, the error comes out, what was written is no export,
// and the trail knew of it before.
func TestAnExportThatIsCutOffIsNone(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now)
	s.tells(func(_ context.Context, _ datastore.Scope, yield func(datastore.Record, error) bool) {
		r := hit("1", "x")
		r.Files = []datastore.File{{Name: "x.pdf", Data: bytes.Repeat([]byte("pdf"), 30_000)}}
		yield(r, nil)
	})
	id := identity(t)
	var out bytes.Buffer
	_, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String(), &out)
	require.NoError(t, err)
	require.True(t, whole(out.Bytes(), id))
	noted := 1
	for at := 0; at < out.Len(); at += 1999 {
		w := &tearing{left: at}
		e, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String(), w)
		require.ErrorIs(t, err, errTorn, at)
		require.Nil(t, e)
		require.False(t, whole(w.Bytes(), id), at)
		noted++
		require.Equal(t, noted, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.export'`))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.exported'`))
		require.False(t, whole(out.Bytes()[:at], id), "nor of a process that was killed")
	}
}

// Without its entry in the trail no byte goes out; without the second one the
// export is not answered.
func TestAnExportThatCannotBeNoted(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	note := s.cfg.Note
	for _, action := range []string{"privacy.export", "privacy.exported"} {
		s.cfg.Note = func(ctx context.Context, tenant, a string, attrs ...slog.Attr) error {
			if a == action {
				return errBlown
			}
			return note(ctx, tenant, a, attrs...)
		}
		s.reopen()
		var out bytes.Buffer
		e, err := s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), &out)
		require.ErrorIs(t, err, errBlown)
		require.Nil(t, e)
		require.Equal(t, action == "privacy.export", out.Len() == 0)
		require.NotContains(t, err.Error(), "Canary")
	}
}

// A store that fails at any record leaves no byte.
func TestAnExportOfAStoreThatFails(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	at := 0
	s.tells(func(_ context.Context, _ datastore.Scope, yield func(datastore.Record, error) bool) {
		for i := range 3 {
			if i == at {
				yield(datastore.Record{}, errBlown)
				return
			}
			if !yield(hit(string(rune('0'+i)), "x"), nil) {
				return
			}
		}
	})
	for at = range 3 {
		var out bytes.Buffer
		_, err := s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), &out)
		var failed *privacy.StoreError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, "index", failed.Store)
		require.ErrorIs(t, err, errBlown)
		require.NotContains(t, err.Error(), "Canary")
		require.Zero(t, out.Len())
	}
	require.Zero(t, s.count(`SELECT COUNT(*) FROM events WHERE action LIKE 'privacy.export%'`))
	at = 3
	e, _ := s.export(ann)
	require.Equal(t, 3, e.Manifest.Tables[1].Rows)
}

// A folder without room, or that is not there, is told from everything else.
func TestAnExportWithoutATemporaryFolder(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.cfg.TempDir = filepath.Join(t.TempDir(), "none")
	s.reopen()
	_, err := s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
	require.ErrorIs(t, err, bundle.ErrSpool)
	require.ErrorContains(t, err, "temporary file")
	require.NotContains(t, err.Error(), s.cfg.TempDir)
}

// A store that hangs at any moment lets the export end with its context, and is
// not asked about the person again while it hangs.
func TestAnExportOfAStoreThatHangs(t *testing.T) {
	for at := range 3 {
		synctest.Test(t, func(t *testing.T) {
			s := newSystem(t)
			ann := s.contact("ann@a.example")
			ctx, cancel := context.WithCancel(t.Context())
			free, hangs := make(chan struct{}), true
			s.tells(func(_ context.Context, _ datastore.Scope, yield func(datastore.Record, error) bool) {
				for i := range 3 {
					if i == at && hangs {
						cancel()
						<-free
					}
					if !yield(hit(string(rune('0'+i)), "x"), nil) {
						return
					}
				}
			})
			_, err := s.desk.Export(ctx, "main", ann, identity(t).Recipient().String(), io.Discard)
			require.ErrorIs(t, err, context.Canceled)
			_, err = s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
			require.ErrorIs(t, err, privacy.ErrHangs)
			hangs = false
			close(free)
			synctest.Wait()
			e, _ := s.export(ann)
			require.Equal(t, 3, e.Manifest.Tables[1].Rows)
			require.NoError(t, s.db.Close())
		})
	}
}

// A writer that hangs holds up its own export and nothing else: no connection, no
// erasure of the person.
func TestAWriterThatHangs(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	ctx, cancel := context.WithCancel(t.Context())
	hung, free, failed := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		once := false
		_, err := s.desk.Export(ctx, "main", ann, identity(t).Recipient().String(), writing(func() {
			if !once {
				once = true
				close(hung)
				<-free
			}
		}))
		failed <- err
	}()
	<-hung
	rows, err := s.desk.Find(t.Context(), "main", ann)
	require.NoError(t, err)
	require.NotEmpty(t, rows)
	s.erase(ann)
	cancel()
	close(free)
	require.ErrorIs(t, <-failed, context.Canceled)
}

// A row that a store hands out twice stands there once; two that differ are two.
func TestAnExportOfAStoreThatRepeatsItself(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.tells(func(_ context.Context, _ datastore.Scope, yield func(datastore.Record, error) bool) {
		for _, text := range []string{"x", "x", "y"} {
			if !yield(hit("1", text), nil) {
				return
			}
		}
	})
	e, data := s.export(ann)
	require.Equal(t, 2, e.Manifest.Tables[1].Rows)
	require.Equal(t, "{\"text\":\"x\"}\n{\"text\":\"y\"}\n", sortedLines(zipFile(t, data, "data/hits.ndjson")))
}

// Of a person of whom nothing is known there is an export that says so; a hold
// keeps nobody from it; and behind an erasure it holds what is kept by law.
func TestAnExportOfWhoeverAsks(t *testing.T) {
	s := newSystem(t)
	nobody := newID()
	e, data := s.export(nobody)
	require.Empty(t, e.Manifest.Tables)
	require.Empty(t, e.Manifest.Omissions)
	require.Contains(t, zipFile(t, data, "index.html"), "Nothing is stored.")

	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now)
	hold, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation:1", By: "user/1"})
	require.NoError(t, err)
	e, _ = s.export(ann)
	require.Len(t, e.Manifest.Tables, 3)
	require.NoError(t, s.desk.Lift(t.Context(), "main", hold, "user/1"))

	s.erase(ann)
	e, data = s.export(ann)
	require.Len(t, e.Manifest.Tables, 1)
	require.Contains(t, zipFile(t, data, "data/invoices.ndjson"), "Ann Example")
	require.Equal(t, "DE-HGB-257", e.Manifest.Tables[0].Retention.Because)
}

// A record about a person under two ids is about nobody else.
func TestAnExportOfMergedPersons(t *testing.T) {
	s := newSystem(t)
	ann, same, bob := s.contact("ann@a.example"), s.contact("ann@b.example"), s.contact("bob@b.example")
	s.activity("ann met herself", ann, same)
	s.activity("ann met bob", ann, same, bob)
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == ann {
			return []string{same}, nil
		}
		return nil, nil
	}
	m := dataMap()
	m.Tables[5].Columns[0].Everyone = false
	aliases := s.cfg.Aliases
	s.openWith(m)
	s.cfg.Aliases = aliases
	s.reopen()
	e, data := s.export(ann)
	text := zipFile(t, data, "data/activities.ndjson")
	require.Contains(t, text, "ann met herself")
	require.NotContains(t, text, "ann met bob")
	require.Contains(t, e.Manifest.Omissions, bundle.Omission{Table: "activities", Column: "body", Rows: 1, Reason: "also concerns other persons"})
	rows := map[string]int{}
	for _, table := range e.Manifest.Tables {
		rows[table.Name] = table.Rows
	}
	require.Equal(t, map[string]int{"activities": 2, "contacts": 2, "notes": 2}, rows)
}

func sortedLines(text string) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// A store that knows persons by their addresses alone is told all of them, those of
// merged persons too.
func TestAnExportAsksByAddresses(t *testing.T) {
	s := plain(t, datamap.Delete, peopleTable)
	s.person("p1", "ann@a.example")
	s.person("p2", "ann@b.example")
	s.person("p3", "bob@b.example")
	s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return []string{"p2"}, nil }
	s.tells(func(_ context.Context, scope datastore.Scope, yield func(datastore.Record, error) bool) {
		for _, address := range scope.Identities["email"] {
			if !yield(hit(address, "read by "+address), nil) {
				return
			}
		}
	})
	e, data := s.export("p1")
	require.Equal(t, 2, e.Manifest.Tables[0].Rows)
	require.Equal(t, "{\"text\":\"read by ann@a.example\"}\n{\"text\":\"read by ann@b.example\"}\n", zipFile(t, data, "data/hits.ndjson"))
}

// A store that panics is one that fails; one that goes on
// after it was told to stop keeps nothing from ending.
func TestAnExportOfAStoreThatIsWrong(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	wrong := func() { panic(errBlown) }
	s.tells(func(_ context.Context, _ datastore.Scope, yield func(datastore.Record, error) bool) {
		yield(hit("1", "x"), nil)
		wrong()
		r := hit("2", "x")
		r.Fields = append(r.Fields, r.Fields...)
		for range 3 {
			yield(r, nil)
		}
	})
	_, err := s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
	var failed *privacy.StoreError
	require.ErrorAs(t, err, &failed)
	require.ErrorIs(t, err, errBlown)
	require.NotContains(t, err.Error(), "Canary")
	wrong = func() { panic("Canary") }
	_, err = s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
	require.ErrorAs(t, err, &failed)
	require.NotContains(t, failed.Err.Error(), "Canary")
	wrong = func() {}
	_, err = s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
	require.ErrorIs(t, err, bundle.ErrRecord)
}
