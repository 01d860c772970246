package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A faultWalk is a system whose stores are the database, one that knows people by
// their address, one that knows them by their id and lists them, and the keys.
type faultWalk struct {
	*system
	t             *testing.T
	mails         *mailer
	files         *searchIndex
	ann, bob, dan string
	plan          string // of ann; dan's is ready, too, where a pass of Run is what is tried
	honest        privacy.Config
	backup        string // of the database, to be copied
}

func newFaultWalk(t *testing.T) *faultWalk {
	s := newSystem(t)
	w := &faultWalk{system: s, t: t, mails: &mailer{holds: map[string]bool{}}, files: &searchIndex{holds: map[string]bool{}}}
	s.exec(`CREATE TABLE members (id INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT, email TEXT, created INTEGER) STRICT`)
	w.start()
	w.reopen()
	w.ann, w.bob, w.dan = w.add("ann"), w.add("bob"), w.add("dan")
	s.activity("both", w.ann, w.bob)
	return w
}

// copied is the same in a folder of its own.
func (w *faultWalk) copied(t *testing.T) *faultWalk {
	dir, s := t.TempDir(), *w.system
	require.NoError(t, os.CopyFS(filepath.Join(dir, "ledger"), os.DirFS(w.ledgerDir())))
	data, err := os.ReadFile(w.backup)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "crm.db"), data, 0o600))
	s.t, s.dir, s.db = t, dir, openDB(t, filepath.Join(dir, "crm.db"))
	s.keys = &keyring{keys: maps.Clone(w.keys.keys)}
	c := *w
	c.system, c.t = &s, t
	c.mails, c.files = &mailer{holds: maps.Clone(w.mails.holds)}, &searchIndex{holds: maps.Clone(w.files.holds)}
	c.start()
	return &c
}

// start opens everything as a process would.
func (w *faultWalk) start() {
	m := dataMap()
	m.Tables = append(m.Tables, datamap.Table{
		Name: "members", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent", Identity: "email"}},
	})
	w.openWith(m)
	f, _ := datastore.AsFunc(w.files.store())
	f.People = func(context.Context) iter.Seq2[datastore.Person, error] {
		return func(yield func(datastore.Person, error) bool) {
			for person := range w.files.holds {
				if !yield(datastore.Person{Tenant: "main", ID: person}, nil) {
					return
				}
			}
		}
	}
	w.cfg.Stores = append([]datastore.Store{w.mails, f.Store()}, w.cfg.Stores...)
	w.cfg.Delay, w.cfg.PerDay = privacy.None, privacy.None
	w.cfg.AllowReplay = func(context.Context, int, int) error { return nil }
	w.honest = w.cfg
}

func (w *faultWalk) add(name string) (person string) {
	email := name + "@x.example"
	person = w.contact(email)
	w.invoice(person, w.now)
	w.exec(`INSERT INTO members (person, email, created) VALUES (?, ?, ?)`, person, email, w.now.UnixMicro())
	w.mails.holds[email], w.files.holds[person] = true, true
	return person
}

// has says in which places something of the person is; where all is well it is in
// every place, or in none.
func (w *faultWalk) has(name, person string) (places []string) {
	for place, query := range map[string]string{
		"contacts":   `SELECT COUNT(*) FROM contacts WHERE person = ?`,
		"notes":      `SELECT COUNT(*) FROM notes JOIN contacts ON contact_id = contacts.id AND person = ?`,
		"members":    `SELECT COUNT(*) FROM members WHERE person = ?`,
		"activities": `SELECT COUNT(*) FROM activity_persons WHERE person = ?`,
		"phone":      `SELECT COUNT(*) FROM invoices WHERE person = ? AND phone IS NOT NULL`,
	} {
		if w.count(query, person) > 0 {
			places = append(places, place)
		}
	}
	if w.mails.holds[name+"@x.example"] {
		places = append(places, "mails")
	}
	if w.files.holds[person] {
		places = append(places, "files")
	}
	slices.Sort(places)
	return places
}

var everywhere = []string{"activities", "contacts", "files", "mails", "members", "notes", "phone"}

// gone says that nothing is left of the person but what the law keeps.
func (w *faultWalk) gone(name, person string) bool {
	require.Equal(w.t, 1, w.count(`SELECT COUNT(*) FROM invoices WHERE person = ?`, person))
	left, _ := w.keys.left(w.t.Context(), "main", person)
	return len(w.has(name, person)) == 0 && left == 0
}

// planned plans the erasure of ann, as often as the plan is out of date.
func (w *faultWalk) planned() {
	p, err := w.desk.PlanErasure(w.t.Context(), privacy.Request{Tenant: "main", Person: w.ann, Reason: "gdpr-17", By: "user/1"})
	require.NoError(w.t, err)
	require.NoError(w.t, w.desk.Approve(w.t.Context(), p.ID, "user/2"))
	w.plan = p.ID
}

// executed executes until it is done.
func (w *faultWalk) executed(at string) {
	for tries := 0; ; tries++ {
		o, err := w.desk.Execute(w.t.Context(), w.plan)
		if errors.Is(err, privacy.ErrPlanChanged) {
			w.planned()
			continue
		}
		if err == nil && o.State == privacy.Done {
			require.True(w.t, w.gone("ann", w.ann), "%s: certified, and left in %v", at, w.has("ann", w.ann))
			return
		}
		require.NoError(w.t, err, at)
		require.Less(w.t, tries, 4, "%s: %+v", at, o)
		w.now = w.now.Add(6 * time.Second)
	}
}

// comesBack restores the state of before the erasure of ann, in every store but
// that of the keys.
func (w *faultWalk) comesBack() {
	w.planned()
	if p, err := w.desk.PlanErasure(w.t.Context(), privacy.Request{Tenant: "main", Person: w.dan, Reason: "gdpr-17", By: "user/1"}); true {
		require.NoError(w.t, err)
		require.NoError(w.t, w.desk.Approve(w.t.Context(), p.ID, "user/2"))
	}
	w.now = w.now.Add(time.Hour) // contacts have a date from before the erasure; notes and activities have none
	backup, mails, files := w.snapshot(), maps.Clone(w.mails.holds), maps.Clone(w.files.holds)
	w.add("eve") // whose number nobody else may get
	w.executed("")
	w.restore(backup)
	w.mails.holds, w.files.holds = mails, files
	w.start()
	w.reopen()
}

// Each store fails, hangs and lies at each of its calls once, in each operation of
// the desk. Nothing is certified, and no gate opens, while something is left; what
// did not begin touches nobody; the call ends with its context; nobody else loses
// anything; and the next honest call finishes.
func TestEveryFaultOfEveryStore(t *testing.T) {
	for _, op := range operations() {
		ready := newFaultWalk(t)
		op.prepare(ready)
		ready.backup = ready.snapshot()
		for store, methods := range op.stores {
			t.Run(op.name+"/"+store, func(t *testing.T) {
				t.Parallel() // each has everything of its own
				met, told := map[string]bool{}, map[string]bool{}
				kinds := []string{fails, hangs, lost, late, nothing, undone, unerased, others, twice, foreign, half}
				if op.honest {
					kinds = kinds[:2]
				}
				for _, kind := range kinds {
					for n := 1; ; n++ {
						method, err := op.under(t, ready, store, kind, n)
						if method == "" {
							break
						}
						met[method] = true
						told[method] = told[method] || kind == fails && err != nil
					}
				}
				require.Subset(t, slices.Collect(maps.Keys(met)), methods)
				for method, is := range told {
					require.True(t, is || !op.tells, "%s fails, and nothing is said", method)
				}
			})
		}
	}
}

func (op operation) under(t *testing.T, ready *faultWalk, store, kind string, n int) (befallen string, err error) {
	t.Helper()
	w := ready.copied(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &fault{kind: kind, left: n, free: make(chan struct{}), hung: cancel, trusted: op.trusts}
	w.cfg.Stores = slices.Clone(w.cfg.Stores)
	if store == "crm" {
		w.cfg.Database = faultyDatabase{w.cfg.Database.(fused).Store, f, w.system, w.bob}
	} else {
		i := slices.IndexFunc(w.cfg.Stores, func(s datastore.Store) bool { return s.Name() == store })
		w.cfg.Stores[i] = faultyStore{w.cfg.Stores[i], f}
	}
	w.reopen()
	before := w.has("ann", w.ann)
	at := fmt.Sprintf("%s: %s, call %d", store, kind, n)
	answer := make(chan error, 1)
	go func() { answer <- op.do(ctx, w) }()
	select {
	case err = <-answer:
	case <-time.After(20 * time.Second):
		require.Fail(t, "a call did not end, or not with its context", "%s (%s)", at, f.befallen())
	}
	befallen = f.befallen()
	require.NotErrorIs(t, err, errFalse, "%s (%s): left in %v", at, befallen, w.has("ann", w.ann))
	at += " (" + befallen + ")"
	close(f.free)
	if op.reads || err != nil && w.plan != "" && !slices.Contains(ops(t, w.system), "intent") {
		require.Equal(t, before, w.has("ann", w.ann), at)
	}
	if op.gates && w.desk.Ready(t.Context()) == nil {
		require.True(t, w.gone("ann", w.ann), "%s: the gate is open, and left in %v", at, w.has("ann", w.ann))
	}
	w.cfg = w.honest
	w.reopen() // another process
	if op.name == "replay" && err == nil {
		require.NoError(t, w.desk.Ready(t.Context()), at)
	}
	op.finish(w, at)
	require.NoError(t, w.desk.Ready(t.Context()), at)
	require.True(t, w.gone("ann", w.ann), "%s: left in %v", at, w.has("ann", w.ann))
	require.Equal(t, everywhere, w.has("bob", w.bob), at)
	require.Equal(t, 1, countOf(ops(t, w.system), "done")-w.extra(), at)
	require.Zero(t, w.notes(""), at)
	return befallen, err
}

// extra counts what else is done: dan's.
func (w *faultWalk) extra() int {
	if w.files.holds[w.dan] {
		return 0
	}
	return 1
}
