package privacy_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// errEnds stands for the end of a process.
var errEnds = errors.New("the process ends here")

// A job is what happens to a random schema, with the moments at which something
// comes between.
type job struct {
	t   *testing.T
	rt  *rapid.T
	c   *randomschema.Case
	db  wholedb.DB
	dir string
	now time.Time

	sign   ed25519.PrivateKey
	lease  time.Duration
	desk   *privacy.Desk
	plan   string
	files  map[datastore.Person]bool // of another store
	post   *letters                  // and of one that knows addresses alone
	others []string                  // all rows, as they were at first

	erased       []int // persons
	plans        []string
	certificates [][]byte

	restored          bool // the database was put back
	armed             bool
	moments           int
	ends, copyAt, two int // at which moment the process ends, a copy is taken, a second process does the same
	failed            bool
	copies            []*wholedb.State
}

func newJob(t *testing.T, rt *rapid.T, c *randomschema.Case, db wholedb.DB) *job {
	t.Helper()
	j := &job{t: t, rt: rt, c: c, db: db, dir: t.TempDir(), now: randomschema.Now(), files: map[datastore.Person]bool{}, others: c.Others(t, db)}
	j.sign = ed25519.NewKeyFromSeed(seqKey(9))
	if j.lease = privacy.None; j.yes("keys are cached") {
		j.lease = 5 * time.Second
	}
	for n := range c.People {
		j.files[j.id(n)] = true
	}
	j.post = &letters{j: j}
	for n := range c.People {
		j.post.put(j.id(n).Tenant, c.Address(n))
	}
	require.NoError(rt, j.ledger().Create(t.Context()))
	j.desk = j.open()
	require.NoError(rt, j.desk.Ready(t.Context()))
	return j
}

func (j *job) yes(label string) bool        { return rapid.Bool().Draw(j.rt, label) }
func (j *job) draw(n int, label string) int { return rapid.IntRange(0, n-1).Draw(j.rt, label) }
func (j *job) isErased(n int) bool          { return slices.Contains(j.erased, n) }
func (j *job) public() ed25519.PublicKey    { return j.sign.Public().(ed25519.PublicKey) }
func (j *job) id(person int) datastore.Person {
	return datastore.Person{Tenant: fmt.Sprint(j.c.People[person].Tenant), ID: j.c.People[person].ID}
}

// arm draws at which of the next moments something comes between.
func (j *job) arm(most int) {
	j.armed, j.moments = true, 0
	j.ends, j.copyAt, j.two = j.draw(most, "the process ends"), j.draw(most, "a copy is taken"), j.draw(most, "a second process")
}

func (j *job) disarm() { j.armed, j.failed = false, false }

// moment is one between two steps; alone says that nothing is held meanwhile.
func (j *job) moment(alone bool) error {
	if !j.armed {
		return nil
	}
	n := j.moments
	j.moments++
	if n == j.copyAt && len(j.copies) < 4 {
		j.copies = append(j.copies, j.db.Backup(j.t))
	}
	if alone && n == j.two {
		j.armed = false
		err := j.second()
		if j.armed = true; err != nil {
			return err
		}
	}
	if n == j.ends {
		j.failed = true
		return errEnds
	}
	return nil
}

// second is another process that does the same meanwhile.
func (j *job) second() error {
	if j.plan == "" {
		_, err := j.open().Replay(j.t.Context())
		return err
	}
	_, err := j.open().Execute(j.t.Context(), j.plan)
	if errors.Is(err, privacy.ErrBehind) {
		return nil // the first one has not committed
	}
	return err
}

// interrupted calls f, and reports whether the process has ended in it: another
// one is there then.
func (j *job) interrupted(f func() error) bool {
	err := f()
	if err == nil {
		return false
	}
	require.True(j.rt, j.failed, "%q", causes(err))
	j.failed, j.desk = false, j.open()
	return true
}

func (j *job) ledger() *erasurelog.Log {
	log, err := erasurelog.Open(erasurelog.Config{
		Medium: interruptedMedium{erasurelog.Folder(filepath.Join(j.dir, "ledger")), j}, Digests: digestsOf(root{1, seqKey(0)}), Now: func() time.Time { return j.now },
	})
	require.NoError(j.rt, err)
	return log
}

// open is another process over the same database and ledger.
func (j *job) open() *privacy.Desk {
	database, err := sqlstore.Open(j.t.Context(), sqlstore.Config{
		DB: j.db.SQL, Map: j.c.Map, Pseudonym: j.c.Pseudonym, Open: j.c.Keys.Open, Search: j.c.Search(j.db.SQL),
		Scrub: func(_ context.Context, text sqlstore.ScrubText) (string, error) { return j.c.Scrub(text.Text), nil },
		Redact: func(_ context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
			apply, retire := j.c.Redact(randomschema.Record{Tenant: r.Tenant, Table: r.Table, Key: r.Key, Owner: r.Owner})
			out := sqlstore.Redaction{Apply: func(ctx context.Context, tx datastore.Tx) error { return apply(ctx, tx) }}
			if retire != "" {
				out.Retire = []string{retire}
			}
			return out, nil
		},
		EraseOwner: func(ctx context.Context, tenant, owner string) error {
			if err := j.moment(true); err != nil {
				return err
			}
			return j.c.Keys.Erase(ctx, tenant, owner)
		},
	})
	require.NoError(j.rt, err)
	desk, err := privacy.Open(j.t.Context(), privacy.Config{
		Map: j.c.Map, DB: j.db.SQL, Ledger: j.ledger(), Database: interruptedStore{database, j}, Sign: interruptedSigner{j.sign, j}, Open: j.c.Keys.Open,
		Now: func() time.Time { return j.now }, Delay: privacy.None, Lease: j.lease, Window: privacy.None,
		AllowReplay: func(context.Context, int, int) error { return nil },
		Stores: []datastore.Store{
			j.post,
			datastore.Func{Name: "files", Class: datastore.Deleted, Erase: j.around(func(p datastore.Person) { delete(j.files, p) }), Remaining: j.filesLeft, People: j.filesPeople}.Store(),
			datastore.Func{Name: "keys", Class: datastore.Shredded, Erase: j.around(func(p datastore.Person) {
				_ = j.c.Keys.Erase(j.t.Context(), p.Tenant, p.ID)
			}), Remaining: j.c.Keys.Left}.Store(),
		},
	})
	require.NoError(j.rt, err)
	return desk
}

func (j *job) around(f func(datastore.Person)) func(context.Context, string, string) error {
	return func(_ context.Context, tenant, person string) error {
		if err := j.moment(true); err != nil {
			return err
		}
		f(datastore.Person{Tenant: tenant, ID: person})
		return j.moment(true)
	}
}

func (j *job) filesLeft(_ context.Context, tenant, person string) (int, error) {
	if j.files[datastore.Person{Tenant: tenant, ID: person}] {
		return 1, nil
	}
	return 0, nil
}

func (j *job) filesPeople(context.Context) iter.Seq2[datastore.Person, error] {
	return func(yield func(datastore.Person, error) bool) {
		for p := range j.files {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// interruptedStore is the database, with moments in it.
type interruptedStore struct {
	*sqlstore.Store
	j *job
}

func (s interruptedStore) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	if err := s.j.moment(true); err != nil {
		return err
	}
	err := s.Store.EraseIn(ctx, scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
		if err := s.j.moment(false); err != nil {
			return err
		}
		if err := last(ctx, tx, found); err != nil {
			return err
		}
		return s.j.moment(false) // the intent stands, and the commit does not come
	})
	if err != nil {
		return err
	}
	return s.j.moment(true)
}

func (s interruptedStore) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	if err := s.j.moment(true); err != nil {
		return 0, err
	}
	return s.Store.Remaining(ctx, scope, found)
}

// interruptedSigner signs certificates, with a moment before.
type interruptedSigner struct {
	ed25519.PrivateKey
	j *job
}

func (s interruptedSigner) Sign(r io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.j.moment(true); err != nil {
		return nil, err
	}
	return s.PrivateKey.Sign(r, message, opts)
}

// interruptedMedium is a ledger's folder, with moments around each line and note.
type interruptedMedium struct {
	erasurelog.Medium
	j *job
}

func (m interruptedMedium) Append(ctx context.Context, at erasurelog.Position, last, line []byte) error {
	if err := m.j.moment(false); err != nil {
		return err
	}
	if err := m.Medium.Append(ctx, at, last, line); err != nil {
		return err
	}
	return m.j.moment(false)
}

func (m interruptedMedium) PutNotes(ctx context.Context, notes ...erasurelog.SealedNote) error {
	if err := m.j.moment(false); err != nil {
		return err
	}
	if err := m.Medium.PutNotes(ctx, notes...); err != nil {
		return err
	}
	return m.j.moment(false)
}

// causes are the texts of an error and of all that it wraps, which stores say to
// nobody but who asks.
func causes(err error) (texts []string) {
	texts = []string{err.Error()}
	switch e := err.(type) { //nolint:errorlint // one by one
	case interface{ Unwrap() error }:
		texts = append(texts, causes(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			texts = append(texts, causes(one)...)
		}
	}
	return texts
}
