package privacy

import (
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// facts is what is known between the erasure of the database and the certificate:
// keys and digests, no values.
type facts struct {
	event string
	left  int64 // number of the newest Partial behind which every store has answered
	noted bool
	rows  []datastore.Row // what was found in any store, and what became of it
}

// factsBody is what the plan row stores of them. Rows that are those of the plan,
// as a rule, stand in its body.
type factsBody struct {
	Event   string     `json:"event"`
	Left    int64      `json:"left,omitempty"`
	Noted   bool       `json:"noted"`
	Planned bool       `json:"planned"` // the rows are the plan's
	Rows    []planLine `json:"rows,omitempty"`
}

func (f facts) bytes(p *Plan) ([]byte, error) {
	b := factsBody{Event: f.event, Left: f.left, Noted: f.noted, Planned: slices.EqualFunc(f.rows, p.rows, sameRow)}
	if !b.Planned {
		b.Rows = linesOf(f.rows)
	}
	data, err := canon.Marshal(b)
	return data, mute("encoding what was erased", err)
}

// sameRow reports whether a line of a plan says the same of two rows.
func sameRow(a, b datastore.Row) bool {
	return a.Store == b.Store && a.Table == b.Table && a.Key == b.Key && a.Class == b.Class && a.Others == b.Others &&
		a.Because == b.Because && a.Count == b.Count && stamp(a.Created) == stamp(b.Created) && stamp(a.Until) == stamp(b.Until)
}

func (row planRow) factsBody() (b factsBody, err error) {
	if len(row.outcome) > 0 && canon.Unmarshal(row.outcome, &b) != nil {
		err = ErrPlanForged
	}
	return b, err
}

// facts are those of the plan that stands in the row.
func (row planRow) facts(p *Plan) (f facts, err error) {
	b, err := row.factsBody()
	if err != nil {
		return f, err
	}
	f = facts{event: b.Event, left: b.Left, noted: b.Noted}
	if b.Planned {
		f.rows = p.rows
		return f, nil
	}
	f.rows, err = rowsOfLines(b.Rows)
	return f, err
}

// merged adds rows to the facts, as a plan writes them: what has come since, and
// what happened to a row in the end.
func (f facts) merged(rows []datastore.Row) (facts, error) {
	rows, err := rowsOfLines(linesOf(rows))
	type place struct{ store, table, key string }
	at := map[place]int{}
	f.rows = slices.Clone(f.rows)
	for i, r := range f.rows {
		at[place{r.Store, r.Table, r.Key}] = i
	}
	for _, r := range rows {
		here := place{r.Store, r.Table, r.Key}
		if i, known := at[here]; known {
			f.rows[i] = r
			continue
		}
		at[here] = len(f.rows)
		f.rows = append(f.rows, r)
	}
	return f, err
}
