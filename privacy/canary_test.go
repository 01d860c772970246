package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

const canary = "canary.person@example.org"

// talkative is a store whose errors quote values, as database drivers do.
type talkative struct{ datastore.Transactional }

var errQuoting = errors.New("duplicate key: Key (email)=(" + canary + ") already exists")

func (talkative) Find(context.Context, datastore.Scope) ([]datastore.Row, error) {
	return nil, errQuoting
}

func (talkative) FindAll(context.Context, []datastore.Scope) ([]datastore.Row, error) {
	return nil, errQuoting
}

func (talkative) Erase(context.Context, datastore.Scope, []datastore.Row) error { return errQuoting }

func (talkative) Rehearse(context.Context, []datastore.Scope) ([]datastore.Row, error) {
	return nil, errQuoting
}

func (talkative) EraseIn(context.Context, []datastore.Scope, func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return errQuoting
}

func (talkative) Remaining(context.Context, datastore.Scope, []datastore.Row) (int, error) {
	return 0, errQuoting
}

func (talkative) Export(context.Context, datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) { yield(datastore.Record{}, errQuoting) }
}

// No error text holds what a store, a key service or the person said.
func TestErrorsHoldNoPersonalData(t *testing.T) {
	s := newSystem(t)
	ann := s.contact(canary)
	s.activity(canary, ann, s.contact("bob@b.example"))
	backup := s.snapshot()
	p := s.approved(ann)
	silent := func(err error) {
		t.Helper()
		require.Error(t, err)
		for _, secret := range []string{canary, ann, "Personalname"} {
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, fmt.Sprintf("%v %+v", err, err), secret)
			var text strings.Builder
			slog.New(slog.NewJSONHandler(&text, nil)).Error("x", slog.Any("err", err))
			require.NotContains(t, text.String(), secret)
		}
	}
	database := s.cfg.Database
	s.cfg.Database = talkative{database}
	s.reopen()
	_, err := s.desk.Find(t.Context(), "main", ann)
	silent(err)
	require.ErrorIs(t, err, errQuoting, "the cause is there for who asks")
	_, err = s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "u"})
	silent(err)
	_, err = s.desk.Execute(t.Context(), p.ID)
	silent(err)
	_, err = s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
	silent(err)
	s.cfg.Database = eraseTalks{database}
	s.reopen()
	_, err = s.desk.Execute(t.Context(), p.ID)
	silent(err)

	_, err = s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "because " + canary, By: "u"})
	silent(err)
	for n := range 12 { // the fuse's own text is a canary too
		s.open()
		s.fuse.left = n + 1
		if _, err := s.desk.Execute(t.Context(), p.ID); err != nil {
			silent(err)
		}
		s.fuse.left = 0
	}
	s.restore(backup)
	s.exec(`DROP TABLE notes`)
	_, err = s.desk.Find(t.Context(), "main", ann)
	silent(err)
	s.exec(`DROP TABLE crmguard_privacy_plan`)
	_, err = s.desk.Plan(t.Context(), ann)
	silent(err)
	s.exec(`DROP TABLE crmguard_privacy_mark`)
	silent(s.desk.Ready(t.Context()))
	_, err = s.desk.LedgerHead(t.Context())
	silent(err)
	require.NoError(t, s.db.Close())
	silent(s.desk.Approve(t.Context(), p.ID, canary))
	_, err = s.desk.Find(t.Context(), "main", ann)
	silent(err)
}

type eraseTalks struct{ datastore.Transactional }

func (eraseTalks) EraseIn(context.Context, []datastore.Scope, func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return errQuoting
}

func TestConfig(t *testing.T) {
	s := newSystem(t)
	good := s.cfg
	for name, spoil := range map[string]func(*privacy.Config){
		"map":                  func(c *privacy.Config) { c.Map = nil },
		"db":                   func(c *privacy.Config) { c.DB = nil },
		"ledger":               func(c *privacy.Config) { c.Ledger = nil },
		"twins":                func(c *privacy.Config) { c.Stores = append(c.Stores[:1:1], c.Stores[0]) },
		"twin of the database": func(c *privacy.Config) { c.Stores = []datastore.Store{c.Database} },
		"erase":                func(c *privacy.Config) { c.Stores = append(c.Stores[:0:0], datastore.Func{Name: "x"}.Store()) },
		"erase of people": func(c *privacy.Config) {
			c.Stores = append(c.Stores[:0:0], datastore.Func{Name: "x", People: func(context.Context) iter.Seq2[datastore.Person, error] { return nil }}.Store())
		},
		"sign": func(c *privacy.Config) { c.Sign = nil },
		"open": func(c *privacy.Config) { c.Open = nil },
	} {
		c := good
		spoil(&c)
		_, err := privacy.Open(t.Context(), c)
		require.ErrorIs(t, err, privacy.ErrConfig, name)
	}
	bad := good
	bad.Stores = []datastore.Store{nil}
	_, err := privacy.Open(t.Context(), bad)
	require.ErrorIs(t, err, privacy.ErrConfig)
	require.ErrorContains(t, err, "is nil")
	bad = good
	bad.Map = &datamap.Map{}
	_, err = privacy.Open(t.Context(), bad)
	require.ErrorIs(t, err, datamap.ErrMap)
	s.exec(`DELETE FROM crmguard_schema`)
	_, err = privacy.Open(t.Context(), good)
	var old *privacy.ErrSchema
	require.ErrorAs(t, err, &old)
	require.Equal(t, 1, old.Want)
}

func TestIDs(t *testing.T) {
	s := newSystem(t)
	for _, id := range []string{"", "a\x00b", "\xff", strings.Repeat("x", 256)} {
		_, err := s.desk.Find(t.Context(), "main", id)
		require.ErrorIs(t, err, privacy.ErrID)
		_, err = s.desk.Find(t.Context(), id, "p")
		require.ErrorIs(t, err, privacy.ErrID)
	}
	rows, err := s.desk.Find(t.Context(), "another tenant", s.contact("ann@a.example"))
	require.NoError(t, err)
	for _, r := range rows {
		require.NotEqual(t, "crm", r.Store, "a database of one tenant answers no other")
	}
}

func TestObservationsAndMigrations(t *testing.T) {
	s := newSystem(t)
	seen := map[string]bool{}
	s.cfg.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) { seen[name] = true }
	s.reopen()
	s.erase(s.contact("ann@a.example"))
	require.True(t, seen["privacy.planned"] && seen["privacy.erased"])
	f, err := privacy.Migrations().Open("sqlite/20261126300001_crmguard_privacy_1.up.sql")
	require.NoError(t, err)
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Contains(t, string(text), "crmguard_privacy_plan")
}

// A person key whose store lists people is replayed without the database.
func TestPeopleOfAFunc(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	key := s.keys.keys[ann]
	s.erase(ann)
	s.keys.keys[ann] = key // an old copy of the keys came back
	s.cfg.Stores[0] = datastore.Func{Name: "person keys", Class: datastore.Shredded, Erase: s.keys.erase, Remaining: s.keys.left, People: func(context.Context) iter.Seq2[datastore.Person, error] {
		return func(yield func(datastore.Person, error) bool) { yield(datastore.Person{Tenant: "main", ID: ann}, nil) }
	}}.Store()
	s.reopen()
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Nil(t, s.keys.keys[ann])
}
