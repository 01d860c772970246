package erasurelog_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

type root struct {
	id  uint32
	key []byte
}

func seqKey(from byte) []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = from + byte(i)
	}
	return key
}

// digestsOf are the digests of roots, newest first, written a second time.
func digestsOf(roots ...root) erasurelog.Digests {
	return func(_ context.Context, label string, data []byte) (ids []uint32, digests [][]byte, err error) {
		for _, r := range roots {
			key, err := hkdf.Key(sha256.New, r.key, nil, string(frame.Join(label)), 32)
			if err != nil {
				return nil, nil, err
			}
			mac := hmac.New(sha256.New, key)
			mac.Write(data)
			ids, digests = append(ids, r.id), append(digests, mac.Sum(nil))
		}
		return ids, digests, nil
	}
}

// fixture is a ledger in a folder, with a clock of its own.
type fixture struct {
	t      testing.TB
	dir    string
	now    time.Time
	roots  []root
	anchor []byte // a head kept elsewhere
	cfg    erasurelog.Config
	log    *erasurelog.Log
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		t: t, dir: filepath.Join(t.TempDir(), "ledger"), now: time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC),
		roots: []root{{0x01020304, seqKey(0)}},
	}
	f.open()
	require.NoError(t, f.log.Create(t.Context()))
	return f
}

// open is what the next process does.
func (f *fixture) open() {
	f.t.Helper()
	f.cfg.Digests = digestsOf(f.roots...)
	if f.cfg.Medium == nil {
		f.cfg.Medium = erasurelog.Folder(f.dir)
	}
	f.cfg.Now = func() time.Time { return f.now }
	f.cfg.Anchors = []erasurelog.Anchor{{Name: "kept elsewhere", Head: func(context.Context) ([]byte, error) { return f.anchor, nil }}}
	var err error
	f.log, err = erasurelog.Open(f.cfg)
	require.NoError(f.t, err)
}

func (f *fixture) path() string { return filepath.Join(f.dir, "ledger.jsonl") }

func (f *fixture) data() []byte {
	f.t.Helper()
	data, err := os.ReadFile(f.path())
	require.NoError(f.t, err)
	return data
}

func (f *fixture) put(data []byte) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(f.path(), data, 0o600))
}

// lines are those of the file, each with its newline.
func (f *fixture) lines() []string {
	f.t.Helper()
	return linesOf(f.data())
}

func linesOf(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
}

func (f *fixture) ops() (list []string) {
	f.t.Helper()
	for _, line := range f.lines() {
		var e struct{ Op string }
		require.NoError(f.t, json.Unmarshal([]byte(line), &e))
		list = append(list, e.Op)
	}
	return list
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (f *fixture) digest(kind, id string) string {
	f.t.Helper()
	_, digest, err := f.log.Digest(f.t.Context(), kind, "main", []byte(id))
	require.NoError(f.t, err)
	return digest
}

func (f *fixture) person(id string) string    { return f.digest(erasurelog.KindPerson, id) }
func (f *fixture) principal(id string) string { return f.digest(erasurelog.KindPrincipal, id) }

func (f *fixture) address(text string) string { return f.digest("suppressed/email", text) }

// taken takes an address from the suppression list.
func (f *fixture) taken(id, address string) erasurelog.Entry {
	f.t.Helper()
	return erasurelog.Entry{Op: erasurelog.Unsuppress, Plan: id, Tenant: f.digest(erasurelog.KindTenant, "main"), Known: []string{f.address(address)}}
}

func (f *fixture) keys(person string) []string { return f.keysOf(erasurelog.KindPerson, person) }

func (f *fixture) keysOf(kind, id string) []string {
	f.t.Helper()
	keys, err := f.log.Keys(f.t.Context(), kind, "main", []byte(id))
	require.NoError(f.t, err)
	return keys
}

// entry is one about a person, of the tenant main.
func (f *fixture) entry(op erasurelog.Op, plan, person string) erasurelog.Entry {
	f.t.Helper()
	e, err := f.log.NewEntry(f.t.Context(), op, plan, "main", person)
	require.NoError(f.t, err)
	return e
}

func always(e erasurelog.Entry) func(*erasurelog.State) (*erasurelog.Entry, error) {
	return func(*erasurelog.State) (*erasurelog.Entry, error) { return &e, nil }
}

func (f *fixture) try(e erasurelog.Entry) error {
	_, err := f.log.Append(f.t.Context(), nil, always(e))
	return err
}

func (f *fixture) append(e erasurelog.Entry) *erasurelog.State {
	f.t.Helper()
	s, err := f.log.Append(f.t.Context(), nil, always(e))
	require.NoError(f.t, err)
	return s
}

// erase appends an intent and a done.
func (f *fixture) erase(person string) (plan string) {
	f.t.Helper()
	plan = newID()
	f.append(f.entry(erasurelog.Intent, plan, person))
	f.append(f.entry(erasurelog.Done, plan, person))
	return plan
}

func (f *fixture) read() *erasurelog.State {
	f.t.Helper()
	s, err := f.log.Read(f.t.Context())
	require.NoError(f.t, err)
	return s
}

// write puts n intents and dones there, as if appended one by one.
func (f *fixture) write(n int) {
	f.t.Helper()
	var out bytes.Buffer
	head := erasurelog.EmptyHead()
	e := f.entry(erasurelog.Intent, newID(), "p")
	e.Root, e.At = f.roots[0].id, f.now.Add(-time.Hour)
	for i := range n {
		e.Op, e.Cert = erasurelog.Done, canon.FormatBytes(seqKey(byte(i)))
		if i%2 == 0 {
			e.Op, e.Plan, e.Person, e.Cert = erasurelog.Intent, newID(), f.person("p"+newID()), ""
		}
		line, err := f.log.Line(f.t.Context(), e, head)
		require.NoError(f.t, err)
		out.Write(append(line, '\n'))
		head = erasurelog.Head{Hash: erasurelog.LineHash(line), N: head.N + 1}
	}
	f.put(out.Bytes())
}
