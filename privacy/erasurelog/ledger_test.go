package erasurelog_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

const vector = "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46" // formats.md, section 8

func TestDigestVector(t *testing.T) {
	f := newFixture(t)
	_, digest, err := f.log.Digest(t.Context(), erasurelog.KindPerson, "t1", []byte("p1"))
	require.NoError(t, err)
	raw, err := hex.DecodeString(vector)
	require.NoError(t, err)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(raw), digest)
	keys, err := f.log.Keys(t.Context(), erasurelog.KindPerson, "t1", []byte("p1"))
	require.NoError(t, err)
	require.Equal(t, []string{"16909060/" + digest}, keys)
}

// A line holds digests, and nothing of the person that can be read.
func TestALineHoldsNothingReadable(t *testing.T) {
	f := newFixture(t)
	e := f.entry(erasurelog.Intent, newID(), "ann@a.example")
	e.Aliases = []string{f.person("alias-of-ann")}
	e.Refs = []string{f.digest(erasurelog.KindRef, string(erasurelog.RowID("contacts", "row-of-ann")))}
	e.By = f.principal("user-of-ann")
	f.append(e)
	for _, secret := range []string{"ann", "contacts", "main"} {
		require.NotContains(t, string(f.data()), secret)
	}
	var line map[string]any
	require.NoError(t, json.Unmarshal(f.data(), &line))
	require.Equal(t, e.Person, line["person"])
	require.Equal(t, "16909060", line["keyid"])
	got, ok := f.read().Last()
	require.True(t, ok)
	e.N, e.At, e.Root = 1, f.now, f.roots[0].id
	require.Equal(t, e, got)
}

func TestHead(t *testing.T) {
	f := newFixture(t)
	head, err := f.log.Head(t.Context())
	require.NoError(t, err)
	require.JSONEq(t, `{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","n":0}`, string(head))
	f.erase("ann")
	head, err = f.log.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"hash":"`+erasurelog.LineHash([]byte(strings.TrimSuffix(f.lines()[1], "\n")))+`","n":2}`, string(head))
	parsed, err := erasurelog.ParseHead(head)
	require.NoError(t, err)
	require.Equal(t, f.read().Head(), parsed)
	for _, bad := range []string{``, `{}`, `null`, `{"hash":"AA","n":1}`, `{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","n":-1}`, string(head) + " "} {
		_, err := erasurelog.ParseHead([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestCreateOnce(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	before := f.data()
	err := f.log.Create(t.Context())
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "later starts need Open alone")
	require.Equal(t, before, f.data())
	f.anchor, err = f.log.Head(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, f.log.Create(t.Context()), fs.ErrExist, "nothing is wrong with it")
	require.NoError(t, os.Remove(f.path()))
	require.ErrorIs(t, f.log.Create(t.Context()), erasurelog.ErrRewound, "no empty ledger in the place of a lost one")
	f.anchor = []byte("nonsense")
	var silent *erasurelog.AnchorError
	require.ErrorAs(t, f.log.Create(t.Context()), &silent)
	require.NoFileExists(t, f.path())
	for _, cfg := range []erasurelog.Config{{}, {Medium: erasurelog.Folder(f.dir)}, {Digests: f.cfg.Digests}, {Medium: f.cfg.Medium, Digests: f.cfg.Digests, Recheck: -1}} {
		_, err := erasurelog.Open(cfg)
		require.ErrorIs(t, err, erasurelog.ErrConfig)
	}
	_, err = erasurelog.In("", f.cfg.Digests)
	require.ErrorIs(t, err, erasurelog.ErrConfig, "not in whatever folder the process was started")
}

// refused checks that every verb refuses the ledger, by a process that has read
// it before and by a new one, and that it stays as it was.
func (f *fixture) refused(sentinel error) {
	f.t.Helper()
	before, missing := os.ReadFile(f.path())
	for _, next := range []bool{false, true} {
		if next {
			f.open()
		}
		_, read := f.log.Read(f.t.Context())
		_, verify := f.log.Verify(f.t.Context())
		_, head := f.log.Head(f.t.Context())
		_, appended := f.log.Append(f.t.Context(), nil, func(*erasurelog.State) (*erasurelog.Entry, error) {
			return nil, errors.New("must not be asked")
		})
		for verb, err := range map[string]error{"read": read, "verify": verify, "head": head, "append": appended} {
			require.ErrorIs(f.t, err, sentinel, verb)
			var detail *erasurelog.LedgerError
			require.ErrorAs(f.t, err, &detail, verb)
			require.Equal(f.t, f.path(), detail.Place)
			require.ErrorContains(f.t, err, f.path())
			require.ErrorContains(f.t, err, "remedy: ")
		}
	}
	after, stillMissing := os.ReadFile(f.path())
	require.Equal(f.t, before, after, "the ledger stays byte for byte as it was")
	require.Equal(f.t, missing == nil, stillMissing == nil)
}

func TestAnUnreachableLedger(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	require.NoError(t, os.Rename(f.path(), f.path()+".gone"))
	f.refused(erasurelog.ErrUnreachable)
	require.NoError(t, os.Rename(f.path()+".gone", f.path()))
	require.Equal(t, int64(2), f.read().Head().N, "the remedy: bring it back")
	require.NoError(t, os.RemoveAll(f.dir))
	f.refused(erasurelog.ErrUnreachable)
}

func TestARewoundLedger(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	f.erase("bob")
	whole, head := f.data(), f.read().Head()
	f.put([]byte(strings.Join(f.lines()[:2], "")))
	f.open()
	require.Equal(t, int64(2), f.read().Head().N, "the shorter chain itself is valid")
	_, err := f.log.Read(t.Context(), erasurelog.Kept{Name: "the application database", Head: head})
	require.ErrorIs(t, err, erasurelog.ErrRewound)
	require.ErrorContains(t, err, "the application database knows 4")
	f.anchor, err = head.Bytes()
	require.NoError(t, err)
	f.refused(erasurelog.ErrRewound)
	f.put(whole)
	require.Equal(t, head, f.read().Head(), "the remedy: bring back the newest copy")
}

func TestAForgedLedger(t *testing.T) {
	for name, forge := range map[string]func(all []string) []string{
		"extra entry with a mac of another key": func(all []string) []string {
			other := newFixture(t)
			other.roots = []root{{0x01020304, seqKey(9)}} // same id, other key
			other.open()
			other.erase("x")
			return append(all, other.lines()[0])
		},
		"copied entry":  func(all []string) []string { return append(all, all[0]) },
		"changed entry": func(all []string) []string { all[0] = strings.Replace(all[0], `"at":"2`, `"at":"1`, 1); return all },
		"changed last entry": func(all []string) []string {
			all[3] = strings.Replace(all[3], `"op":"done"`, `"op":"void"`, 1)
			return all
		},
		"unknown version":     func(all []string) []string { all[1] = strings.Replace(all[1], `"v":1`, `"v":2`, 1); return all },
		"dropped entry":       func(all []string) []string { return append(all[:1], all[2:]...) },
		"swapped entries":     func(all []string) []string { all[0], all[1] = all[1], all[0]; return all },
		"not JSON":            func(all []string) []string { return append(all, "hello\n") },
		"empty line":          func(all []string) []string { return append(all, "\n", "\n") },
		"no mac":              func(all []string) []string { return append(all, "{\"at\":\"x\"}\n") },
		"nothing but the mac": func(all []string) []string { return append(all, "{\"mac\":\"x\"}\n") },
		"not canonical":       func(all []string) []string { all[3] = strings.Replace(all[3], `,"v"`, `, "v"`, 1); return all },
		"a second mac": func(all []string) []string {
			all[3] = strings.Replace(all[3], `"mac"`, `"mac":"","mac"`, 1)
			return all
		},
		"a mac of padding": func(all []string) []string { all[3] = strings.Replace(all[3], `","n":4`, `=","n":4`, 1); return all },
		"a key id with zeros": func(all []string) []string {
			all[3] = strings.Replace(all[3], `"keyid":"`, `"keyid":"0`, 1)
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.erase("ann")
			f.erase("bob")
			good := f.data()
			forged := strings.Join(forge(f.lines()), "")
			if !strings.HasSuffix(forged, "\n") {
				forged += "\n"
			}
			require.NotEqual(t, string(good), forged)
			f.put([]byte(forged))
			_, err := f.log.Verify(t.Context())
			require.ErrorIs(t, err, erasurelog.ErrForged)
			f.open()
			f.refused(erasurelog.ErrForged)
			f.put(good)
			require.Equal(t, int64(4), f.read().Head().N, "the remedy: bring back the newest copy that verifies")
		})
	}
}

// A fork: entries of this very system, but others than those anchored.
func TestAForkedLedger(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	backup := f.data()
	f.erase("bob")
	head, err := f.log.Head(t.Context())
	require.NoError(t, err)
	f.put(backup)
	f.open()
	f.erase("carol") // the same number of entries, other ones
	f.anchor = head
	f.refused(erasurelog.ErrForged)
}

// Lines of this very system, each with a good mac, that do not follow each other:
// of another branch of the ledger, and with a number left out.
func TestASplicedLedger(t *testing.T) {
	f := newFixture(t)
	f.append(f.entry(erasurelog.Intent, newID(), "ann"))
	begin := f.data()
	f.append(f.entry(erasurelog.Intent, newID(), "bob"))
	one, head := f.data(), f.read().Head()
	f.put(begin)
	f.open()
	f.erase("carol")
	f.put(append(one, f.lines()[2]+"\n"...))
	f.open() // the last line is the one known: until the next whole reading, nothing has changed
	f.refused(erasurelog.ErrForged)
	e := f.entry(erasurelog.Intent, newID(), "dora")
	e.At = f.now
	line, err := f.log.Line(t.Context(), e, erasurelog.Head{Hash: head.Hash, N: 7})
	require.NoError(t, err)
	f.put(append(one, append(line, '\n')...))
	f.open()
	f.refused(erasurelog.ErrForged)
}

func TestTwoLedgersSwapped(t *testing.T) {
	a, b := newFixture(t), newFixture(t)
	b.roots = []root{{0x0badcafe, seqKey(77)}}
	b.open()
	a.erase("ann")
	b.erase("bob")
	one, two := a.data(), b.data()
	a.put(two)
	b.put(one)
	a.refused(erasurelog.ErrForeign)
	b.refused(erasurelog.ErrForeign)
}

func TestATornWrite(t *testing.T) {
	t.Run("that nobody names is cut by the next append", func(t *testing.T) {
		f := newFixture(t)
		f.erase("ann")
		whole := f.data()
		for _, torn := range []string{`{"at":"20`, "\x00\x00\x00", `{"at":"2026-11-23T13:00:00.000000Z"}`, "{\"at\x00\x00\x00\x00\x00}\n", "\x00\n"} {
			f.put(append(append([]byte(nil), whole...), torn...))
			f.open()
			require.Equal(t, int64(2), f.read().Head().N)
			f.erase("bob")
			require.True(t, strings.HasPrefix(string(f.data()), string(whole)+`{"at":"`))
			require.Len(t, f.lines(), 4)
			f.put(whole)
		}
	})
	t.Run("is none where another line follows", func(t *testing.T) {
		for _, behind := range []string{"\x00}\n{}\n", "\x00}\n\x00}\n", "\x00}\n{"} {
			f := newFixture(t)
			f.erase("ann")
			f.put(append(f.data(), behind...))
			f.refused(erasurelog.ErrForged)
		}
	})
	t.Run("of a whole entry that a head names is kept", func(t *testing.T) {
		for _, next := range []bool{false, true} {
			f := newFixture(t)
			f.erase("ann")
			whole, head := f.data(), f.read().Head()
			var err error
			f.anchor, err = head.Bytes()
			require.NoError(t, err)
			f.put(whole[:len(whole)-1])
			if next {
				f.open()
			}
			require.Equal(t, head, f.read().Head())
			f.erase("bob")
			require.True(t, strings.HasPrefix(string(f.data()), string(whole)))
			require.Len(t, f.lines(), 4)
		}
	})
	t.Run("of an entry that a head names and that is damaged is refused", func(t *testing.T) {
		f := newFixture(t)
		f.erase("ann")
		var err error
		f.anchor, err = f.log.Head(t.Context())
		require.NoError(t, err)
		f.put(f.data()[:len(f.data())-9])
		f.refused(erasurelog.ErrRewound)
	})
}

func TestANewRootReadsWhatTheOldOneWrote(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	f.roots = append([]root{{99, seqKey(50)}}, f.roots...)
	f.open()
	f.erase("bob")
	require.Contains(t, f.lines()[2], `"keyid":"99"`)
	s := f.read()
	require.Len(t, f.keys("ann"), 2)
	require.Len(t, s.Person(f.keys("ann")...).Erasures, 1)
	require.Len(t, s.Person(f.keys("bob")...).Erasures, 1)
	require.Empty(t, s.Person(f.keys("carl")...).Erasures)
	e := f.entry(erasurelog.Intent, newID(), "carl")
	e.Root = 7
	require.ErrorIs(t, f.try(e), erasurelog.ErrEntry, "a root that is gone")
}

// Members that a later version adds are authenticated and passed over; what it
// does differently is told from a forgery.
func TestEntriesOfALaterVersion(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	good := f.data()
	sign := func(change func(line string) string) string {
		e := f.entry(erasurelog.Intent, newID(), "bob")
		e.Root, e.At = f.roots[0].id, f.now
		f.put(good)
		line, err := f.log.Line(t.Context(), e, f.read().Head())
		require.NoError(t, err)
		text := change(string(line))
		before, _, _ := strings.Cut(text, `,"mac":"`)
		covered := before + text[strings.Index(text, `,"n":`):]
		_, macs, err := f.cfg.Digests(t.Context(), "crmguard/ledger/mac/v1", []byte(covered))
		require.NoError(t, err)
		return before + `,"mac":"` + base64.RawURLEncoding.EncodeToString(macs[0]) + `"` + text[strings.Index(text, `,"n":`):] + "\n"
	}
	replace := func(from, to string) func(string) string {
		return func(line string) string { return strings.Replace(line, from, to, 1) }
	}
	put := func(line string) {
		f.put([]byte(string(good) + line))
		f.open()
	}
	added := sign(replace(`,"op":`, `,"note":{"mac":"<later>","x":[1,true,""]},"op":`))
	put(added)
	require.Equal(t, int64(3), f.read().Head().N)
	put(strings.Replace(added, "later", "never", 1))
	f.refused(erasurelog.ErrForged)
	put(sign(replace(`"v":1`, `"v":2`)))
	f.refused(erasurelog.ErrNewer)
	put(sign(replace(`"op":"intent"`, `"op":"later"`)))
	f.refused(erasurelog.ErrNewer)
	for name, change := range map[string][2]string{
		"a plan that is none":      {`"plan":"`, `"plan":"0`},
		"a time that is none":      {`"at":"2`, `"at":"x`},
		"a person that is no hash": {`"person":"`, `"person":"A`},
	} {
		put(sign(replace(change[0], change[1])))
		_, err := f.log.Read(t.Context())
		require.ErrorIs(t, err, erasurelog.ErrForged, name)
	}
	put(sign(func(line string) string { return strings.Replace(line, `"at":"2026`, `"at":"2025`, 1) }))
	f.refused(erasurelog.ErrForged) // older than the entry before it
}

func TestAnAnchorThatDoesNotAnswer(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	var err error
	f.anchor, err = f.log.Head(t.Context())
	require.NoError(t, err)
	require.Len(t, f.read().Anchors(), 1)
	f.anchor = []byte("nonsense")
	s, err := f.log.Read(t.Context())
	var silent *erasurelog.AnchorError
	require.ErrorAs(t, err, &silent)
	require.ErrorContains(t, err, `anchor "kept elsewhere"`)
	require.NotContains(t, err.Error(), "nonsense")
	require.Equal(t, int64(2), s.Head().N, "an outage of an anchor is none of the ledger")
	require.Empty(t, s.Anchors())
	require.ErrorAs(t, f.try(f.entry(erasurelog.Intent, newID(), "bob")), &silent)
	require.Len(t, f.lines(), 2)
}

// What lies in the folder besides is left alone.
func TestForeignFilesInTheFolder(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	require.NoError(t, f.log.Note(t.Context(), "a", []byte("x")))
	for _, name := range []string{"ledger.jsonl~", ".hidden", "README", "notes/README", "notes/A.note", "notes/.note", "notes/a.note.bak"} {
		require.NoError(t, os.WriteFile(filepath.Join(f.dir, filepath.FromSlash(name)), []byte("foreign\n"), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(f.dir, "notes", "folder"), 0o700))
	f.open()
	f.erase("bob")
	notes := 0
	for _, err := range f.log.Notes(t.Context()) {
		require.NoError(t, err)
		notes++
	}
	require.Equal(t, 1, notes)
	require.FileExists(t, filepath.Join(f.dir, "notes", "README"))
}

// The medium itself cuts off what no other line follows, and nothing else.
func TestWhatAnAppendCutsOff(t *testing.T) {
	for behind, want := range map[string]error{
		"": nil, "{": nil, "\x00": nil, "\x00}\n": nil,
		"{}\n": erasurelog.ErrMoved, "{}\n\x00": erasurelog.ErrMoved, "\x00}\n{}\n": erasurelog.ErrMoved, "\x00}\n{": erasurelog.ErrMoved,
	} {
		f := newFixture(t)
		f.put([]byte("line\n" + behind))
		err := f.cfg.Medium.Append(t.Context(), erasurelog.Position{N: 1, Size: 5}, []byte("line"), []byte("next"))
		require.ErrorIs(t, err, want, "%q", behind)
		if want == nil {
			require.Equal(t, "line\nnext\n", string(f.data()))
		} else {
			require.Equal(t, "line\n"+behind, string(f.data()))
		}
	}
}

// A line that nothing here can have written ends the reading, and not memory.
func TestALineWithoutAnEnd(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	good := f.data()
	f.put(append(append([]byte(nil), good...), make([]byte, erasurelog.MaxLine+(1<<20))...))
	f.refused(erasurelog.ErrForged)
	f.put(good)
	e := f.entry(erasurelog.Intent, newID(), "bob")
	for i := range erasurelog.MaxLine / 46 {
		e.Refs = append(e.Refs, base64.RawURLEncoding.EncodeToString(append(make([]byte, 28), byte(i>>24), byte(i>>16), byte(i>>8), byte(i))))
	}
	require.ErrorIs(t, f.try(e), erasurelog.ErrEntry)
	require.Equal(t, good, f.data())
	e.Refs = e.Refs[:len(e.Refs)/2]
	f.append(e)
	f.open()
	last, ok := f.read().Last()
	require.True(t, ok)
	require.Len(t, last.Refs, len(e.Refs))
}
