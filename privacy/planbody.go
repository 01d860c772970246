package privacy

import (
	"errors"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// planBody is what the plan table stores of a plan.
type planBody struct {
	Aliases   []string   `json:"aliases,omitempty"`
	By        string     `json:"by"`
	Created   string     `json:"created"`
	ID        string     `json:"id"`
	Ledger    int64      `json:"ledger"` // entries that it had: by no clock which erasures the plan is older than
	NotBefore string     `json:"not_before"`
	Person    string     `json:"person"`
	Reason    string     `json:"reason"`
	Rows      []planLine `json:"rows,omitempty"`
	Tenant    string     `json:"tenant"`
	V         int        `json:"v"`
}

// planLine are rows of one table, one behind the other, to which the same happens:
// a person has hundreds of one kind, and every change of a plan writes them.
type planLine struct {
	Because string   `json:"because,omitempty"`
	Class   string   `json:"class"`
	Count   int      `json:"count,omitzero"`
	Created []string `json:"created"` // of each; empty where nobody knows
	Joint   bool     `json:"joint"`
	Keys    []string `json:"keys"`
	Store   string   `json:"store"`
	Table   string   `json:"table"`
	Until   string   `json:"until,omitempty"`
}

// goesOn reports whether another line's rows belong into this one.
func (l planLine) goesOn(o planLine) bool {
	return l.Because == o.Because && l.Class == o.Class && l.Count == o.Count && l.Joint == o.Joint && l.Store == o.Store && l.Table == o.Table && l.Until == o.Until
}

type approval struct {
	At string `json:"at"`
	By string `json:"by"`
}

func (p *Plan) body() planBody {
	return planBody{
		Aliases: p.Aliases, By: p.By, Created: stamp(p.Created), ID: p.ID, Ledger: p.ledger, NotBefore: stamp(p.NotBefore),
		Person: p.Person, Reason: p.Reason, Rows: linesOf(p.rows), Tenant: p.Tenant, V: 1,
	}
}

func linesOf(rows []datastore.Row) []planLine {
	var list []planLine
	for _, r := range rows {
		one := planLine{
			Because: r.Because, Class: string(r.Class), Joint: r.Others, Store: r.Store, Table: r.Table, Until: stamp(r.Until), Count: r.Count,
		}
		if len(list) == 0 || !list[len(list)-1].goesOn(one) {
			list = append(list, one)
		}
		l := &list[len(list)-1]
		l.Keys, l.Created = append(l.Keys, r.Key), append(l.Created, stamp(r.Created))
	}
	return list
}

func rowsOfLines(lines []planLine) ([]datastore.Row, error) {
	var rows []datastore.Row
	for _, l := range lines {
		until, err := unstamp(l.Until)
		if err != nil || len(l.Created) != len(l.Keys) {
			return nil, ErrPlanForged
		}
		for i, key := range l.Keys {
			created, err := unstamp(l.Created[i])
			if err != nil {
				return nil, ErrPlanForged
			}
			rows = append(rows, datastore.Row{
				Store: l.Store, Table: l.Table, Key: key, Created: created,
				Class: datastore.Class(l.Class), Until: until, Because: l.Because, Others: l.Joint, Count: l.Count,
			})
		}
	}
	return rows, nil
}

func parsePlan(body []byte) (*Plan, error) {
	var b planBody
	if err := canon.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	created, err1 := unstamp(b.Created)
	notBefore, err2 := unstamp(b.NotBefore)
	rows, err3 := rowsOfLines(b.Rows)
	if err := errors.Join(err1, err2, err3); err != nil || b.V != 1 {
		return nil, ErrPlanForged
	}
	return &Plan{
		ID: b.ID, Tenant: b.Tenant, Person: b.Person, Aliases: b.Aliases, Reason: b.Reason, By: b.By,
		Created: created, NotBefore: notBefore, rows: rows, Counts: Sum(rows), ledger: b.Ledger,
	}, nil
}

// within reports whether all persons of the plan are among another one's.
func (p *Plan) within(other *Plan) bool {
	all := other.persons()
	return p.Tenant == other.Tenant && !slices.ContainsFunc(p.persons(), func(person string) bool { return !slices.Contains(all, person) })
}

// grown reports whether the rows go beyond what the plan says, and so beyond
// what was approved: other tables, or another fate of a row. More rows of a
// table to which the same happens are the person's, too, and were meant. Stores
// that only count (keys, openings) change with every use of the system and do
// not enter.
func (p *Plan) grown(rows []datastore.Row) bool {
	type fate struct {
		store, table string
		class        datastore.Class
	}
	type place struct{ store, table, key string }
	fates, classes := map[fate]bool{}, map[place]datastore.Class{}
	for _, r := range p.rows {
		fates[fate{r.Store, r.Table, r.Class}] = true
		classes[place{r.Store, r.Table, r.Key}] = r.Class
	}
	return slices.ContainsFunc(rows, func(r datastore.Row) bool {
		if r.Key == "" {
			return false
		}
		planned, known := classes[place{r.Store, r.Table, r.Key}]
		return known && planned != r.Class || !fates[fate{r.Store, r.Table, r.Class}]
	})
}

// stamp writes a time as the formats want it; zero is left out.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return canon.FormatTime(t)
}

func unstamp(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return canon.ParseTime(s)
}
