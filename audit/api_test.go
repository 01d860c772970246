package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

func TestBeats(t *testing.T) {
	b := newBench(t)
	require.False(t, b.run().Beat, "nothing happened")
	require.Empty(t, b.sink.FS(), "and nothing is signed")
	b.config.Heads = audit.Heads{
		Ledger:    audit.HeadOf(func(ctx) ([]byte, error) { return []byte(`{"hash":"AAEC","n":4}`), nil }),
		Keys:      audit.HeadOf(func(ctx) ([]byte, error) { return []byte(`{"epoch":1,"sequence":9,"store":"s"}`), nil }),
		Seals:     func(ctx) ([]byte, error) { return []byte{1}, nil },
		Snapshots: func(ctx) ([]byte, error) { return []byte{2}, nil },
	}
	b.open()
	b.fill(1)
	require.True(t, b.run().Beat)
	leaf := b.leaves()[1]
	require.Equal(t, auditlog.KindBeat, leaf.Kind)
	require.Equal(t, int64(1), leaf.Size)
	require.Equal(t, &auditlog.LeafHead{N: 4, Hash: "AAEC"}, leaf.Heads.Ledger)
	require.Equal(t, int64(9), leaf.Heads.Keys.N)
	require.Equal(t, "AQ", leaf.Heads.Seals)
	require.Equal(t, "Ag", leaf.Heads.Snapshots)
	b.advance(59 * time.Second)
	b.fill(1)
	require.False(t, b.run().Beat)
	b.advance(time.Second)
	require.True(t, b.run().Beat, "one more after the last event, though nothing came since")
	b.advance(time.Hour)
	require.False(t, b.run().Beat, "silence stays silent")
	require.NoError(t, b.trail.Beat(t.Context()), "unless asked")
	require.Equal(t, int64(3), b.verifyLog(nil).Beats)
	b.fill(1)
	b.advance(-2 * time.Hour)
	require.True(t, b.run().Beat, "a clock that went backwards")

	b.config.Heads.Ledger = audit.HeadOf(func(ctx) ([]byte, error) { return nil, errCue })
	b.open()
	b.advance(3 * time.Hour)
	b.fill(1)
	r, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrHead)
	require.ErrorIs(t, err, errCue)
	require.Equal(t, 1, r.Sequenced, "the log goes on")
	require.Equal(t, r.Size, r.Published)
	require.ErrorIs(t, b.trail.Beat(t.Context()), audit.ErrHead)
	for _, bad := range []string{`{`, `{"hash":"!","n":1}`} {
		_, _, err := audit.HeadOf(func(ctx) ([]byte, error) { return []byte(bad), nil })(t.Context())
		require.ErrorIs(t, err, auditlog.ErrMalformed)
	}
}

func TestRecorderAndNoter(t *testing.T) {
	b := newBench(t)
	b.config.From = func(ctx) audit.Caller { return audit.Caller{Request: "req-7"} }
	b.open()
	record, noter := b.trail.Recorder("u-5"), b.trail.Noter("u-6")
	attrs := []slog.Attr{
		slog.String("object", "plan/a/b"), slog.Any("persons", []string{"p1", "p2"}), slog.String("person", "p3"), slog.String("reason", "request"),
		slog.String("outcome", "partial"), slog.String("policy", strings.Repeat("a", 64)), slog.String("digest", "cafe"), slog.Int("count", 3),
		slog.String("for", "019aaaaa-0000-7000-8000-000000000001"), slog.String("prior", "019aaaaa-0000-7000-8000-000000000002"), slog.String("id", "019aaaaa-0000-7000-8000-000000000003"),
	}
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p1", "p2", "p3"))
	require.NoError(t, b.in(func(tx *sql.Tx) error { return record(t.Context(), tx, "main", "privacy.erase", attrs...) }))
	require.NoError(t, noter(t.Context(), "main", "backup.done", slog.String("request", "own")))
	require.ErrorIs(t, record(t.Context(), b.db, "main", "x"), audit.ErrNoTransaction)
	b.run()
	leaves := b.leaves()
	l := leaves[0]
	require.Equal(t, "019aaaaa-0000-7000-8000-000000000003", l.ID)
	require.Equal(t, []string{"u-5", "privacy.erase", "request", "partial", "req-7"}, []string{l.Actor, l.Action, l.Reason, l.Outcome, l.Request})
	require.Equal(t, audit.Object{Kind: "plan", ID: "a/b"}, l.Object)
	require.Len(t, l.Persons, 3)
	require.Equal(t, "count", l.Changes[0].Path)
	require.Equal(t, "digest", l.Changes[1].Path)
	require.Equal(t, "own", leaves[1].Request)
	past := b.history(audit.Ref("plan", "a/b"))[0]
	require.Equal(t, int64(3), past.Changes[0].New)
	require.Equal(t, "cafe", past.Changes[1].New)

	for _, bad := range []slog.Attr{
		slog.String("email", "a@b.example"), slog.String("note", "x"), slog.Int("reason", 1), slog.String("object", "plan"), slog.Int("object", 1),
		slog.Int("persons", 1), slog.Int("digest", 1), slog.String("count", "x"), slog.Group("g"),
	} {
		err := noter(t.Context(), "main", "x", bad)
		require.ErrorIs(t, err, audit.ErrInvalid, bad.Key)
		require.NotContains(t, err.Error(), "a@b.example")
		require.ErrorIs(t, record(t.Context(), nil, "main", "x", bad), audit.ErrInvalid)
	}
}

func TestInvalidEvents(t *testing.T) {
	b := newBench(t)
	b.config.StrictValues = true
	b.open()
	long := strings.Repeat("x", 256)
	ok := audit.Event{Tenant: "main", Actor: "u", Action: "a.b"}
	require.NoError(t, only(b.trail.Note(t.Context(), ok)))
	for name, change := range map[string]func(e *audit.Event){
		"no tenant":         func(e *audit.Event) { e.Tenant = "" },
		"long tenant":       func(e *audit.Event) { e.Tenant = long },
		"no actor":          func(e *audit.Event) { e.Actor = "" },
		"reserved actor":    func(e *audit.Event) { e.Actor = "s:x" },
		"no action":         func(e *audit.Event) { e.Action = "" },
		"free text":         func(e *audit.Event) { e.Action = "Ann called" },
		"free reason":       func(e *audit.Event) { e.Reason = "because Ann asked" },
		"outcome":           func(e *audit.Event) { e.Outcome = "good" },
		"policy":            func(e *audit.Event) { e.Policy = "abc" },
		"request":           func(e *audit.Event) { e.Request = "a\x00b" },
		"id":                func(e *audit.Event) { e.ID = "1" },
		"upper-case id":     func(e *audit.Event) { e.ID = "019AAAAA-0000-7000-8000-000000000001" },
		"for":               func(e *audit.Event) { e.For = "1" },
		"prior":             func(e *audit.Event) { e.Prior = "1" },
		"object without id": func(e *audit.Event) { e.Object = audit.Ref("deal", "") },
		"object kind":       func(e *audit.Event) { e.Object = audit.Ref("a deal", "1") },
		"about as object":   func(e *audit.Event) { e.Object = audit.About("p1") },
		"reserved object":   func(e *audit.Event) { e.Object = audit.Ref("deal", "s:AAAAAAAAAAAAAAAAAAAAAA") },
		"reserved person":   func(e *audit.Event) { e.Persons = []string{"t:"} },
		"empty person":      func(e *audit.Event) { e.Persons = []string{""} },
		"reserved who":      func(e *audit.Event) { e.Changes = []audit.Change{{Path: "x", Who: "r:1"}} },
		"no path":           func(e *audit.Event) { e.Changes = []audit.Change{{}} },
		"invalid UTF-8":     func(e *audit.Event) { e.Changes = []audit.Change{{Path: "x", New: "\xff"}} },
		"type": func(e *audit.Event) {
			e.Changes = []audit.Change{{Path: "x", New: struct{ Email string }{"a@b.example"}}}
		},
		"path twice": func(e *audit.Event) { e.Changes = []audit.Change{{Path: "x", New: 1}, {Path: "x", New: 2}} },
	} {
		e := ok
		change(&e)
		err := only(b.trail.Note(t.Context(), e))
		require.ErrorIs(t, err, audit.ErrInvalid, name)
		require.NotContains(t, err.Error(), "Ann")
		require.NotContains(t, err.Error(), "a@b.example")
	}
	many := ok
	for i := range 501 {
		many.Persons = append(many.Persons, fmt.Sprintf("p%d", i))
	}
	require.ErrorIs(t, only(b.trail.Note(t.Context(), many)), audit.ErrTooLarge)
	many.Persons = many.Persons[:500]
	require.NoError(t, only(b.trail.Note(t.Context(), many)))
	b.config.From = func(ctx) audit.Caller { return audit.Caller{Request: "a\x00"} }
	b.open()
	require.ErrorIs(t, only(b.trail.Note(t.Context(), ok)), audit.ErrInvalid)
}

// What is within the limits fits into a leaf, however long its ids are when they
// are written, and whatever its values are; what is not is refused by number.
func TestAnEventWithinTheLimitsFits(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat(`"`, 255)
	code := strings.Repeat("a", 100)
	id, err := audit.NewID()
	require.NoError(t, err)
	e := audit.Event{
		Tenant: long, Actor: long, Request: long, Action: code, Reason: code, Policy: strings.Repeat("a", 64), For: id, Prior: id,
		Outcome: audit.OutcomePartial, Object: audit.Ref(code, long),
	}
	for i := range 500 {
		e.Persons = append(e.Persons, fmt.Sprintf("p%d", i))
	}
	of := func(fields, persons int) {
		e.Changes = nil
		for i := range fields {
			odd := struct{ N int }{i}
			e.Changes = append(e.Changes, audit.Change{Path: fmt.Sprintf("%d%s", i, strings.Repeat("\\", 200)), Who: e.Persons[i%persons], Old: odd, New: odd})
		}
	}
	for _, n := range [][2]int{{99, 99}, {99, 1}, {100, 100}, {250, 250}, {300, 300}, {900, 300}, {1000, 1}} {
		of(n[0], n[1])
		require.NoError(t, b.sale(e), n)
	}
	of(301, 301)
	err = b.sale(e)
	require.ErrorIs(t, err, audit.ErrTooLarge)
	require.ErrorContains(t, err, "values about 301 persons, and 300 at most: record several events that share For")
	e.Changes[300].Who = ""
	require.ErrorIs(t, b.sale(e), audit.ErrTooLarge, "nobody counts, too")
	e.Changes = e.Changes[:300]
	require.NoError(t, b.sale(e))
	b.run()
	require.Equal(t, 8, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 8`))
	require.Equal(t, auditlog.Unanchored, b.verifyLog(nil).Verdict)
}

// Nothing that belongs to a person stands in what is published or unsealed.
func TestNoPersonalDataInTheLog(t *testing.T) {
	b := newBench(t)
	e := update("person-canary", 1)
	b.config.PersonKinds = []string{"contact"} // so that Ref names no contact, not even by mistake
	b.open()
	e.Changes = append(e.Changes, audit.Change{Path: "shoe size of Ann", Who: "person-canary", Old: nil, New: audit.Decimal("43.5")})
	b.record(e)
	b.run()
	for name, file := range b.sink.FS() {
		for _, canary := range []string{"canary", "shoe", "43.5", "Ann"} {
			require.NotContains(t, string(file.Data), canary, name)
		}
	}
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE instr(CAST(sealed AS TEXT), 'canary') > 0`))
	past := b.history(audit.About("person-canary"))
	require.Len(t, past, 1)
	require.Len(t, b.history(audit.PersonRef("contact", "person-canary")), 1)
	var paths []string
	for _, c := range past[0].Changes {
		paths = append(paths, c.Path)
		require.Equal(t, audit.OpeningOK, c.Verdict)
		if c.Path == "shoe size of Ann" {
			require.Equal(t, audit.Decimal("43.5"), c.New)
		}
	}
	require.ElementsMatch(t, []string{"email", "stage", "shoe size of Ann"}, paths)
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE length(sealed) % 256 <> 28`), "padded: nonce and tag beyond a multiple of 256")
}

func TestTenantsAreApart(t *testing.T) {
	b := newBench(t)
	for _, tenant := range []string{"main", "t2"} {
		e := update("p1", 1)
		e.Tenant = tenant
		b.record(e)
	}
	require.Equal(t, 2, b.count(`SELECT COUNT(DISTINCT surrogate) FROM crmguard_audit_surrogates WHERE person <> ''`))
	require.NoError(t, b.trail.Erase(t.Context(), "t2", "p1"))
	b.run()
	require.Len(t, b.history(audit.About("p1")), 1)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	for _, err := range b.trail.History(t.Context(), "", audit.About("p1"), audit.Page{}) {
		require.ErrorIs(t, err, audit.ErrInvalid)
	}
	require.ErrorIs(t, b.trail.Erase(t.Context(), "", "p1"), audit.ErrInvalid)
	require.ErrorIs(t, b.trail.Erase(t.Context(), "main", ""), audit.ErrInvalid)
	require.ErrorIs(t, b.trail.Prepare(t.Context(), ""), audit.ErrInvalid)
	_, _, err := b.trail.OpeningHolders(t.Context(), "", 1)
	require.ErrorIs(t, err, audit.ErrInvalid)
}

func TestHistoryPages(t *testing.T) {
	b := newBench(t)
	ids := make([]string, 0, 25)
	for i := range 25 {
		e := update("p1", i)
		e.Object = audit.Ref("deal", "d-1")
		ids = append(ids, b.record(e))
	}
	var got []string
	page := audit.Page{Size: 10}
	for {
		n := 0
		for e, err := range b.trail.History(t.Context(), "main", audit.Ref("deal", "d-1"), page) {
			require.NoError(t, err)
			require.Equal(t, int64(-1), e.Index)
			require.Equal(t, "p1", e.Persons[e.Leaf.Persons[0]])
			got = append(got, e.Leaf.ID)
			page.Before = e.Cursor
			n++
		}
		if n == 0 {
			break
		}
	}
	require.Len(t, got, 25)
	for i, id := range got {
		require.Equal(t, ids[24-i], id, "newest first, none twice")
	}
	for range b.trail.History(t.Context(), "main", audit.Ref("deal", "d-1"), page) {
		t.Fatal("beyond the end")
	}
	for _, bad := range []audit.Page{{Size: -1}, {Size: 1001}, {Before: "x"}, {Before: "w0"}, {Before: "1"}, {Before: "1.-1"}} {
		for _, err := range b.trail.History(t.Context(), "main", audit.Ref("deal", "d-1"), bad) {
			require.ErrorIs(t, err, audit.ErrInvalid)
		}
	}
}

func TestDiff(t *testing.T) {
	at := time.Unix(1, 0)
	before := map[string]any{"a": 1, "b": "x", "c": nil, "e": at, "gone": true}
	after := map[string]any{"a": int64(1), "b": "y", "c": "", "d": 2.5, "e": at.UTC()}
	changes := audit.Diff("p1", before, after)
	require.Equal(t, []audit.Change{
		{Path: "b", Who: "p1", Old: "x", New: "y"},
		{Path: "c", Who: "p1", Old: nil, New: ""},
		{Path: "d", Who: "p1", Old: audit.Absent{}, New: 2.5},
		{Path: "gone", Who: "p1", Old: true, New: audit.Absent{}},
	}, changes)
	require.Empty(t, audit.Diff("p1", after, after))
	require.Len(t, audit.Diff("", nil, after), 5)
	require.Len(t, audit.Diff("", map[string]any{"a": struct{}{}}, map[string]any{"a": struct{}{}}), 1, "what cannot be encoded is reported when it is recorded")
}

// A JSON number is the number that it is, in the diff and in the commitment: a
// float64 would make one of two.
func TestNumbersOfJSONAreExact(t *testing.T) {
	for _, pair := range [][2]string{
		{`{"account_id":9007199254740992}`, `{"account_id":9007199254740993}`},
		{`{"n":123456789012345678901}`, `{"n":123456789012345678902}`},
		{`{"n":1e-400}`, `{"n":0}`},
		{`{"n":-0}`, `{"n":0}`},
		{`{"n":0.1}`, `{"n":0.1000000000000000055}`},
	} {
		changes := audit.Diff("", map[string]any{"j": audit.JSON(pair[0])}, map[string]any{"j": audit.JSON(pair[1])})
		require.Len(t, changes, 1, pair)
	}
	require.Empty(t, audit.Diff("", map[string]any{"j": audit.JSON(`{"b":1E2,"a":1.50}`)}, map[string]any{"j": audit.JSON(`{ "a": 1.5, "b": 100 }`)}))

	b := newBench(t)
	b.config.StrictValues = true
	b.open()
	event := update("p1", 1)
	event.Changes = []audit.Change{{Path: "email", Old: audit.JSON(`9007199254740993`), New: audit.JSON(`1e400`)}}
	b.record(event)
	b.run()
	entries := b.history(event.Object)
	require.Len(t, entries, 1)
	change := entries[0].Changes[0]
	require.Equal(t, []any{audit.JSON(`9007199254740993`), audit.JSON(`1e+400`), audit.OpeningOK}, []any{change.Old, change.New, change.Verdict})
	event.Changes[0].New = audit.JSON(`-0`)
	err := b.sale(event)
	require.ErrorIs(t, err, audit.ErrInvalid)
}

func TestResealAndHolders(t *testing.T) {
	b := newBench(t)
	b.fill(1200)
	b.run()
	old := b.keys.Rotate()
	n, where, err := b.trail.OpeningHolders(t.Context(), "main", old)
	require.NoError(t, err)
	require.Equal(t, 4, n, "one a person, and one for what is about nobody")
	require.Equal(t, sqltrail.SurrogatesTable, where)
	raced := ""
	r, err := b.trail.Reseal(t.Context(), func(ctx ctx, tenant, person string, sealed, ad []byte) ([]byte, error) {
		plain, err := b.keys.Open(ctx, tenant, person, sealed, ad)
		if err != nil {
			return nil, err
		}
		if raced == "" { // a person is erased between the reading and the writing
			raced = "p0"
			if err := b.trail.Erase(ctx, "main", raced); err != nil {
				return nil, err
			}
		}
		return b.keys.Seal(ctx, tenant, person, plain, ad)
	})
	require.NoError(t, err)
	require.Equal(t, audit.ResealReport{Seen: 4, Resealed: 3, Raced: 1}, r)
	n, _, err = b.trail.OpeningHolders(t.Context(), "main", old)
	require.NoError(t, err)
	require.Zero(t, n)
	n, _, err = b.trail.OpeningHolders(t.Context(), "main", old+1)
	require.NoError(t, err)
	require.Equal(t, 3, n, "the erased head did not come back")
	b.run()
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	_, err = b.trail.Reseal(t.Context(), func(ctx, string, string, []byte, []byte) ([]byte, error) { return nil, errCue })
	require.ErrorIs(t, err, errCue)
	b.exec(`UPDATE crmguard_audit_surrogates SET person = NULL`)
	r, err = b.trail.Reseal(t.Context(), func(_ ctx, _, _ string, sealed, _ []byte) ([]byte, error) { return sealed, nil })
	require.NoError(t, err)
	require.Equal(t, 3, r.Orphans)
	require.Zero(t, r.Resealed)
}

func TestOpenRefuses(t *testing.T) {
	b := newBench(t)
	store, err := sqltrail.Open(t.Context(), b.db)
	require.NoError(t, err)
	for name, change := range map[string]func(c *audit.Config){
		"no name": func(c *audit.Config) { c.Name = "" }, "no signer": func(c *audit.Config) { c.Signer = nil }, "no sink": func(c *audit.Config) { c.Sink = nil },
		"no keys": func(c *audit.Config) { c.Keys = nil }, "no tenant": func(c *audit.Config) { c.Tenant = "" },
		"key": func(c *audit.Config) { c.Verifier = "x" }, "field": func(c *audit.Config) { c.Fields = map[string][]string{"x": {"a b"}} }, "recoveries": func(c *audit.Config) { c.Recoveries = -1 },
	} {
		c := b.config
		change(&c)
		_, err := audit.Open(t.Context(), store, c)
		require.ErrorIs(t, err, audit.ErrInvalid, name)
	}
	c := b.config
	c.Recoveries = 1
	_, err = audit.Open(t.Context(), store, c)
	require.ErrorIs(t, err, audit.ErrOrigin)
	_, key, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	c = b.config
	c.Verifier = key
	_, err = audit.Open(t.Context(), store, c)
	require.ErrorIs(t, err, audit.ErrOrigin)
	b.exec(`UPDATE crmguard_audit_state SET origin = 'another/0'`)
	_, err = audit.Open(t.Context(), store, b.config)
	require.ErrorIs(t, err, audit.ErrOrigin)
	b.exec(`DELETE FROM crmguard_schema`)
	_, err = audit.Open(t.Context(), store, b.config)
	var schema *audit.ErrSchema
	require.ErrorAs(t, err, &schema)
	require.Equal(t, 1, schema.Want)
	_, err = sqltrail.Open(t.Context(), b.db)
	require.ErrorAs(t, err, &schema)
	_, err = sqltrail.Open(t.Context(), nil)
	require.Error(t, err)
}

func TestRunStatusAndObservation(t *testing.T) {
	b := newBench(t)
	figures := make(map[string]float64)
	b.config.Observe = func(_ ctx, name string, value float64, _ ...slog.Attr) { figures[name] += value }
	b.open()
	b.fill(2)
	s, err := b.trail.Progress(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(2), s.Queued)
	require.False(t, s.Oldest.IsZero())
	require.True(t, s.Beat.IsZero())
	stop, cancel := context.WithCancel(t.Context())
	b.config.Interval = time.Millisecond
	passes := 0
	b.sink.Fail = func(op, name string) error {
		if passes++; passes == 3 {
			return errCue // passes, and is tried again
		}
		if passes > 200 {
			cancel()
		}
		return nil
	}
	b.open()
	require.ErrorIs(t, b.trail.Run(stop), context.Canceled)
	b.sink.Fail = nil
	require.Equal(t, 2.0, figures["audit.sequenced"])
	require.Positive(t, figures["audit.run.failed"])
	s, err = b.trail.Progress(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Queued)
	require.Equal(t, s.Size, s.Published)
	require.False(t, s.Beat.IsZero())
	require.Equal(t, "crm.example/audit/0", b.trail.Origin())
}

func TestProofErrors(t *testing.T) {
	b := newBench(t)
	id := b.record(update("p1", 1))
	_, err := b.trail.Proof(t.Context(), id)
	require.ErrorIs(t, err, audit.ErrNotPublished)
	_, err = b.trail.Proof(t.Context(), "nobody")
	require.ErrorIs(t, err, audit.ErrNotFound)
	_, err = b.trail.Leaf(t.Context(), "nobody")
	require.ErrorIs(t, err, audit.ErrNotFound)
	b.run()
	proof, err := b.trail.Proof(t.Context(), id)
	require.NoError(t, err)
	raw, err := b.trail.Leaf(t.Context(), id)
	require.NoError(t, err)
	for i := range proof {
		bad := append([]byte{}, proof...)
		bad[i] ^= 1
		if _, err := auditlog.Verify(b.trust(), raw, bad); err == nil {
			require.Equal(t, byte('='), proof[i+1], "byte %d: only the unused bits at the end of a base64 text may differ", i)
		} else if !errors.Is(err, auditlog.ErrTampered) && !errors.Is(err, auditlog.ErrMalformed) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	_, err = auditlog.Verify(auditlog.Trust{Key: "x"}, raw, proof)
	require.ErrorIs(t, err, auditlog.ErrInvalid)
	_, other, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	_, err = auditlog.Verify(auditlog.Trust{Key: other}, raw, proof)
	require.ErrorIs(t, err, auditlog.ErrTampered)
	b.rewriteEntry(0, "u-1", "u-2")
	_, err = b.trail.Proof(t.Context(), id)
	require.ErrorIs(t, err, auditlog.ErrTampered)
}
