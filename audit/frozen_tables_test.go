package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/internal/frame"
)

// frozenTables are what stands in tables and in the mirror beside the log, byte for
// byte, under keys of a fixed secret. Binary values are hex.
type frozenTables struct {
	Secret, Name, Origin, Tenant string
	State                        map[string]json.RawMessage
	Head                         struct {
		Size, At        int64
		Root, Note, Tag string
	}
	Queue struct{ Leaf, Sealed, Tag string }
	Retry struct {
		Given struct {
			ID, Action, Actor, Outcome, Reason, Request string
			Object                                      [2]string
			Person                                      bool
			Persons                                     []string
		}
		Tag string
	}
	Surrogates []struct {
		Surrogate, Into, Person, Tag string
		State                        byte
	}
	Mirror struct {
		Openings []struct {
			Index         int64
			Owner, Sealed string
		}
		People       []struct{ Tenant, Surrogate, Head string }
		OpeningsFile string `json:"openings/000"`
		PeopleFile   string `json:"people/000"`
		Large        struct {
			Index, Bytes int
			Owner, Byte  string
			BlockFile    string `json:"openings/000"`
			FileSHA256   string `json:"sha256 of openings/000.p/7"`
		}
	}
	Found []struct {
		Column string
		Value  json.RawMessage
		Key    int64
	}
}

func readTables(t *testing.T) (in frozenTables) {
	t.Helper()
	data, err := os.ReadFile("testdata/v1/tables.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &in))
	return in
}

// flips calls with each byte of data changed in one bit.
func flips(data []byte, with func(turned []byte)) {
	for at := range data {
		turned := bytes.Clone(data)
		turned[at] ^= 1
		with(turned)
	}
}

// The tags of the rows of tables are what they were, and one bit more is none.
func TestFrozenTagsOfTables(t *testing.T) {
	in := readTables(t)
	keys, err := KeysFrom(unhex(t, in.Secret))
	require.NoError(t, err)
	trail := &Trail{origin: in.Origin, config: Config{Name: in.Name, Tenant: in.Tenant, Keys: keys}}

	var s state
	number := func(name string, to *int64) {
		t.Helper()
		require.NoError(t, json.Unmarshal(in.State[name], to), name)
		delete(in.State, name)
	}
	text := func(name string) (out string) {
		t.Helper()
		require.NoError(t, json.Unmarshal(in.State[name], &out), name)
		delete(in.State, name)
		return out
	}
	number("size", &s.N)
	s.Hash, s.tag = tlog.Hash(unhex(t, text("root"))), unhex(t, text("tag"))
	for name, n := range map[string]*int64{
		"published": &s.published, "beat": &s.beat, "beat_size": &s.beatSize, "found": &s.found, "mirrored": &s.mirrored,
		"people": &s.people, "drained": &s.drained, "pruned": &s.pruned, "swept": &s.swept,
	} {
		number(name, n)
	}
	require.Empty(t, in.State, "the sample has nothing else")
	tagged, err := trail.tagState(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, s.tag, tagged.tag)
	require.NoError(t, trail.genuine(t.Context(), s))
	for _, n := range s.numbers() {
		*n++
		require.Error(t, trail.genuine(t.Context(), s))
		*n--
	}
	flips(s.tag, func(turned []byte) {
		other := s
		other.tag = turned
		require.Error(t, trail.genuine(t.Context(), other))
	})

	tree := tlog.Tree{N: in.Head.Size, Hash: tlog.Hash(unhex(t, in.Head.Root))}
	tag, err := keys.Tag(t.Context(), in.Tenant, headData(in.Origin, tree, in.Head.At, []byte(in.Head.Note)))
	require.NoError(t, err)
	require.Equal(t, in.Head.Tag, hex.EncodeToString(tag))

	_, retry, err := trail.saleKeys(t.Context(), in.Tenant)
	require.NoError(t, err)
	sealed, leaf := unhex(t, in.Queue.Sealed), []byte(in.Queue.Leaf)
	all, err := trail.macKeys(t.Context(), in.Tenant, queueKeyLabel)
	require.NoError(t, err)
	require.Equal(t, in.Queue.Tag, hex.EncodeToString(queueTag(nil, &all[0], in.Name, in.Tenant, sealed, leaf)))
	flips(unhex(t, in.Queue.Tag), func(turned []byte) {
		require.NotEqual(t, tagRight, checkQueueTag(all, in.Name, in.Tenant, sealed, leaf, turned))
	})
	g := &in.Retry.Given
	require.True(t, g.Person)
	r := &recording{event: Event{
		ID: g.ID, Tenant: in.Tenant, Actor: g.Actor, Action: g.Action, Outcome: g.Outcome, Reason: g.Reason, Request: g.Request,
		Object: PersonRef(g.Object[0], g.Object[1]), Persons: g.Persons,
		Changes: []Change{{Path: "email", Who: "p1", Old: "old@canary.example", New: "new@canary.example"}},
	}}
	r.given = given{event: &r.event, persons: people(r.event)}
	require.NoError(t, trail.encode(r))
	require.NoError(t, r.name())
	require.Equal(t, in.Retry.Tag, hex.EncodeToString(retry.sum(nil, r.given.append(nil), nil)))

	of, err := trail.macKeys(t.Context(), in.Tenant, surrogateKeyLabel)
	require.NoError(t, err)
	for _, row := range in.Surrogates {
		surrogate, into := [16]byte(unhex(t, row.Surrogate)), unhex(t, row.Into)
		require.Equal(t, row.Tag, hex.EncodeToString(surrogateTag(&of[0], in.Tenant, surrogate, row.State, into, row.Person)))
		flips(unhex(t, row.Tag), func(turned []byte) {
			require.NotEqual(t, tagRight, checkSurrogateTag(of, in.Tenant, surrogate, row.State, into, row.Person, turned))
		})
	}
	for _, f := range in.Found {
		var value string
		if json.Unmarshal(f.Value, &value) != nil {
			var object [2]string
			require.NoError(t, json.Unmarshal(f.Value, &object))
			value = string(frame.Join(object[0], object[1]))
		}
		require.Equal(t, f.Key, findKey(f.Column, in.Tenant, value), f.Column)
	}
}

// files is a mirror in memory.
type files map[string][]byte

func (f files) ReadFile(_ context.Context, name string) ([]byte, error) {
	data, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func (f files) WriteFile(_ context.Context, name string, data []byte) error {
	f[name] = data
	return nil
}

func (f files) SwapFile(_ context.Context, name string, old, data []byte) error {
	if there, ok := f[name]; ok != (old != nil) || !bytes.Equal(there, old) {
		return ErrChanged
	}
	f[name] = data
	return nil
}

// The files of the mirror are what they were: as they are written first, and with the
// number that they have when they are written anew.
func TestFrozenFilesOfTheMirror(t *testing.T) {
	in := readTables(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "crm.db"))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	s := newTill(t, db)
	s.config.Now = time.Now
	for _, o := range in.Mirror.Openings {
		_, err := db.ExecContext(t.Context(), `INSERT INTO crmguard_audit_openings (idx, owner, sealed) VALUES (?, ?, ?)`, o.Index, unhex(t, o.Owner), unhex(t, o.Sealed))
		require.NoError(t, err)
	}
	for i, p := range in.Mirror.People {
		_, err := db.ExecContext(t.Context(), `INSERT INTO crmguard_audit_surrogates (n, tenant, surrogate, k, state, tag, head) VALUES (?, ?, ?, 0, 0, x'', ?)`, i+1, p.Tenant, unhex(t, p.Surrogate), unhex(t, p.Head))
		require.NoError(t, err)
	}
	mirror := files{}
	require.NoError(t, s.mirrorOpenings(t.Context(), mirror, 0, blockWork{}))
	require.NoError(t, s.mirrorOpenings(t.Context(), mirror, 0, blockWork{}), "and it says the same")
	for range 2 {
		require.NoError(t, s.mirrorPeople(t.Context(), mirror, 0, func(*mirrorLine) bool { return false }))
	}
	require.Equal(t, []string{"openings/000", "people/000"}, slices.Sorted(maps.Keys(mirror)))
	require.Equal(t, in.Mirror.OpeningsFile, hex.EncodeToString(mirror["openings/000"]))
	require.Equal(t, in.Mirror.PeopleFile, hex.EncodeToString(mirror["people/000"]))
	large := &in.Mirror.Large
	_, err = db.ExecContext(t.Context(), `INSERT INTO crmguard_audit_openings (idx, owner, sealed) VALUES (?, ?, ?)`, large.Index, unhex(t, large.Owner), bytes.Repeat(unhex(t, large.Byte), large.Bytes))
	require.NoError(t, err)
	delete(mirror, "openings/000")
	require.NoError(t, s.mirrorOpenings(t.Context(), mirror, 0, blockWork{}))
	require.Equal(t, large.BlockFile, hex.EncodeToString(mirror["openings/000"]))
	digest := sha256.Sum256(mirror["openings/000.p/7"])
	require.Equal(t, large.FileSHA256, hex.EncodeToString(digest[:]))
	number, _, whole := mirrorRecords(mirroredPeople, mirror["people/000"])
	require.True(t, whole)
	require.EqualValues(t, 2, number)
	for at := range len(mirrorLabel(mirroredPeople)) {
		turned := bytes.Clone(mirror["people/000"])
		turned[at] ^= 1
		_, _, whole := mirrorRecords(mirroredPeople, turned)
		require.False(t, whole)
	}
}
