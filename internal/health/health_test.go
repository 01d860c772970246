package health_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/health"
)

func TestLevelsAreOrderedAndReadBack(t *testing.T) {
	require.Equal(t, health.Alarm, max(health.Notice, health.Alarm, health.OK))
	for _, level := range []health.Level{health.OK, health.Notice, health.Alarm} {
		text, err := level.MarshalText()
		require.NoError(t, err)
		var back health.Level
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, level, back)
	}
	_, err := health.Level(3).MarshalText()
	require.Error(t, err)
	require.Error(t, new(health.Level).UnmarshalText([]byte("fine")))
}

func TestAFindingIsOneLineAndOneObject(t *testing.T) {
	f := health.Finding{Name: "p.x", Subject: "main", Level: health.Alarm, Value: 1.5, Unit: "s", Since: time.Unix(0, 0), Remedy: "do it"}
	require.Equal(t, `alarm p.x "main" 1.5 s since 1970-01-01T00:00:00Z: do it`, f.String())
	data, err := json.Marshal(f)
	require.NoError(t, err)
	var back health.Finding
	require.NoError(t, json.Unmarshal(data, &back))
	require.True(t, f.Since.Equal(back.Since))
	back.Since = f.Since
	require.Equal(t, f, back)
	data, err = json.Marshal(health.Finding{Name: "p.x", Unit: "s"})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"p.x","level":"ok","value":0,"unit":"s"}`, string(data))
}

// Times come out of tables, too, and whoever may write there must not be able to
// take away the page.
func TestATimeThatJSONCannotHoldKeepsNoFindingBack(t *testing.T) {
	for _, odd := range []time.Time{time.UnixMicro(1 << 62), time.UnixMicro(-1 << 62), time.Unix(0, 0).In(time.FixedZone("", 25*60*60)), time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -2*60*60))} {
		data, err := json.Marshal([]health.Finding{{Name: "p.x", Level: health.Alarm, Unit: "s", Since: odd, Remedy: "do it"}})
		require.NoError(t, err)
		var back []health.Finding
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, "do it", back[0].Remedy)
		require.True(t, back[0].Since.IsZero() || back[0].Since.Equal(odd))
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	list := []health.Finding{{Name: "b"}, {Name: "a", Level: health.Notice}, {Name: "a", Subject: "y", Level: health.Alarm}, {Name: "a", Subject: "x", Level: health.Alarm}}
	slices.SortFunc(list, health.Finding.Compare)
	require.Equal(t, []string{"x", "y", "", ""}, []string{list[0].Subject, list[1].Subject, list[2].Subject, list[3].Subject})
	require.Equal(t, "b", list[3].Name)
}

// A thousand tenants in trouble are a sum and a few names.
func TestSubjectsAreBounded(t *testing.T) {
	sum := health.Finding{Name: "p.x", Value: 1000, Unit: "tenants"}
	require.Equal(t, []health.Finding{sum}, health.Tally(sum, nil), "what is well is said, too")
	require.Equal(t, []health.Finding{sum}, health.Tally(sum, []health.Finding{{Name: "p.x", Subject: "t"}}))
	var many []health.Finding
	for i := range 1000 {
		level := health.Notice
		if i == 999 {
			level = health.Alarm
		}
		many = append(many, health.Finding{Name: "p.x", Subject: fmt.Sprintf("t%04d", i), Level: level, Since: time.Unix(int64(5000-i), 0), Remedy: fmt.Sprint("mend ", level)})
	}
	got := health.Tally(sum, many)
	require.Len(t, got, 1+health.MaxSubjects)
	require.Equal(t, health.Alarm, got[0].Level)
	require.Equal(t, "mend alarm", got[0].Remedy)
	require.Equal(t, time.Unix(4001, 0), got[0].Since, "the oldest of all")
	require.Equal(t, "t0999", got[1].Subject)
	require.Equal(t, "t0000", got[2].Subject)
}

func TestAListNamesWhatIsWellBehindTheRest(t *testing.T) {
	got := health.List(health.Finding{Name: "p.x"}, []health.Finding{{Name: "p.x", Subject: "a"}, {Name: "p.x", Subject: "b", Level: health.Alarm, Remedy: "mend"}})
	require.Equal(t, []string{"", "b", "a"}, []string{got[0].Subject, got[1].Subject, got[2].Subject})
	require.Equal(t, health.Alarm, got[0].Level)
	got = health.List(health.Finding{Name: "p.x"}, []health.Finding{{Name: "p.x", Subject: "a", Since: time.Unix(1, 0)}})
	require.Equal(t, health.Finding{Name: "p.x"}, got[0])
}
