package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// broken is a medium of a ledger that fails at its n-th change, before or after
// that is done.
type broken struct {
	erasurelog.Medium
	at, calls int
	after     bool
}

func (b *broken) change(do func() error) error {
	b.calls++
	if b.calls != b.at {
		return do()
	}
	if b.after {
		_ = do()
	}
	return errors.New("disk")
}

func (b *broken) Append(ctx context.Context, at erasurelog.Position, last, line []byte) error {
	return b.change(func() error { return b.Medium.Append(ctx, at, last, line) })
}

func (b *broken) PutNotes(ctx context.Context, notes ...erasurelog.SealedNote) error {
	return b.change(func() error { return b.Medium.PutNotes(ctx, notes...) })
}

// Whichever change of the ledger fails, before it is done or after: without an
// intent in it nothing is erased, and the next execution finishes, once.
func TestALedgerThatFailsAtEveryChange(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			s := newSystem(t)
			ann := s.contact("ann@a.example")
			s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
			s.reopen()
			p := s.approved(ann)
			medium := &broken{Medium: erasurelog.Folder(s.ledgerDir()), at: n, after: after}
			ledger, err := erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now }})
			require.NoError(t, err)
			s.cfg.Ledger = ledger
			s.reopen()
			_, err = s.desk.Execute(t.Context(), p.ID)
			if countOf(ops(t, s), "intent") == 0 {
				require.Error(t, err)
				require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "erased without an intent: change %d", n)
			}
			o := s.done(p.ID)
			require.NotEmpty(t, o.Certificate)
			require.Equal(t, []string{"intent", "done"}, ops(t, s))
			require.NoError(t, s.desk.Ready(t.Context()))
			if medium.calls < n {
				require.Greater(t, n, 3)
				break
			}
		}
	}
}

// Two processes execute one plan: one intent, one certificate, one end, and both
// answer the same.
func TestTwoProcessesExecuteOnePlan(t *testing.T) {
	if dir := os.Getenv("CRMGUARD_EXECUTE"); dir != "" {
		plan, err := os.ReadFile(filepath.Join(dir, "plans"))
		require.NoError(t, err)
		o := openOffice(t, dir)
		var out privacy.Outcome
		for out.State != privacy.Done {
			if out, err = o.desk.Execute(t.Context(), string(plan)); errors.Is(err, privacy.ErrBehind) || errors.Is(err, erasurelog.ErrBusy) {
				continue
			}
			require.NoError(t, err)
		}
		fmt.Printf("answer %x %x\n", out.Certificate, out.Salt)
		o.close()
		return
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
	o := openOffice(t, dir)
	c := o.found()
	o.plan(&c)
	o.close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plans"), []byte(c.plans[0]), 0o600))
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTwoProcessesExecuteOnePlan$")
			child.Env = append(os.Environ(), "CRMGUARD_EXECUTE="+dir)
			out, _ := child.CombinedOutput() // what it says is looked at
			answers <- string(out)
		}()
	}
	one, two := <-answers, <-answers
	answer := func(said string) string {
		_, text, found := strings.Cut(said, "answer ")
		require.True(t, found, "%s", said)
		text, _, _ = strings.Cut(text, "\n")
		return text
	}
	require.Equal(t, answer(one), answer(two))
	text, err := os.ReadFile(filepath.Join(dir, "ledger", "ledger.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), `"op":"intent"`))
	require.Equal(t, 1, strings.Count(string(text), `"op":"done"`))
}
