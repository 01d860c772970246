package audit_test

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

type (
	nameOfStage string
	broken      struct{ text string }
	noValue     struct{ Email string }
)

func (b broken) Value() (driver.Value, error) { return nil, errors.New("cannot store " + b.text) }

// No sale fails by a value. What has no encoding is committed to by what can be
// kept of it, and the log says so.
func TestNoSaleFailsByAValue(t *testing.T) {
	b := newBench(t)
	why := make(map[string]int)
	b.config.Observe = func(_ ctx, name string, _ float64, attrs ...slog.Attr) {
		if name == "audit.standin" {
			why[attrs[0].Value.String()]++
		}
	}
	b.open()
	for _, c := range []struct {
		value any
		want  auditlog.StandIn
	}{
		{"Ann\xff", auditlog.StandIn{Why: auditlog.StandInText, Kept: []byte("Ann\xff")}},
		{nameOfStage("\xfe"), auditlog.StandIn{Why: auditlog.StandInText, Kept: []byte("\xfe")}},
		{new("\xfe"), auditlog.StandIn{Why: auditlog.StandInText, Kept: []byte("\xfe")}},
		{uint64(math.MaxUint64), auditlog.StandIn{Why: auditlog.StandInInteger, Kept: []byte("18446744073709551615")}},
		{math.NaN(), auditlog.StandIn{Why: auditlog.StandInFloat, Kept: []byte("NaN")}},
		{float32(math.Inf(-1)), auditlog.StandIn{Why: auditlog.StandInFloat, Kept: []byte("-Inf")}},
		{time.Unix(1<<60, 5), auditlog.StandIn{Why: auditlog.StandInTime, Kept: []byte("1152921504606846976")}},
		{audit.JSON("{"), auditlog.StandIn{Why: auditlog.StandInForm, Kept: []byte("{")}},
		{audit.Decimal("1,5"), auditlog.StandIn{Why: auditlog.StandInForm, Kept: []byte("1,5")}},
		{audit.Date("2026-02-30"), auditlog.StandIn{Why: auditlog.StandInForm, Kept: []byte("2026-02-30")}},
		{json.RawMessage("-0"), auditlog.StandIn{Why: auditlog.StandInForm, Kept: []byte("-0")}},
		{json.Number("x"), auditlog.StandIn{Why: auditlog.StandInForm, Kept: []byte("x")}},
		{noValue{"ann@canary.example"}, auditlog.StandIn{Why: auditlog.StandInNothing, Kept: []byte("audit_test.noValue")}},
		{make(chan int), auditlog.StandIn{Why: auditlog.StandInNothing, Kept: []byte("chan int")}},
		{[]any{math.NaN()}, auditlog.StandIn{Why: auditlog.StandInNothing, Kept: []byte("[]interface {}")}},
		{map[int]string{1: "x"}, auditlog.StandIn{Why: auditlog.StandInNothing, Kept: []byte("map[int]string")}},
		{broken{"ann@canary.example"}, auditlog.StandIn{Why: auditlog.StandInFailed, Kept: []byte("audit_test.broken")}},
	} {
		for odd, sides := range map[string][2]any{"new": {"x", c.value}, "old": {c.value, "x"}, "both": {c.value, c.value}} {
			e := update("p1", 1)
			e.Changes = []audit.Change{{Path: "email", Who: "p1", Old: sides[0], New: sides[1]}}
			e.ID = b.record(e)
			b.record(e) // a retry is the same again
			past := b.history(audit.About("p1"))[0]
			require.Equal(t, odd, past.Leaf.Changes[0].Odd, "%T", c.value)
			require.Equal(t, audit.OpeningOK, past.Changes[0].Verdict)
			for side, got := range []any{past.Changes[0].Old, past.Changes[0].New} {
				if sides[side] == "x" {
					require.Equal(t, "x", got)
				} else {
					require.Equal(t, c.want, got)
				}
			}
		}
	}
	require.Equal(t, 7, len(why), "%v", why)
	plain := update("p1", 1)
	b.record(plain)
	require.Empty(t, b.history(audit.About("p1"))[0].Leaf.Changes[0].Odd)
	b.run()
	for _, file := range b.sink.FS() {
		require.NotContains(t, string(file.Data), "canary")
	}
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// An event of as many fields as a row can have is recorded, verified, opened and
// erased as any other.
func TestAnEventOfVeryManyFields(t *testing.T) {
	b := newBench(t)
	e := update("p1", 1)
	e.Changes = nil
	const n = 1600
	for i := range n {
		who := []string{"p1", "", "p2"}[i%3]
		e.Changes = append(e.Changes, audit.Change{Path: fmt.Sprintf("custom field %d of Ann", i), Who: who, Old: i, New: fmt.Sprint("new", i)})
	}
	e.Changes = append(e.Changes, audit.Change{Path: "email", Who: "p1", Old: nil, New: "x\xff"})
	e.ID = b.record(e)
	b.record(e)
	b.run()
	leaf := b.leaves()[0]
	require.Len(t, leaf.Changes, 3, "one an owner")
	odd := 0
	for _, c := range leaf.Changes {
		require.Equal(t, "*", c.Path)
		if c.Odd == "new" {
			odd++
		}
	}
	require.Equal(t, 1, odd)
	past := b.history(audit.About("p1"))[0]
	require.Len(t, past.Changes, n+1)
	found := make(map[string]any)
	for _, c := range past.Changes {
		require.Equal(t, audit.OpeningOK, c.Verdict)
		found[c.Path+"/"+c.Who] = c.New
	}
	require.Equal(t, "new30", found["custom field 30 of Ann/p1"])
	require.Equal(t, "new31", found["custom field 31 of Ann/"])
	require.Equal(t, "new32", found["custom field 32 of Ann/p2"])
	require.Equal(t, auditlog.StandIn{Why: auditlog.StandInText, Kept: []byte("x\xff")}, found["email/p1"])
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.EqualValues(t, 3, report.Openings[audit.OpeningOK])

	require.NoError(t, b.trail.Erase(t.Context(), "main", "p2"))
	b.run()
	report = b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.EqualValues(t, 1, report.Openings[audit.OpeningErased])
	erased := 0
	for _, c := range b.history(audit.About("p1"))[0].Changes {
		if c.Verdict == audit.OpeningErased {
			erased++
			require.Equal(t, "*", c.Path)
			require.Nil(t, c.New)
		}
	}
	require.Equal(t, 1, erased)
}
