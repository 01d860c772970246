package roles

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// genuine is whether a row, or a role, is well; keys that do not answer are asked
// once.
func (r *review) genuine(ctx context.Context, tenant string, check func() error) (bool, error) {
	if r.keys != nil {
		return true, nil
	}
	err := check()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrForged):
		r.forged.add(tenant)
		return false, nil
	case ctx.Err() != nil:
		return false, err
	}
	r.keys = err
	return true, nil
}

func (r *review) tenant(ctx context.Context, tenant string) error {
	stand, err := r.standing(ctx, r.db, tenant)
	if err != nil {
		return err
	}
	all := parentsOf(stand)
	for role, d := range stand {
		if r.set.closure[role] != nil {
			r.shadowed.add(role)
		}
		if _, err := r.genuine(ctx, tenant, func() error {
			return r.verify(ctx, tenant, framedRole(tenant, role, d.by, d.parents), d.tag)
		}); err != nil {
			return err
		}
		for _, parent := range d.parents {
			if _, known := r.set.lineage(parent, all); !known {
				r.undefined.add(parent)
			}
		}
	}
	for after := ""; ; {
		var p page
		err := r.db.Snapshot(ctx, func(tx *sql.Tx) (err error) { // what a change touches is seen whole
			p, err = r.next(ctx, tx, tenant, after)
			return err
		})
		if err != nil || len(p.rows) == 0 {
			return err
		}
		after = p.rows[len(p.rows)-1].Principal
		for own := range people(p.rows) {
			if err := r.person(ctx, tenant, own, &p); err != nil {
				return err
			}
		}
	}
}

// page is some principals, and what their assignments rest on.
type page struct {
	rows   []row
	now    int64
	all    definitions
	givers map[string]row // by id
}

func (r *review) next(ctx context.Context, tx *sql.Tx, tenant, after string) (p page, err error) {
	if p.rows, p.now, err = r.page(ctx, tx, tenant, after); err != nil {
		return p, err
	}
	stand, err := r.standing(ctx, tx, tenant)
	if err != nil {
		return p, err
	}
	p.all = parentsOf(stand)
	p.givers, err = r.givers(ctx, tx, tenant, p.rows)
	return p, err
}

func parentsOf(stand map[string]defined) definitions {
	out := definitions{}
	for role, d := range stand {
		out[role] = d.parents
	}
	return out
}

// person looks at all that one principal was given.
func (r *review) person(ctx context.Context, tenant string, rows []row, p *page) error {
	var together []string
	for i := range rows {
		a := &rows[i]
		well, err := r.genuine(ctx, tenant, func() error { return r.Store.genuine(ctx, a) })
		if err != nil {
			return err
		}
		if a.until <= p.now {
			if a.until < p.now-expiredFor.Microseconds() {
				r.old.add(tenant)
			}
			continue
		}
		includes, known := r.set.lineage(a.Role, p.all)
		switch {
		case !well: // counted, and it stops every answer about this principal
		case !known:
			r.undefined.add(a.Role)
		default:
			if a.valid(p.now) {
				r.held++
			}
			if !r.based(a, p) {
				r.baseless.add(tenant)
			}
		}
		together = append(together, includes...)
	}
	if _, _, both := r.set.conflict(together); both {
		r.conflicts.add(tenant)
	}
	return nil
}

// givers are the assignments that those of a page rest on, by id.
func (r *review) givers(ctx context.Context, tx *sql.Tx, tenant string, rows []row) (map[string]row, error) {
	out, args := map[string]row{}, []any{}
	for i := range rows {
		if _, known := out[rows[i].source]; !known && rows[i].source != "" {
			out[rows[i].source] = row{}
			args = append(args, rows[i].source)
		}
	}
	for len(args) > 0 {
		n := min(len(args), pageRows)
		found, _, err := r.unverified(ctx, tx, tenant, `id IN (`+sqldb.Marks(n)+`)`, args[:n]...)
		if err != nil {
			return nil, err
		}
		for _, giver := range found {
			out[giver.id] = giver
		}
		args = args[n:]
	}
	return out, nil
}

// based says whether who gave an assignment still holds what it rests on. What
// stands below a unit is not asked for.
func (r *review) based(a *row, p *page) bool {
	if a.source == "" {
		return a.By == Operator
	}
	giver := p.givers[a.source]
	includes, _ := r.set.lineage(giver.Role, p.all)
	return giver.Principal == a.By && giver.MayGive && giver.until >= a.until && slices.Contains(includes, a.Role)
}
