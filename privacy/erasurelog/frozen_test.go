package erasurelog_test

import (
	"context"
	"encoding/hex"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

var update = flag.Bool("update", false, "write the newest sample in testdata anew; never for a released format")

// The samples: ledger-1 is from before holds, voids and clocks had their
// meaning, ledger-2 from before cancelled plans, decisions and the suppression
// list were in it. They open for ever.
const newest = "ledger-3"

// sample appends one entry of each kind, with all members, about p1.
func sample(f *fixture) {
	e := f.answered(erasurelog.Intent, planOf(1), "p1")
	e.Aliases = []string{f.person("p2")}
	e.Refs = []string{f.digest(erasurelog.KindRef, string(erasurelog.RowID("contacts", "r1")))}
	e.Tops = map[string]int64{"public.contacts.id": 17, "public.deals.id": 1<<63 - 1}
	e.Known = []string{f.address("ann@a.example"), f.address("ann@b.example")}
	f.append(e)
	f.append(f.entry(erasurelog.Partial, planOf(1), "p1"))
	f.now = f.now.Add(time.Minute)
	done := f.entry(erasurelog.Done, planOf(1), "p1")
	done.Cert = f.person("stands for a certificate")
	f.append(done)
	f.append(f.entry(erasurelog.Intent, planOf(2), "p1"))
	f.append(f.answered(erasurelog.Void, planOf(2), "p1"))
	hold := f.answered(erasurelog.Hold, planOf(3), "p1")
	hold.Until = f.now.Add(24 * time.Hour)
	f.append(hold)
	f.append(f.answered(erasurelog.Lift, planOf(3), "p1"))
	f.now = f.now.AddDate(1, 0, 0)
	f.append(f.entry(erasurelog.Intent, planOf(4), "p1"))
	f.now = f.now.AddDate(-1, 0, 0).Add(time.Minute)
	f.append(erasurelog.Entry{Op: erasurelog.Clock, Plan: planOf(5), By: f.principal("user/1"), Approved: f.principal("user/2")})
	f.append(f.answered(erasurelog.Hold, planOf(6), "p1"))
	f.append(f.entry(erasurelog.Cancel, planOf(7), "p1"))
	for i, op := range []erasurelog.Op{erasurelog.Older, erasurelog.Newer} {
		e := f.answered(op, planOf(8+i), "p1")
		e.Refs = []string{f.digest(erasurelog.KindRef, string(erasurelog.RowID("contacts", "undated")))}
		f.append(e)
	}
	f.append(f.taken(planOf(10), "ann@b.example"))
}

// TestFreeze writes the newest sample.
func TestFreeze(t *testing.T) {
	if !*update {
		return
	}
	f := newFixture(t)
	sample(f)
	dir := filepath.Join("testdata", newest)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	head, err := f.log.Head(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ledger.jsonl"), f.data(), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "head.json"), head, 0o644))
}

// frozen opens a sample.
func frozen(t *testing.T, name string) (*fixture, *erasurelog.State) {
	t.Helper()
	f := &fixture{t: t, dir: filepath.Join("testdata", name), now: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), roots: []root{{0x01020304, seqKey(0)}}}
	f.open()
	f.cfg.Anchors = []erasurelog.Anchor{{Name: "testdata", Head: func(context.Context) ([]byte, error) { return os.ReadFile(filepath.Join(f.dir, "head.json")) }}}
	var err error
	f.log, err = erasurelog.Open(f.cfg)
	require.NoError(t, err)
	s := f.read()
	require.Len(t, s.Anchors(), 1)
	require.Empty(t, s.Faults())
	return f, s
}

func TestFrozenLedgers(t *testing.T) {
	_, s := frozen(t, "ledger-1")
	require.Equal(t, int64(3), s.Head().N)
	for e := range s.Erasures() {
		require.Equal(t, erasurelog.Finished, e.Status)
		require.Len(t, e.Refs, 1)
	}

	_, s = frozen(t, "ledger-2")
	require.Equal(t, int64(10), s.Head().N)

	f, s := frozen(t, newest)
	require.Equal(t, int64(14), s.Head().N)
	require.Equal(t, erasurelog.Cancelled, s.Status(planOf(7)))
	older, ok := s.Decided(f.keysOf(erasurelog.KindRef, string(erasurelog.RowID("contacts", "undated")))...)
	require.True(t, ok && !older)
	_, ok = s.Suppressed(f.keysOf("suppressed/email", "ann@a.example")...)
	require.True(t, ok)
	_, ok = s.Suppressed(f.keysOf("suppressed/email", "ann@b.example")...)
	require.False(t, ok)
	p := s.Person(f.keys("p1")...)
	require.Equal(t, []string{planOf(1), planOf(4)}, []string{p.Erasures[0].Plan, p.Erasures[1].Plan})
	require.Len(t, p.RefKeys(), 1)
	require.Len(t, s.Person(f.keys("p2")...).Erasures, 1)
	require.Equal(t, erasurelog.Withdrawn, s.Status(planOf(2)))
	require.Equal(t, erasurelog.Lifted, s.Status(planOf(3)))
	require.Equal(t, time.Date(2026, 11, 23, 13, 2, 0, 0, time.UTC), p.Erased(), "as of the entry about the clock")
	hold, held := p.Held(f.now)
	require.True(t, held)
	require.Equal(t, planOf(6), hold.Plan)
	require.Equal(t, map[string]int64{"public.contacts.id": 17, "public.deals.id": 1<<63 - 1}, s.Tops())
}

// What is written today is byte for byte the newest sample.
func TestTheNewestSampleIsWhatIsWritten(t *testing.T) {
	f := newFixture(t)
	sample(f)
	want, err := os.ReadFile(filepath.Join("testdata", newest, "ledger.jsonl"))
	require.NoError(t, err)
	require.Equal(t, string(want), string(f.data()))
}

// Python's hashlib and hmac read the samples and a fresh ledger.
func TestPythonReadsTheLedger(t *testing.T) {
	f := newFixture(t)
	sample(f)
	for _, path := range []string{f.path(), "testdata/ledger-1/ledger.jsonl", "testdata/ledger-2/ledger.jsonl", "testdata/ledger-3/ledger.jsonl"} {
		out, err := exec.CommandContext(t.Context(), "python3", "testdata/ledger.py", path, hex.EncodeToString(seqKey(0)), strconv.Itoa(0x01020304), "main", "p1").CombinedOutput()
		require.NoError(t, err, "%s: %s", path, out)
	}
}
