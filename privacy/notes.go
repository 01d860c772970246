package privacy

import (
	"context"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datastore"
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

// noted reads the note of a plan; none is an empty one.
func (d *Desk) noted(ctx context.Context, plan string) (l lookup, err error) {
	for note, err := range d.cfg.Ledger.Notes(ctx) {
		if note.Name != noteName(plan) {
			continue // also where it cannot be read: it is another one's
		}
		if err == nil {
			err = canon.Unmarshal(note.Data, &l)
		}
		return l, mute("reading what the stores are asked by", err)
	}
	return l, nil
}

func (d *Desk) forget(ctx context.Context, plan string) error {
	return d.cfg.Ledger.Forget(ctx, noteName(plan))
}
