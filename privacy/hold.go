package privacy

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// LegalHold keeps a person from being erased, whatever is planned.
type LegalHold struct {
	ID      string // drawn by [Desk.Hold]
	Tenant  string
	Person  string
	Because string    // a code such as "litigation:2026-7", never free text
	By      string    // the principal who sets it, from the session; empty in what [Desk.Holds] lists
	Until   time.Time // when it is over by itself; zero: when it is lifted
	Since   time.Time // when it was set
}

// Hold sets a legal hold on the person and everyone merged into it, and returns
// its id. From then on Execute answers [Held], and replays leave the person
// alone. It stands in the ledger, so that it outlives a restore. What was
// erased before is not brought back.
func (d *Desk) Hold(ctx context.Context, h LegalHold) (id string, err error) {
	if err := errors.Join(validID("tenant", h.Tenant), validPerson(h.Person), validPrincipal(h.By)); err != nil {
		return "", err
	}
	if !reasonCode.MatchString(h.Because) {
		return "", ErrReason
	}
	if err := d.allow(ctx, "privacy.hold", "person/"+h.Person); err != nil {
		return "", err
	}
	persons, err := d.persons(ctx, h.Tenant, h.Person)
	if err != nil {
		return "", err
	}
	drawn, err := uuid.NewV7()
	if err != nil {
		return "", mute("drawing an id", err)
	}
	h.ID = drawn.String()
	return h.ID, d.entered(ctx, h.Tenant, "privacy.hold", holdAttrs(h.ID, h.Because), func(s *erasurelog.State) (*erasurelog.Entry, error) {
		if s.Status(h.ID) == erasurelog.Holding {
			return nil, nil // the commit after it failed
		}
		e := &erasurelog.Entry{Op: erasurelog.Hold, Plan: h.ID, Because: h.Because, Until: h.Until}
		w := digesting{ctx: ctx, d: d, tenant: h.Tenant, entry: e}
		w.about(h.Person, persons[1:])
		e.By = w.digest(erasurelog.KindPrincipal, []byte(h.By))
		return e, w.err
	})
}

// Lift ends a hold. Whoever lifts it may be whoever has set it. Whom the hold kept
// from a replay the next pass of [Desk.Run] erases, whatever Config.ReplayEvery
// says; where it does not run, call [Desk.Replay].
func (d *Desk) Lift(ctx context.Context, tenant, hold, by string) error {
	if err := errors.Join(validID("tenant", tenant), validPrincipal(by)); err != nil {
		return err
	}
	if err := d.allow(ctx, "privacy.lift", "hold/"+hold); err != nil {
		return err
	}
	return d.entered(ctx, tenant, "privacy.lift", holdAttrs(hold, ""), func(s *erasurelog.State) (*erasurelog.Entry, error) {
		if s.Status(hold) == erasurelog.Lifted {
			return nil, nil
		}
		e, ok := follow(s, erasurelog.Lift, hold)
		if !ok || s.Status(hold) != erasurelog.Holding {
			return nil, erasurelog.ErrAbsent
		}
		w := digesting{ctx: ctx, d: d, tenant: tenant, entry: e}
		e.By = w.digest(erasurelog.KindPrincipal, []byte(by))
		return e, w.err
	})
}

// Holds lists the holds on a person that are not lifted, oldest first.
func (d *Desk) Holds(ctx context.Context, tenant, person string) ([]LegalHold, error) {
	if err := errors.Join(validID("tenant", tenant), validPerson(person)); err != nil {
		return nil, err
	}
	persons, err := d.persons(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	s, err := d.cfg.Ledger.Read(ctx)
	if err != nil {
		return nil, err
	}
	told, err := d.told(ctx, s, tenant, persons)
	if err != nil {
		return nil, err
	}
	var list []LegalHold
	for _, e := range told.Holds {
		list = append(list, LegalHold{ID: e.Plan, Tenant: tenant, Person: person, Because: e.Because, Until: e.Until, Since: e.At})
	}
	return list, nil
}

// told is what the ledger says of the persons, under every root.
func (d *Desk) told(ctx context.Context, s *erasurelog.State, tenant string, persons []string) (erasurelog.Person, error) {
	var keys []string
	for _, person := range persons {
		more, err := d.cfg.Ledger.Keys(ctx, erasurelog.KindPerson, tenant, []byte(person))
		if err != nil {
			return erasurelog.Person{}, err
		}
		keys = append(keys, more...)
	}
	return s.Person(keys...), nil
}

// held says which hold keeps the persons from being erased now.
func (d *Desk) held(ctx context.Context, s *erasurelog.State, tenant string, persons []string) (hold erasurelog.Entry, held bool, err error) {
	told, err := d.told(ctx, s, tenant, persons)
	if err != nil {
		return hold, false, err
	}
	hold, held = told.Held(d.now())
	return hold, held, nil
}

// entered writes an entry that needs nothing done in the database, and says so
// in the trail.
func (d *Desk) entered(ctx context.Context, tenant, action string, attrs []slog.Attr, decide func(*erasurelog.State) (*erasurelog.Entry, error)) error {
	ledger, err := d.cfg.Ledger.Anchored(ctx)
	if err != nil {
		return err
	}
	return d.recorded(ctx, []string{tenant}, func(tx *sql.Tx) error {
		locked, err := d.lockMark(ctx, tx)
		if err != nil {
			return err
		}
		m, _, err := d.believed(ctx, locked)
		if err != nil {
			return err
		}
		s, err := ledger.Append(ctx, m.kept(), decide)
		if err != nil {
			return err
		}
		if err := d.settle(ctx, tx, s, locked); err != nil {
			return err
		}
		return d.recordHead(ctx, tx, s.Head(), tenant, action, attrs...)
	})
}

func holdAttrs(id, because string) []slog.Attr {
	attrs := []slog.Attr{slog.String("object", "hold/"+id)}
	if because != "" {
		attrs = append(attrs, slog.String("reason", because))
	}
	return attrs
}
