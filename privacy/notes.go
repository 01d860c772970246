package privacy

import (
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// lookup is what stands sealed beside the ledger while an erasure is under way:
// by what the other stores find the person, once the database has forgotten it.
type lookup struct {
	Aliases    []string            `json:"aliases"`
	Identities map[string][]string `json:"identities"`
	Person     string              `json:"person"`
	Rows       []planLine          `json:"rows"`
	Tenant     string              `json:"tenant"`
}

func noteName(plan string) string { return "plan-" + plan }

func (d *Desk) note(ctx context.Context, p *Plan, identities map[string][]string, rows []datastore.Row) error {
	data, err := canon.Marshal(lookup{Aliases: p.Aliases, Identities: identities, Person: p.Person, Rows: linesOf(rows), Tenant: p.Tenant})
	if err != nil {
		return mute("encoding what the stores are asked by", err)
	}
	return d.cfg.Ledger.Note(ctx, noteName(p.ID), data)
}

// noted joins the note of a plan with those of other erasures of the same
// persons that are under way; none is an empty one.
func (d *Desk) noted(ctx context.Context, s *erasurelog.State, p *Plan) (all lookup, err error) {
	for note, err := range d.cfg.Ledger.Notes(ctx) {
		plan, is := strings.CutPrefix(note.Name, noteName(""))
		own := plan == p.ID
		switch {
		case note.Name == "" && err != nil:
			return all, err
		case !is, !own && (err != nil || !s.InForce(plan)):
			continue // where it cannot be read: it is another one's
		}
		var l lookup
		if err == nil {
			err = canon.Unmarshal(note.Data, &l)
		}
		if err != nil {
			return all, mute("reading what the stores are asked by", err)
		}
		theirs := append([]string{l.Person}, l.Aliases...)
		if own || l.Tenant == p.Tenant && slices.ContainsFunc(p.persons(), func(person string) bool { return slices.Contains(theirs, person) }) {
			all.Identities, all.Rows = merged(all.Identities, l.Identities), append(all.Rows, l.Rows...)
		}
	}
	return all, nil
}

func (d *Desk) forget(ctx context.Context, plans ...string) error {
	names := make([]string, len(plans))
	for i, plan := range plans {
		names[i] = noteName(plan)
	}
	return d.cfg.Ledger.Forget(ctx, names...)
}
