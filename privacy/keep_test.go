package privacy_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

func (s *system) certified(o privacy.Outcome) []privacy.CertifiedClass {
	c, err := privacy.VerifyCertificate(s.t.Context(), o.Certificate, s.key.Public().(ed25519.PublicKey))
	require.NoError(s.t, err)
	return c.Classes
}

// A row that the plan keeps and that is gone when everything is read back is
// no "kept" on a certificate: the outcome is Partial and names it, until it is
// there again.
func TestNothingIsCertifiedAsKeptThatIsGone(t *testing.T) {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease = -1, -1
	clumsy := true
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{
		Name: "clumsy", Class: datastore.Deleted,
		Erase: func(ctx context.Context, _, _ string) error {
			if !clumsy {
				return nil
			}
			_, err := s.db.ExecContext(ctx, `DELETE FROM invoices`)
			return err
		},
		Remaining: func(context.Context, string, string) (int, error) { return 0, nil },
	}.Store())
	s.reopen()
	ann := s.contact("ann@a.example")
	kept := s.invoice(ann, s.now.AddDate(-1, 0, 0))
	plan := s.approved(ann)
	for range 2 {
		o, err := s.desk.Execute(t.Context(), plan.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Partial, o.State)
		require.Empty(t, o.Certificate)
		require.Len(t, o.Stores[0].Missing, 1)
		require.Equal(t, kept, o.Stores[0].Missing[0].Key)
		require.ErrorIs(t, s.desk.Current(t.Context()), privacy.ErrBehind)
	}
	clumsy = false
	s.exec(`INSERT INTO invoices VALUES (?, ?, 'Ann Example', NULL, 100, ?, ?)`, kept, ann, s.now.AddDate(-1, 0, 0).UnixMicro(), s.now.UnixMicro())
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	require.Contains(t, classesOf(s.certified(o)), "invoices kept")
}

func classesOf(list []privacy.CertifiedClass) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.Table+" "+string(c.Class))
	}
	return out
}

// A trigger or a cascade that takes a kept row along ends the transaction:
// nothing is lost, and nothing is erased.
func TestAnErasureThatWouldLoseAKeptRowIsTakenBack(t *testing.T) {
	s := newSystem(t)
	s.exec(`CREATE TRIGGER tidy AFTER DELETE ON contacts BEGIN DELETE FROM invoices; END`)
	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now.AddDate(-1, 0, 0))
	plan := s.approved(ann)
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	var lost *sqlstore.LostError
	require.ErrorAs(t, o.Stores[0].Err, &lost)
	require.Equal(t, "invoices", lost.Table)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices`))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
	s.exec(`DROP TRIGGER tidy`)
	o, err = s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices`))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
}

// An obligation that ends while an erasure waits is no loss: the row went with
// the rest, and the certificate says so.
func TestAnObligationThatEndsMeanwhile(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now.AddDate(-10, 0, 2))
	plan := s.approved(ann)
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices`))
	s.now = s.now.AddDate(0, 0, 2)
	o, err = s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM invoices`))
	require.Contains(t, classesOf(s.certified(o)), "invoices deleted")
	require.NotContains(t, classesOf(s.certified(o)), "invoices kept")
}

// A row that stays when its obligation ends meanwhile is no longer called kept.
func TestAnObligationThatEndsMeanwhileOverARowThatStays(t *testing.T) {
	s := newSystem(t)
	m := dataMap()
	for i := range m.Tables {
		if m.Tables[i].Name == "invoices" {
			m.Tables[i].Erase = datamap.Redact
		}
	}
	s.openWith(m)
	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now.AddDate(-10, 0, 2))
	s.invoice(ann, s.now)
	plan := s.approved(ann)
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	s.now = s.now.AddDate(0, 0, 2)
	o, err = s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE name = '[redacted]'`))
	for _, c := range o.Counts {
		if c.Table == "invoices" {
			require.Equal(t, 1, c.Rows, "%+v", o.Counts)
			require.True(t, c.Class != datastore.Kept || c.Until.After(s.now), "%+v", o.Counts)
		}
	}
}

// forgetful hides that a store can show what it keeps, or fails at it.
type forgetful struct{ datastore.Store }

type failingKeeper struct{ forgetful }

func (failingKeeper) Missing(context.Context, datastore.Scope, []datastore.Row) ([]datastore.Row, error) {
	return nil, errors.New("Canary Personalname")
}

// What nobody has looked at is said on the certificate; a look that failed is
// no look.
func TestAStoreThatCannotShowWhatItKeeps(t *testing.T) {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease = -1, -1
	inner := s.cfg.Stores[0]
	s.cfg.Stores[0] = failingKeeper{forgetful{inner}}
	s.reopen()
	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now.AddDate(-1, 0, 0))
	plan := s.approved(ann)
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	require.EqualError(t, o.Stores[0].Err, "privacy: store crm: missing failed")
	s.cfg.Stores[0] = forgetful{inner}
	s.reopen()
	s.now = s.now.Add(time.Second)
	o, err = s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	c, err := privacy.VerifyCertificate(t.Context(), o.Certificate, s.key.Public().(ed25519.PublicKey))
	require.NoError(t, err)
	require.Contains(t, c.NotCovered, "store crm keeps records and cannot show that they are there")
}
