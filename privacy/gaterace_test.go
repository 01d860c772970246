package privacy_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// around runs something after the desk's part of a transaction.
type around struct {
	fused
	after func()
}

func (a around) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return a.fused.EraseIn(ctx, scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
		err := last(ctx, tx, found)
		a.after()
		return err
	})
}

// watched is a medium that says when its notes are read.
type watched struct {
	erasurelog.Medium
	read chan struct{}
}

func (w watched) Notes(ctx context.Context) iter.Seq2[erasurelog.SealedNote, error] {
	select {
	case w.read <- struct{}{}:
	default:
	}
	return w.Medium.Notes(ctx)
}

// A gate that is asked between an intent and its commit waits for the commit,
// and refuses nobody: nothing was restored.
func TestAGateThatIsAskedDuringAnErasureWaitsForIt(t *testing.T) {
	s := quick(t)
	s.cfg.Stores = nil // which it does not wait for
	s.reopen()
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	read := make(chan struct{}, 1)
	ledger, err := erasurelog.Open(erasurelog.Config{
		Medium: watched{erasurelog.Folder(s.ledgerDir()), read}, Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now },
	})
	require.NoError(t, err)
	cfg := s.cfg
	cfg.DB, cfg.Ledger, cfg.Database = openDB(t, s.dbPath()), ledger, nil
	cfg.Redact, cfg.EraseOwner = s.redact, s.keys.erase
	other, err := privacy.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, other.Ready(t.Context()))
	<-read
	answer := make(chan error, 1)
	s.cfg.Database = around{fused: s.cfg.Database.(fused), after: func() {
		go func() { answer <- other.Ready(t.Context()) }()
		<-read // it has seen the intent, and the mark before it
	}}
	s.reopen()
	s.done(p.ID)
	require.NoError(t, <-answer)
}
