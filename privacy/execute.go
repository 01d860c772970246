package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// State says how far an erasure is.
type State string

// The states of an [Outcome].
const (
	Done    State = "done"    // erased, read back, lease over, certified
	Partial State = "partial" // something is left, or gone that should stay: see Stores, and execute again
	Waiting State = "waiting" // nothing is known to be left; execute again at Until
	Held    State = "held"    // a legal hold keeps the person from being erased; execute again when it is lifted or over, at Until where that is known
)

// StoreOutcome is what one store answered.
type StoreOutcome struct {
	Store     string          `json:"store"`
	Remaining int             `json:"remaining"`         // found by keys or by a fresh search after erasing
	Missing   []datastore.Row `json:"missing,omitempty"` // should have been kept and are gone: bring them back and execute again
	Err       error           `json:"-"`                 // *StoreError, nil where the store answered
}

// Outcome is what became of an execution.
type Outcome struct {
	State       State
	Plan        string
	Stores      []StoreOutcome
	Counts      []Count   // what was erased, as far as it was: classes under their true names
	Until       time.Time // when Waiting or Held: not to be executed again before; zero where nobody knows
	Certificate []byte    // DSSE envelope, once Done
	Salt        []byte    // opens the certificate's subject, to be handed to the person with it
	NotCovered  []string
}

// errMoved says that another process has changed the plan row meanwhile.
var errMoved = errors.New("privacy: another process has gone on with this plan")

// execution carries one Execute from step to step.
type execution struct {
	d      *Desk
	row    planRow
	plan   *Plan
	ledger *erasurelog.State
	facts  facts

	identities map[string][]string // what the person was known by, where a store may ask
	others     []datastore.Row     // found in the other stores before the database erased
	noted      []datastore.Row     // those of them that other executions have noted
	failed     map[string]error    // by store
	looked     time.Time           // before it erased and read back
	stores     []StoreOutcome
}

// Execute carries out an approved plan. One transaction of the database finds
// anew, erases, checks that nothing is left and that what stays is there, writes
// the intent to the ledger, and commits. Then the other stores erase, everything
// is read back, and after the lease it is certified, once.
//
// It may be called again after any interruption, until the outcome is Done;
// afterwards it answers the same certificate. A Partial, Waiting or Held
// outcome comes with a nil error. An error means that this call did not get
// through: before the intent nothing has happened anywhere, after it the next
// call continues.
//
// A call returns when its context ends, also where a store does not.
func (d *Desk) Execute(ctx context.Context, planID string) (Outcome, error) {
	for tries := 0; ; tries++ {
		o, err := d.execute(ctx, planID)
		switch {
		case errors.Is(err, errMoved) && tries < 3:
			continue
		case tries > 0 && o.State == Done, errors.Is(err, ErrCancelled), errors.Is(err, ErrVoided):
			// Another process has ended it, and this one may have noted something since.
			return o, errors.Join(err, d.forget(ctx, planID))
		}
		return o, err
	}
}

func (d *Desk) execute(ctx context.Context, planID string) (Outcome, error) {
	row, p, err := d.planned(ctx, planID)
	if err != nil {
		return Outcome{}, err
	}
	if len(row.body) > 0 {
		release, waited, err := d.turns.take(ctx, d.aboutAll(p)...)
		if err != nil {
			return Outcome{}, err
		}
		defer release()
		if waited { // the plan has changed, most likely; where it has so without that, a transaction meets it
			if row, p, err = d.planned(ctx, planID); err != nil {
				return Outcome{}, err
			}
		}
	}
	x := &execution{d: d, row: row, plan: p, failed: map[string]error{}}
	switch row.state {
	case stateCertified:
		return x.close(ctx)
	case stateDone:
		return x.answer(ctx)
	case stateCancelled:
		return Outcome{}, ErrCancelled
	case stateVoid:
		return Outcome{}, ErrVoided
	}
	return x.carryOut(ctx)
}

func (d *Desk) planned(ctx context.Context, id string) (planRow, *Plan, error) {
	row, err := d.loadPlan(ctx, d.db, id)
	if err != nil {
		return row, nil, err
	}
	p, err := d.open(row)
	return row, p, err
}

func (d *Desk) aboutAll(p *Plan) []string {
	var keys []string
	for _, person := range p.persons() {
		keys = append(keys, about(p.Tenant, person))
	}
	return keys
}

func (x *execution) carryOut(ctx context.Context) (o Outcome, err error) {
	if x.facts, err = x.row.facts(x.plan); err != nil {
		return Outcome{}, err
	}
	x.looked = x.d.now()
	if stop, err := x.permitted(ctx); stop != nil || err != nil {
		return deref(stop), err
	}
	if err := x.eraseDatabase(ctx); err != nil {
		return Outcome{}, err
	}
	if err := x.eraseOthers(ctx); err != nil {
		return Outcome{}, err
	}
	if err := x.readBack(ctx); err != nil {
		return Outcome{}, err
	}
	return x.conclude(ctx)
}

func deref(o *Outcome) Outcome {
	if o == nil {
		return Outcome{}
	}
	return *o
}

// permitted asks whether the plan may be carried out now; an outcome says that
// it may not, or not any more.
func (x *execution) permitted(ctx context.Context) (*Outcome, error) {
	m, _, err := x.d.markIn(ctx, x.d.db)
	if err != nil {
		return nil, err
	}
	if x.ledger, err = x.d.cfg.Ledger.Read(ctx, m.kept()...); err != nil {
		return nil, err
	}
	switch x.ledger.Status(x.plan.ID) {
	case erasurelog.Unknown:
		state, err := x.d.ended(ctx, x.ledger, x.plan)
		switch {
		case err != nil:
			return nil, err
		case state != "":
			return nil, x.ends(ctx, state, ErrCancelled)
		case x.plan.ApprovedBy == "":
			return nil, ErrNotApproved
		case x.d.expired(x.plan):
			return nil, ErrExpired
		case x.d.now().Before(x.plan.NotBefore):
			return nil, ErrTooEarly
		}
	case erasurelog.Finished:
		return x.finished(ctx)
	case erasurelog.Withdrawn:
		return nil, x.ends(ctx, stateVoid, ErrVoided)
	case erasurelog.Cancelled:
		return nil, x.ends(ctx, stateCancelled, ErrCancelled)
	default: // it has begun
	}
	if err := x.d.allow(ctx, "privacy.execute", "person/"+x.plan.Person); err != nil {
		return nil, err
	}
	hold, held, err := x.d.held(ctx, x.ledger, x.plan.Tenant, x.plan.persons())
	if err != nil || held {
		return &Outcome{State: Held, Plan: x.plan.ID, Counts: x.plan.Counts, Until: hold.Until}, err
	}
	return nil, x.d.mapped(ctx)
}

// finished is for a plan that the ledger knows as done and this database does
// not: either the database was restored, which is for a replay to mend, or
// somebody has put an old row back. A row that changes meanwhile is another
// process's, which is about to end it.
func (x *execution) finished(ctx context.Context) (*Outcome, error) {
	err := x.change(ctx, true, func(tx *sql.Tx, row *planRow, b beside) error {
		for _, e := range x.ledger.Plan(x.plan.ID) {
			if e.Op == erasurelog.Done && e.N > b.mark.head.N {
				return &GateError{Mark: b.mark.head.N, Head: x.ledger.Head().N, Err: ErrBehind}
			}
		}
		row.forget(stateDone)
		return x.d.storePlan(ctx, tx, row)
	})
	if err != nil {
		return nil, err
	}
	return &Outcome{State: Done, Plan: x.plan.ID}, nil
}

// ends makes a row that was put back, or restored, forget its person, and answers
// why.
func (x *execution) ends(ctx context.Context, state string, why error) error {
	return cmp.Or(x.d.inTx(ctx, func(tx *sql.Tx) error { return x.d.scrub(ctx, tx, x.plan.ID, state) }), why)
}

// ended is the state in which a plan has ended whose row does not know it; "" is
// none. A plan that waits ends with the erasure of its persons by others that have
// begun since it was made: what came behind that it does not mean.
func (d *Desk) ended(ctx context.Context, s *erasurelog.State, p *Plan) (state string, err error) {
	switch s.Status(p.ID) {
	case erasurelog.Finished:
		return stateDone, nil
	case erasurelog.Withdrawn:
		return stateVoid, nil
	case erasurelog.Cancelled:
		return stateCancelled, nil
	case erasurelog.Unknown:
	default:
		return "", nil // it is under way
	}
	for _, person := range p.persons() {
		told, err := d.told(ctx, s, p.Tenant, []string{person})
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(told.Erasures, func(e erasurelog.Erasure) bool { return e.Status == erasurelog.Finished && e.N > p.ledger }) {
			return "", nil
		}
	}
	return stateCancelled, nil
}

// answer is what a plan that is done answers. After the restore of an older
// database the ledger knows that it is; counts and certificate are not here.
func (x *execution) answer(ctx context.Context) (Outcome, error) {
	r, err := x.row.stays()
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{State: Done, Plan: x.row.id, Counts: r.Counts, Certificate: x.row.certificate, NotCovered: r.NotCovered}
	if len(o.Certificate) > 0 {
		o.Salt, err = x.d.saltUnder(ctx, x.row.id, r.SaltRoot)
	}
	return o, err
}
