package privacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/certificate"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// kindSalt is the kind of the digest that is a certificate's salt.
const kindSalt = "certificate-salt"

// certify makes the certificate, once, and takes the person out of every plan
// in the database. Until the row is stored nothing has been told anybody.
func (x *execution) certify(ctx context.Context, o Outcome) (Outcome, error) {
	root, salt, err := x.d.salt(ctx, x.plan.ID)
	if err != nil {
		return Outcome{}, err
	}
	person, err := certificate.Commit(salt, x.plan.Tenant, x.plan.Person)
	if err != nil {
		return Outcome{}, mute("naming the person on the certificate", err)
	}
	cert, err := certificate.Sign(ctx, x.d.sign(), certificate.Statement{
		Intent: x.row.intent, Person: person, Records: records(o.Counts), NotCovered: o.NotCovered,
		UnreadableLiveAt: o.Until, FinalAt: o.Until.Add(x.d.cfg.window()), AuditEvent: x.facts.event,
	})
	if err != nil {
		return Outcome{}, mute("signing the certificate", err)
	}
	stay := remains{
		ApprovedBy: x.plan.ApprovedBy, By: x.plan.By, Counts: o.Counts, Digest: canon.FormatBytes(cert.Digest), Event: x.facts.event, Noted: x.facts.noted,
		NotCovered: o.NotCovered, Reason: x.plan.Reason, SaltRoot: root,
	}
	others, err := x.d.plansOf(ctx, x.plan)
	if err != nil {
		return Outcome{}, err
	}
	err = x.change(ctx, false, func(tx *sql.Tx, row *planRow, _ beside) error {
		stay.Others = nil
		for _, id := range others {
			ended, err := x.endTwin(ctx, tx, id)
			if err != nil {
				return err
			}
			if ended {
				stay.Others = append(stay.Others, id)
			}
		}
		var err error
		if row.outcome, err = json.Marshal(stay); err != nil {
			return mute("encoding the outcome", err)
		}
		row.state, row.body, row.approval, row.erased = stateCertified, nil, nil, x.row.erased
		row.certificate = cert.Envelope
		return x.d.storePlan(ctx, tx, row)
	})
	if err != nil {
		return Outcome{}, err
	}
	return x.close(ctx)
}

// endTwin ends another plan of the persons, which has nothing left to do. Where
// it had begun it is carried out with this one; where it has begun since this one
// has looked, this one looks again (errMoved). One that another process has ended
// meanwhile, that is for others too, or that was made since, stays as it is. A row
// that somebody has written is nobody's to execute, and names the person; nothing
// that it says is believed.
func (x *execution) endTwin(ctx context.Context, tx datastore.Tx, id string) (ended bool, err error) {
	row, err := x.d.lockPlan(ctx, tx, id)
	forged := errors.Is(err, ErrPlanForged)
	switch {
	case err != nil && !forged:
		return false, err
	case len(row.body) == 0:
		return false, nil
	}
	s, err := x.d.cfg.Ledger.Latest(ctx) // nobody begins it while the row is locked
	if err != nil {
		return false, err
	}
	begun := s.Status(id) != erasurelog.Unknown
	if forged {
		row = planRow{id: id, tenant: row.tenant, person: row.person, state: stateCancelled}
		return !begun, x.d.storePlan(ctx, tx, &row)
	}
	twin, err := x.d.open(row)
	switch {
	case err != nil, !twin.within(x.plan), !begun && twin.Created.After(x.looked):
		return false, err
	case begun && x.ledger.Status(id) == erasurelog.Unknown:
		return false, errMoved
	case begun:
		row.erased = x.row.erased
	}
	row.forget(stateCancelled)
	return true, x.d.storePlan(ctx, tx, &row)
}

// isDone says in the ledger that a plan is; one that was begun for the same persons is so
// with the same certificate.
func (x *execution) isDone(ctx context.Context, tx datastore.Tx, b beside, plan, digest string) error {
	s, err := b.ledger.Append(ctx, b.mark.kept(), func(s *erasurelog.State) (*erasurelog.Entry, error) {
		if err := x.d.behind(ctx, tx, s, b.mark, x.row.id); err != nil {
			return nil, err
		}
		switch s.Status(plan) {
		case erasurelog.Begun, erasurelog.Left:
		case erasurelog.Finished:
			return nil, nil
		case erasurelog.Withdrawn: // its row was taken away, and came back
			if plan == x.row.id {
				return nil, ErrVoided
			}
			return nil, nil
		default:
			if plan != x.row.id {
				return nil, nil
			}
			return nil, erasurelog.ErrAbsent
		}
		e, _ := follow(s, erasurelog.Done, plan)
		e.Cert = digest
		return e, nil
	})
	x.ledger = s
	return err
}

// close lets the database forget what is deleted, tells the ledger that the
// erasure is done, forgets the note, and raises the mark. Only then the
// certificate is given out. A call that comes to a certified plan begins here.
func (x *execution) close(ctx context.Context) (Outcome, error) {
	r, err := x.row.stays()
	if err != nil {
		return Outcome{}, err
	}
	if f, ok := x.d.database.(datastore.Flusher); ok {
		name := x.d.database.Name()
		switch err := tell(ctx, x.d, name, "flush", "", f.Flush); {
		case errors.Is(err, datastore.ErrLater):
			return Outcome{
				State: Waiting, Plan: x.row.id, Counts: r.Counts, NotCovered: r.NotCovered, Until: x.d.now(),
				Stores: []StoreOutcome{{Store: name, Err: err}},
			}, nil
		case err != nil:
			return Outcome{}, err
		}
	}
	err = x.change(ctx, true, func(tx *sql.Tx, row *planRow, b beside) error {
		for _, plan := range append([]string{row.id}, r.Others...) {
			if err := x.isDone(ctx, tx, b, plan, r.Digest); err != nil {
				return err
			}
		}
		noted := r.Others // nothing is left of what they name
		if r.Noted {
			noted = append(noted, row.id)
		}
		if err := x.d.forget(ctx, noted...); err != nil {
			return err
		}
		row.state = stateDone
		if err := x.d.storePlan(ctx, tx, row); err != nil {
			return err
		}
		if err := x.d.settle(ctx, tx, x.ledger, b.locked, *row); err != nil {
			return err
		}
		if err := x.d.recordAs(ctx, tx, r.Event, row.tenant, "privacy.erase.done", planAttr(row.id), slog.String("digest", r.Digest)); err != nil {
			return err
		}
		return x.d.recordHead(ctx, tx, x.ledger.Head(), row.tenant, "privacy.ledger", planAttr(row.id))
	})
	if errors.Is(err, ErrVoided) {
		return Outcome{}, x.ends(ctx, stateVoid, err)
	}
	if err != nil {
		return Outcome{}, err
	}
	x.d.observe(ctx, "privacy.erased", 1)
	return x.answer(ctx)
}

// salt draws the salt of a plan's certificate from the newest ledger root, so
// that no crash loses it. Whoever has the root can tell from the ledger, too,
// whom an entry names.
func (d *Desk) salt(ctx context.Context, plan string) (root uint32, salt []byte, err error) {
	root, text, err := d.cfg.Ledger.Digest(ctx, kindSalt, "", []byte(plan))
	if err != nil {
		return 0, nil, err
	}
	salt, err = canon.ParseBytes(text)
	return root, salt, mute("drawing a salt", err)
}

// saltUnder draws it again; nil where the root is gone.
func (d *Desk) saltUnder(ctx context.Context, plan string, root uint32) ([]byte, error) {
	keys, err := d.cfg.Ledger.Keys(ctx, kindSalt, "", []byte(plan))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if text, ok := strings.CutPrefix(key, fmt.Sprint(root)+"/"); ok {
			return canon.ParseBytes(text)
		}
	}
	return nil, nil
}

func records(counts []Count) []certificate.Records {
	list := make([]certificate.Records, 0, len(counts))
	for _, c := range counts {
		r := certificate.Records{Store: c.Store, Table: c.Table, Class: certificate.Class(c.Class), Count: int64(c.Rows)}
		if r.Class == certificate.Kept {
			r.Until, r.Because = c.Until, c.Because
		}
		list = append(list, r)
	}
	return list
}
