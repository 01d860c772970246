package privacy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

func (s *system) ledgerPath() string { return filepath.Join(s.ledgerDir(), "ledger.jsonl") }

func lines(t *testing.T, path string) []string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	if len(data) == 0 {
		return nil
	}
	return strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
}

func ops(t *testing.T, s *system) []string {
	var list []string
	for _, line := range lines(t, s.ledgerPath()) {
		var e struct{ Op string }
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		list = append(list, e.Op)
	}
	return list
}

// The lines that a desk writes hold that digest, and nothing readable.
func TestLedgerLineHoldsTheVector(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.erase(ann)
	_, digests, err := digestsOf(s.roots...)(t.Context(), "crmguard/ledger/digest/v1", frame.Join("crmguard/ledger/v1", "person", "main", ann))
	require.NoError(t, err)
	for i, line := range lines(t, s.ledgerPath()) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		require.Equal(t, base64.RawURLEncoding.EncodeToString(digests[0]), e["person"])
		require.Equal(t, strconv.Itoa(0x01020304), e["keyid"])
		require.InDelta(t, i+1, e["n"], 0)
		require.NotContains(t, line, ann)
		require.NotContains(t, line, "main")
	}
}

func TestHead(t *testing.T) {
	s := newSystem(t)
	head, err := s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	require.JSONEq(t, `{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","n":0}`, string(head))
	s.erase(s.contact("ann@a.example"))
	head, err = s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	all := lines(t, s.ledgerPath())
	sum := sha256.Sum256([]byte(strings.TrimSuffix(all[1], "\n")))
	require.Equal(t, `{"hash":"`+base64.RawURLEncoding.EncodeToString(sum[:])+`","n":2}`, string(head))
}

// refused checks that the ledger is refused with the sentinel, naming the
// file, by every verb, and that the folder stays as it was.
func refused(t *testing.T, s *system, sentinel error) {
	t.Helper()
	person := s.contact("someone@else.example")
	p, planErr := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1"})
	if planErr == nil {
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		s.now = s.now.Add(25 * time.Hour)
	}
	before := digestDir(t, s.ledgerDir())
	_, replay := s.desk.Replay(t.Context())
	_, head := s.desk.LedgerHead(t.Context())
	_, execute := s.desk.Execute(t.Context(), p.ID)
	for verb, err := range map[string]error{"replay": replay, "head": head, "execute": execute, "current": s.desk.Ready(t.Context())} {
		require.ErrorIs(t, err, sentinel, verb)
		var detail *erasurelog.LedgerError
		require.ErrorAs(t, err, &detail, verb)
		require.Equal(t, s.ledgerPath(), detail.Place)
		require.Contains(t, err.Error(), s.ledgerPath())
		require.Contains(t, err.Error(), "remedy: ")
	}
	require.Equal(t, before, digestDir(t, s.ledgerDir()), "the folder stays byte for byte as it was")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, person), "nothing was erased")
}

func TestAnUnreachableLedger(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	s.cfg.Grace = -1
	s.reopen()
	require.NoError(t, os.Rename(s.ledgerPath(), s.ledgerPath()+".gone"))
	refused(t, s, erasurelog.ErrUnreachable)
	s.anchor = []byte(`{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","n":2}`)
	require.ErrorIs(t, s.ledger.Create(t.Context()), erasurelog.ErrRewound, "no empty ledger in the place of a lost one")
}

func TestANewRootReadsWhatTheOldOneWrote(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	backup := s.snapshot()
	s.erase(ann)
	s.roots = append([]root{{99, seqKey(50)}}, s.roots...)
	s.open()
	s.erase(s.contact("bob@b.example"))
	require.Contains(t, lines(t, s.ledgerPath())[2], `"keyid":"99"`)
	s.restore(backup)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
}

func TestAnAnchorThatDoesNotAnswer(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	s.anchor = []byte("nonsense")
	_, err := s.ledger.Verify(t.Context())
	require.Error(t, err)
	_, err = s.desk.Replay(t.Context())
	require.ErrorContains(t, err, `anchor "kept elsewhere"`)
	g, err := s.desk.Gate(t.Context())
	require.NoError(t, err, "an outage of an anchor is none of the application")
	require.True(t, g.Unanchored)
}

func canonical(t *testing.T, v any) []byte {
	data, err := canon.Marshal(v)
	require.NoError(t, err)
	return data
}

func script(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", append([]string{filepath.Join("erasurelog", "testdata", name)}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// What is wrong with the ledger the desk repeats, by every verb.
func TestALedgerThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *system, all []string) []string
		want   error
	}{
		"forged":  {func(_ *system, all []string) []string { return append(all[:1], all[2:]...) }, erasurelog.ErrForged},
		"rewound": {func(_ *system, all []string) []string { return all[:2] }, erasurelog.ErrRewound},
		"foreign": {func(s *system, _ []string) []string {
			other := newSystem(s.t)
			other.roots = []root{{0x0badcafe, seqKey(77)}}
			other.open()
			other.erase(other.contact("x@x.example"))
			return lines(s.t, other.ledgerPath())
		}, erasurelog.ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			s.erase(s.contact("ann@a.example"))
			s.erase(s.contact("bob@b.example"))
			text := strings.TrimSuffix(strings.Join(c.change(s, lines(t, s.ledgerPath())), ""), "\n") + "\n"
			require.NoError(t, os.WriteFile(s.ledgerPath(), []byte(text), 0o600))
			s.open() // a process that starts reads all of it
			refused(t, s, c.want)
		})
	}
}

// Python's hashlib and hmac read what a desk has written.
func TestPythonReadsTheLedger(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.erase(ann)
	script(t, "ledger.py", s.ledgerPath(), hex.EncodeToString(seqKey(0)), strconv.Itoa(0x01020304), "main", ann)
}
