package privacy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// unlike are a row, and rows that differ from it in one thing each.
func unlike() (row datastore.Row, others map[string]datastore.Row) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	row = datastore.Row{Store: "database", Table: "notes", Key: "1", Class: datastore.Kept, Created: at, Until: at.AddDate(1, 0, 0), Because: "tax", Count: 1}
	others = map[string]datastore.Row{}
	for name, change := range map[string]func(r *datastore.Row){
		"store":   func(r *datastore.Row) { r.Store = "mails" },
		"table":   func(r *datastore.Row) { r.Table = "deals" },
		"key":     func(r *datastore.Row) { r.Key = "2" },
		"class":   func(r *datastore.Row) { r.Class = datastore.Redacted },
		"created": func(r *datastore.Row) { r.Created = at.Add(time.Microsecond) },
		"undated": func(r *datastore.Row) { r.Created = time.Time{} },
		"until":   func(r *datastore.Row) { r.Until = r.Until.Add(time.Microsecond) },
		"forever": func(r *datastore.Row) { r.Until = time.Time{} },
		"because": func(r *datastore.Row) { r.Because = "law" },
		"others":  func(r *datastore.Row) { r.Others = true },
		"count":   func(r *datastore.Row) { r.Count = 2 },
	} {
		other := row
		change(&other)
		others[name] = other
	}
	return row, others
}

// What is stored of rows is every thing of each of them, in their order, whatever
// stands beside them.
func TestLinesAreTheRows(t *testing.T) {
	row, others := unlike()
	for name, other := range others {
		rows := []datastore.Row{row, other, row, row}
		got, err := rowsOfLines(linesOf(rows))
		require.NoError(t, err)
		require.Equal(t, rows, got, name)
	}
	for _, line := range []planLine{
		{Keys: []string{"1"}},
		{Created: []string{""}},
		{Keys: []string{"1"}, Created: []string{"yesterday"}},
		{Keys: []string{"1"}, Created: []string{""}, Until: "tomorrow"},
	} {
		_, err := rowsOfLines([]planLine{line})
		require.ErrorIs(t, err, ErrPlanForged)
	}
}

// Rows that are the plan's are stored once. One that differs in anything is stored
// as it is.
func TestFactsAreTheRowsThatWereFound(t *testing.T) {
	row, others := unlike()
	p := &Plan{rows: []datastore.Row{row, row}}
	stored := func(rows ...datastore.Row) string {
		data, err := facts{event: "e", left: 3, noted: true, rows: rows}.bytes(p)
		require.NoError(t, err)
		got, err := planRow{outcome: data}.facts(p)
		require.NoError(t, err)
		require.Equal(t, facts{event: "e", left: 3, noted: true, rows: rows}, got)
		return string(data)
	}
	require.Equal(t, `{"event":"e","left":3,"noted":true,"planned":true}`, stored(row, row))
	for name, other := range others {
		require.Contains(t, stored(row, other), `"planned":false`, name)
	}
	require.Contains(t, stored(row), `"planned":false`)
	require.Contains(t, stored(row, row, row), `"planned":false`)
	require.Contains(t, stored(), `"planned":false`)
}
