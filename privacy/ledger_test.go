package privacy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
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

func TestLedgerDigestVector(t *testing.T) {
	input := frame.Join("crmguard/ledger/v1", "person", "t1", "p1")
	_, digests, err := digestsOf(root{1, seqKey(0)})(t.Context(), "crmguard/ledger/digest/v1", input)
	require.NoError(t, err)
	require.Equal(t, "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46", hex.EncodeToString(digests[0]))
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
	for verb, err := range map[string]error{"replay": replay, "head": head, "execute": execute, "current": s.desk.Current(t.Context())} {
		require.ErrorIs(t, err, sentinel, verb)
		var detail *privacy.LedgerError
		require.ErrorAs(t, err, &detail, verb)
		require.Equal(t, s.ledgerPath(), detail.File)
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
	refused(t, s, privacy.ErrLedgerUnreachable)
	s.anchor = []byte(`{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","n":2}`)
	require.ErrorIs(t, s.ledger.Create(t.Context()), privacy.ErrLedgerRewound, "no empty ledger in the place of a lost one")
}

func TestARewoundLedger(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	s.erase(s.contact("bob@b.example"))
	head, err := s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	all := lines(t, s.ledgerPath())
	require.NoError(t, os.WriteFile(s.ledgerPath(), []byte(strings.Join(all[:2], "")), 0o600))
	t.Run("against the mark in the database", func(t *testing.T) { refused(t, s, privacy.ErrLedgerRewound) })
	t.Run("against a head kept elsewhere only", func(t *testing.T) {
		s.exec(`UPDATE crmguard_privacy_mark SET n = 0, hash = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'`)
		require.NoError(t, s.ledger.Verify(t.Context()), "the shorter chain itself is valid")
		s.anchor = head
		refused(t, s, privacy.ErrLedgerRewound)
	})
}

func TestAForgedLedger(t *testing.T) {
	for name, forge := range map[string]func(all []string) []string{
		"extra entry with a mac of another key": func(all []string) []string {
			other := newSystem(t)
			other.roots = []root{{0x01020304, seqKey(9)}} // same id, other key
			other.open()
			other.erase(other.contact("x@x.example"))
			return append(all, lines(t, other.ledgerPath())[0])
		},
		"copied entry":    func(all []string) []string { return append(all, all[0]) },
		"changed entry":   func(all []string) []string { all[0] = strings.Replace(all[0], `"at":"2`, `"at":"1`, 1); return all },
		"unknown version": func(all []string) []string { all[1] = strings.Replace(all[1], `"v":1`, `"v":2`, 1); return all },
		"dropped entry":   func(all []string) []string { return append(all[:1], all[2:]...) },
		"swapped entries": func(all []string) []string { all[0], all[1] = all[1], all[0]; return all },
		"not JSON":        func(all []string) []string { return append(all, "hello\n") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			s.erase(s.contact("ann@a.example"))
			s.erase(s.contact("bob@b.example"))
			forged := strings.Join(forge(lines(t, s.ledgerPath())), "")
			if !strings.HasSuffix(forged, "\n") {
				forged += "\n"
			}
			require.NoError(t, os.WriteFile(s.ledgerPath(), []byte(forged), 0o600))
			refused(t, s, privacy.ErrLedgerForged)
		})
	}
}

// A fork: valid entries of this very system, but others than those anchored.
func TestAForkedLedger(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	backup, err := os.ReadFile(s.ledgerPath())
	require.NoError(t, err)
	snapshot := s.snapshot()
	s.erase(s.contact("bob@b.example"))
	head, err := s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	s.restore(snapshot)
	require.NoError(t, os.WriteFile(s.ledgerPath(), backup, 0o600))
	s.erase(s.contact("carol@c.example")) // the same number of entries, other ones
	s.anchor = head
	refused(t, s, privacy.ErrLedgerForged)
}

func TestTwoLedgersSwapped(t *testing.T) {
	a, b := newSystem(t), newSystem(t)
	b.roots = []root{{0x0badcafe, seqKey(77)}}
	b.open()
	a.erase(a.contact("ann@a.example"))
	b.erase(b.contact("bob@b.example"))
	one, err := os.ReadFile(a.ledgerPath())
	require.NoError(t, err)
	two, err := os.ReadFile(b.ledgerPath())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.ledgerPath(), two, 0o600))
	require.NoError(t, os.WriteFile(b.ledgerPath(), one, 0o600))
	refused(t, a, privacy.ErrLedgerForeign)
	refused(t, b, privacy.ErrLedgerForeign)
}

func TestATornWrite(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	whole, err := os.ReadFile(s.ledgerPath())
	require.NoError(t, err)

	t.Run("that nobody names is cut by the next append", func(t *testing.T) {
		require.NoError(t, os.WriteFile(s.ledgerPath(), append(bytes.Clone(whole), `{"at":"20`...), 0o600))
		require.NoError(t, s.ledger.Verify(t.Context()))
		s.erase(s.contact("bob@b.example"))
		after, err := os.ReadFile(s.ledgerPath())
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(after, append(bytes.Clone(whole), `{"at":"`...)))
		require.Len(t, lines(t, s.ledgerPath()), 4)
	})
	t.Run("of a whole entry that a head names is kept", func(t *testing.T) {
		s := newSystem(t)
		s.erase(s.contact("ann@a.example"))
		whole, err := os.ReadFile(s.ledgerPath())
		require.NoError(t, err)
		s.anchor, err = s.desk.LedgerHead(t.Context())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.ledgerPath(), whole[:len(whole)-1], 0o600))
		require.NoError(t, s.ledger.Verify(t.Context()))
		s.erase(s.contact("bob@b.example"))
		after, err := os.ReadFile(s.ledgerPath())
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(after, whole))
	})
	t.Run("of an entry that a head names and that is damaged is refused", func(t *testing.T) {
		s := newSystem(t)
		s.erase(s.contact("ann@a.example"))
		whole, err := os.ReadFile(s.ledgerPath())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.ledgerPath(), whole[:len(whole)-9], 0o600))
		refused(t, s, privacy.ErrLedgerRewound)
	})
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

// Members that a later version may add are kept and authenticated; hold and
// void keep an erasure from being replayed.
func TestEntriesOfOtherWriters(t *testing.T) {
	for op, held := range map[string]int{"hold": 1, "void": 0} {
		s := newSystem(t)
		ann := s.contact("ann@a.example")
		p := s.approved(ann)
		s.keys.broken = true
		_, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		all := lines(t, s.ledgerPath())
		sum := sha256.Sum256([]byte(strings.TrimSuffix(all[1]+"", "\n")))
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(all[1]), &e))
		delete(e, "mac")
		e["op"], e["n"], e["prev"], e["note"] = op, 3, base64.RawURLEncoding.EncodeToString(sum[:]), "<later>"
		covered := canonical(t, e)
		_, macs, err := digestsOf(s.roots...)(t.Context(), "crmguard/ledger/mac/v1", covered)
		require.NoError(t, err)
		e["mac"] = base64.RawURLEncoding.EncodeToString(macs[0])
		line := canonical(t, e)
		require.NoError(t, os.WriteFile(s.ledgerPath(), append([]byte(strings.Join(all, "")+"\n"), append(line, '\n')...), 0o600))
		require.NoError(t, s.ledger.Verify(t.Context()))
		s.contact("ann@a.example")
		s.exec(`INSERT INTO contacts VALUES ('old', ?, 'CH', NULL, x'00', 7, 1)`, ann)
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, held, r.Held)
		require.Equal(t, 0, r.Erased)
		require.Equal(t, 0, r.Entries)
		forged := strings.Replace(string(line), "later", "never", 1)
		require.NoError(t, os.WriteFile(s.ledgerPath(), append([]byte(strings.Join(all, "")+"\n"), append([]byte(forged), '\n')...), 0o600))
		require.ErrorIs(t, s.ledger.Verify(t.Context()), privacy.ErrLedgerForged)
	}
}

func canonical(t *testing.T, v any) []byte {
	data, err := canon.Marshal(v)
	require.NoError(t, err)
	return data
}

func TestCreateOnce(t *testing.T) {
	s := newSystem(t)
	err := s.ledger.Create(t.Context())
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "later starts need Open alone")
	_, err = privacy.NewLedger(privacy.LedgerConfig{})
	require.Error(t, err)
}

func TestAnAnchorThatDoesNotAnswer(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	s.anchor = []byte("nonsense")
	require.Error(t, s.ledger.Verify(t.Context()))
	_, err := s.desk.Replay(t.Context())
	require.ErrorContains(t, err, `anchor "kept elsewhere"`)
	g, err := s.desk.Gate(t.Context())
	require.NoError(t, err, "an outage of an anchor is none of the application")
	require.True(t, g.Unanchored)
}

func TestFrozenLedger(t *testing.T) {
	l, err := privacy.NewLedger(privacy.LedgerConfig{
		Dir: filepath.Join("testdata", "ledger"), Digests: digestsOf(root{16909060, seqKey(0)}),
		Anchors: []privacy.Anchor{{Name: "testdata", Head: func(context.Context) ([]byte, error) { return os.ReadFile("testdata/ledger/head.json") }}},
	})
	require.NoError(t, err)
	head, err := l.Head(t.Context())
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/ledger/head.json")
	require.NoError(t, err)
	require.Equal(t, string(want), string(head))
}

// Python's hashlib and hmac read the frozen ledger and a fresh one.
func TestPythonReadsTheLedger(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.erase(ann)
	script(t, "ledger.py", s.ledgerPath(), hex.EncodeToString(seqKey(0)), strconv.Itoa(0x01020304), "main", ann)
	script(t, "ledger.py", "testdata/ledger/ledger.jsonl", hex.EncodeToString(seqKey(0)), strconv.Itoa(0x01020304), "main", "p1")
}

func script(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", append([]string{filepath.Join("testdata", name)}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// One writer at a time; several processes wait for each other.
func TestTheLedgerHasOneWriter(t *testing.T) {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease = -1, -1
	s.reopen()
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("ann@a.example"), Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
	other := exec.CommandContext(t.Context(), "python3", "-c", `import fcntl, sys
f = open(sys.argv[1], "w"); fcntl.flock(f, fcntl.LOCK_EX); print("held", flush=True); sys.stdin.read()`, filepath.Join(s.ledgerDir(), "ledger.lock"))
	in, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	_, err = out.Read(make([]byte, 4))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = s.desk.Execute(ctx, p.ID)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrLedgerBusy)
	require.Empty(t, lines(t, s.ledgerPath()))
	require.NoError(t, in.Close())
	require.NoError(t, other.Wait())
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
}
