package privacy

import (
	"cmp"
	"context"
	"errors"
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

// ErrNoteGone says that nobody knows any more by what the other stores find a person
// whose erasure has begun: the note beside the ledger is gone, by a restore of it or by
// somebody's hand. Remedy: put the ledger's notes back, or void the erasure and plan it
// anew where a store still knows the person.
var ErrNoteGone = errors.New("privacy: by what the other stores find the person is gone from beside the ledger: put its notes back, or void the erasure and see to those stores by hand")

// noted joins the note of a plan with those of other erasures of the same
// persons that are under way; none is an empty one. found says that the plan's own
// is among them.
func (d *Desk) noted(ctx context.Context, s *erasurelog.State, p *Plan) (all lookup, found bool, err error) {
	for note, err := range d.cfg.Ledger.Notes(ctx) {
		plan, is := strings.CutPrefix(note.Name, noteName(""))
		own := plan == p.ID
		found = found || is && own
		switch {
		case note.Name == "" && err != nil:
			return all, found, err
		case !is, !own && (err != nil || !s.InForce(plan)):
			continue // where it cannot be read: it is another one's
		}
		var l lookup
		if err == nil {
			err = canon.Unmarshal(note.Data, &l)
		}
		if err != nil {
			return all, found, mute("reading what the stores are asked by", err)
		}
		theirs := append([]string{l.Person}, l.Aliases...)
		if own || l.Tenant == p.Tenant && slices.ContainsFunc(p.persons(), func(person string) bool { return slices.Contains(theirs, person) }) {
			all.Identities, all.Rows = merged(all.Identities, l.Identities), append(all.Rows, l.Rows...)
		}
	}
	return all, found, nil
}

// known is what is noted of the persons, without what is somebody else's by now. Where
// that is not to be passed over, it is left: the database has failed to say whose it is.
func (x *execution) known(ctx context.Context) (lookup, error) {
	noted, own, err := x.d.noted(ctx, x.ledger, x.plan)
	switch {
	case err != nil:
		return noted, err
	case x.facts.noted && !own:
		now, err := x.d.loadPlan(ctx, x.d.db, x.row.id)
		if err == nil && !now.same(x.row) {
			err = errMoved // whoever has ended it has forgotten the note
		}
		return noted, cmp.Or(err, ErrNoteGone)
	}
	var shared error
	noted.Identities, shared, err = x.d.unshared(ctx, datastore.Scope{Tenant: x.plan.Tenant, Now: x.d.now()}, x.plan.persons(), noted.Identities)
	if shared != nil {
		x.failed[x.d.database.Name()] = shared
	}
	return noted, err
}

func (d *Desk) forget(ctx context.Context, plans ...string) error {
	names := make([]string, len(plans))
	for i, plan := range plans {
		names[i] = noteName(plan)
	}
	return d.cfg.Ledger.Forget(ctx, names...)
}
