package integrity_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

var update = flag.Bool("update", false, "write the samples of testdata anew")

// tink makes tags in the form of Tink with one known key.
type tink struct{}

const tinkPrefix = "\x01\x00\x00\x00\x07"

func (tink) Tag(_ context.Context, _ string, data []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, root())
	mac.Write(data)
	return append([]byte(tinkPrefix), mac.Sum(nil)...), nil
}

func (k tink) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	want, _ := k.Tag(ctx, tenant, data)
	if !hmac.Equal(want, tag) {
		return errors.New("no")
	}
	return nil
}

// sample is a frozen table: the key, sealed rows, and the head of the roots
// that stand in the file beside it.
type sample struct {
	Key  string      `json:"key"`
	Head string      `json:"head"`
	Rows []sampleRow `json:"rows"`
}

type sampleRow struct {
	Ref    integrity.Ref `json:"ref"`
	Email  string        `json:"email"`
	City   *string       `json:"city"`
	Active bool          `json:"active"`
	Seal   string        `json:"seal"`
}

func sampleSealer(tb testing.TB) *integrity.Sealer {
	tb.Helper()
	sealer, err := integrity.NewSealer(tink{}, integrity.Layout{ID: "contact/1", Columns: []integrity.Column{
		{Name: "email", Type: integrity.Sealed}, {Name: "city"}, {Name: "active", Type: integrity.Boolean},
	}})
	require.NoError(tb, err)
	return sealer
}

func (r sampleRow) sealed(tb testing.TB) integrity.SealedRow {
	tb.Helper()
	seal, err := hex.DecodeString(r.Seal)
	require.NoError(tb, err)
	email, err := hex.DecodeString(r.Email)
	require.NoError(tb, err)
	values := map[string]any{"email": email, "city": nil, "active": r.Active}
	if r.City != nil {
		values["city"] = *r.City
	}
	return integrity.SealedRow{Ref: r.Ref, Values: values, Seal: seal}
}

func makeSample(t *testing.T) (sample, []byte) {
	t.Helper()
	sealer := sampleSealer(t)
	bern, chinese := "Bern", "北京"
	s := sample{Key: hex.EncodeToString(root())}
	var rows []integrity.SealedRow
	for i, r := range []sampleRow{
		{Ref: integrity.Ref{Key: "r1", Version: 7}, City: &bern, Active: true},
		{Ref: integrity.Ref{Key: "r2", Version: 1, Event: contactRef().Event}, City: &chinese},
		{Ref: integrity.Ref{Key: "r3"}},
	} {
		field := sealedField()
		field[20] = byte(i)
		r.Email = hex.EncodeToString(field)
		r.Ref.Tenant, r.Ref.Table, r.Ref.SchemaID = "t1", "contacts", "contact/1"
		row := r.sealed(t)
		seal, err := sealer.Seal(t.Context(), row.Ref, row.Values)
		require.NoError(t, err)
		r.Seal = hex.EncodeToString(seal)
		s.Rows, rows = append(s.Rows, r), append(rows, r.sealed(t))
	}
	roots := sweep(t, sealer, rows, integrity.SweepOptions{Tenant: "t1", Table: "contacts"}).Roots
	s.Head = hex.EncodeToString(roots.Head())
	text, err := roots.MarshalText()
	require.NoError(t, err)
	return s, text
}

// The samples were written by version 1 and must open.
func TestFrozenSealsAndRoots(t *testing.T) {
	seals, rootsFile := filepath.Join("testdata", "seal-v1.json"), filepath.Join("testdata", "roots-v1.json")
	if *update {
		s, roots := makeSample(t)
		data, err := json.MarshalIndent(s, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(seals, append(data, '\n'), 0o600))
		require.NoError(t, os.WriteFile(rootsFile, roots, 0o600))
	}
	data, err := os.ReadFile(seals)
	require.NoError(t, err)
	var frozen sample
	require.NoError(t, json.Unmarshal(data, &frozen))
	text, err := os.ReadFile(rootsFile)
	require.NoError(t, err)
	roots, err := integrity.ParseRoots(text)
	require.NoError(t, err)
	require.Equal(t, frozen.Head, hex.EncodeToString(roots.Head()))

	var rows []integrity.SealedRow
	for _, r := range frozen.Rows {
		rows = append(rows, r.sealed(t))
	}
	report := sweep(t, sampleSealer(t), rows, integrity.SweepOptions{Tenant: "t1", Table: "contacts", Against: roots})
	require.True(t, report.OK())
	require.Equal(t, int64(3), report.Verified)
	diff, err := report.Roots.Diff(roots)
	require.NoError(t, err)
	require.Empty(t, diff)
	again, err := report.Roots.MarshalText()
	require.NoError(t, err)
	require.Equal(t, string(text), string(again), "what is written today is what was written then")
}

// The bucket of a row and its tag, computed by hand.
func TestRootsAreWhatTheyAreSaidToBe(t *testing.T) {
	sealer := sampleSealer(t)
	row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "t1", Table: "contacts", Key: "r1", Version: 7}, Seal: []byte("seal")}
	roots := sweep(t, sealer, []integrity.SealedRow{row}, integrity.SweepOptions{Tenant: "t1", Table: "contacts"}).Roots
	digest := sha256.Sum256([]byte("\x00\x00\x00\x02r1\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x04seal"))
	bucket := sha256.Sum256([]byte("\x00\x00\x00\x18crmguard/roots/bucket/v1\x00\x00\x00\x02t1\x00\x00\x00\x08contacts\x00\x00\x00\x02r1"))
	in := append([]byte("\x00\x00\x00\x11crmguard/roots/v1\x00\x00\x00\x02t1\x00\x00\x00\x08contacts"), bucket[0], 0, 0, 0, 0, 0, 0, 0, 1)
	tag, err := tink{}.Tag(t.Context(), "t1", append(in, digest[:]...))
	require.NoError(t, err)
	text, err := roots.MarshalText()
	require.NoError(t, err)
	var doc struct {
		Buckets []struct {
			Rows int64  `json:"rows"`
			Tag  []byte `json:"-"`
			Text string `json:"tag"`
		} `json:"buckets"`
	}
	require.NoError(t, json.Unmarshal(text, &doc))
	require.Equal(t, int64(1), doc.Buckets[bucket[0]].Rows)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(tag), doc.Buckets[bucket[0]].Text)
}

func TestRootsReadBackAndKeepWhatTheyDoNotKnow(t *testing.T) {
	_, text := makeSample(t)
	roots, err := integrity.ParseRoots(text)
	require.NoError(t, err)
	later := bytes.Replace(text, []byte(`"table"`), []byte(`"later":1,"table"`), 1)
	more, err := integrity.ParseRoots(later)
	require.NoError(t, err)
	require.NotEqual(t, roots.Head(), more.Head(), "the head covers the received bytes")
	back, err := more.MarshalText()
	require.NoError(t, err)
	require.Equal(t, later, back)
	diff, err := roots.Diff(more)
	require.NoError(t, err)
	require.Empty(t, diff)
}

func TestWhatIsNotRootsIsRefused(t *testing.T) {
	_, text := makeSample(t)
	for name, bad := range map[string]string{
		"empty":        "",
		"no JSON":      "roots",
		"no object":    "[]",
		"spaces":       strings.Replace(string(text), ":", ": ", 1),
		"newline":      string(text) + "\n",
		"cut":          string(text[:len(text)-1]),
		"version":      strings.Replace(string(text), `"v":1`, `"v":2`, 1),
		"tenant":       strings.Replace(string(text), `"t1"`, `""`, 1),
		"too few":      `{"buckets":[],"table":"a","tenant":"b","v":1}`,
		"negative":     strings.Replace(string(text), `"rows":0`, `"rows":-1`, 1),
		"no tag":       strings.Replace(string(text), `"rows":0,"tag":"`, `"rows":0,"tag":"","x":"`, 1),
		"padded":       strings.Replace(string(text), `"},`, `="},`, 1),
		"other member": strings.Replace(string(text), `"buckets"`, `"Buckets"`, 1),
		"huge":         strings.Repeat(" ", 1<<20+1),
	} {
		require.NotEqual(t, string(text), bad, name)
		_, err := integrity.ParseRoots([]byte(bad))
		require.ErrorIs(t, err, integrity.ErrRoots, name)
	}
}

func FuzzParseRoots(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "roots-v1.json"))
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"buckets":[],"table":"a","tenant":"b","v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roots, err := integrity.ParseRoots(data)
		if err != nil {
			require.ErrorIs(t, err, integrity.ErrRoots)
			return
		}
		back, err := roots.MarshalText()
		require.NoError(t, err)
		require.Equal(t, data, back)
		require.GreaterOrEqual(t, roots.Rows(), int64(0))
	})
}
