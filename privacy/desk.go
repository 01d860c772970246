package privacy

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/internal/tables"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

// Desk is where requests of persons are answered: find, export, erase, and
// erase again after a restore. It is safe for concurrent use, in several
// processes too.
type Desk struct {
	cfg       Config
	db        *sqldb.DB
	database  datastore.Transactional // the store over db
	schema    *liveschema.Checker     // of db
	sign      func() crypto.Signer    // behind a func, where formatting a Desk does not reach it
	turns     turns
	hanging   hanging
	checked   mapCheck
	replaying chan struct{} // whoever has it replays
	looked    lookedAt
	bound     func(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) // of a pass of Run
}

// Refusals of ids. A principal comes from the session of whoever is signed in,
// never from a form: whoever types their name may spell it in several ways.
var (
	ErrID        = errors.New("privacy: ids are 1 to 255 bytes of UTF-8 without NUL, a person's second byte is no colon, tenant is never empty")
	ErrPrincipal = errors.New("privacy: a principal has no white space around it and no control or invisible characters: hand in the id of the signed-in account, not what someone typed")
)

// StoreError says which store failed at what. Of the cause its text repeats
// what a database says of tables, constraints and rights; the rest it leaves
// out, because drivers quote values. Unwrap gives the cause.
type StoreError struct {
	Store string
	Op    string // aliases, find, export, rehearse, tops, erase, remaining, missing, flush, people
	Err   error
}

// Error names store and operation.
func (e *StoreError) Error() string {
	switch {
	case errors.Is(e.Err, datastore.ErrLater):
		return "privacy: store " + e.Store + ": " + e.Op + ": not finished yet"
	case errors.Is(e.Err, datastore.ErrShared):
		return "privacy: store " + e.Store + ": " + e.Op + ": " + datastore.ErrShared.Error()
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, context.DeadlineExceeded):
		return "privacy: store " + e.Store + ": " + e.Op + ": stopped"
	}
	return failed("privacy: store "+e.Store+": "+e.Op, e.Err)
}

func failed(what string, err error) string {
	if cause := sqldb.Cause(err); cause != "" {
		return what + " failed: " + cause
	}
	return what + " failed"
}

// Unwrap returns the store's own error.
func (e *StoreError) Unwrap() error { return e.Err }

// stateError is a failure of the desk's own tables or hand-ins, likewise
// without values.
type stateError struct {
	op  string
	err error
}

func (e *stateError) Error() string { return failed("privacy: "+e.op, e.err) }
func (e *stateError) Unwrap() error { return e.err }

func mute(op string, err error) error {
	if err == nil {
		return nil
	}
	return &stateError{op, err}
}

// Open checks the configuration and the desk's tables. It does not touch the
// ledger, so that an application starts far enough to ask [Desk.Ready].
func Open(ctx context.Context, cfg Config) (*Desk, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	db, err := sqldb.Open(ctx, cfg.DB)
	if err != nil {
		return nil, fmt.Errorf("privacy: %w", err)
	}
	if err := tables.Schema().Check(ctx, db); err != nil {
		return nil, err
	}
	database := cfg.Database
	if database == nil {
		if database, err = cfg.open(ctx); err != nil {
			return nil, err
		}
	}
	live, err := liveschema.NewChecker(ctx, cfg.DB)
	if err != nil {
		return nil, fmt.Errorf("privacy: %w", err)
	}
	cfg.Stores = slices.Clone(cfg.Stores)
	key := cfg.Sign
	cfg.Sign, cfg.Database = nil, nil
	return &Desk{cfg: cfg, db: db, database: database, schema: live, sign: func() crypto.Signer { return key }, replaying: make(chan struct{}, 1), bound: context.WithTimeout}, nil
}

// Format prints the type only, whatever the verb: a desk holds a signing key.
func (d *Desk) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("privacy.Desk")) }

// LogValue is the type only.
func (d *Desk) LogValue() slog.Value { return slog.StringValue("privacy.Desk") }

func (d *Desk) now() time.Time {
	if d.cfg.Now != nil {
		return d.cfg.Now().UTC().Truncate(time.Microsecond)
	}
	return time.Now().UTC().Truncate(time.Microsecond)
}

func (d *Desk) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if d.cfg.Observe != nil {
		d.cfg.Observe(ctx, name, value, attrs...)
	}
}

func (d *Desk) allow(ctx context.Context, action, resource string) error {
	if d.cfg.Allow == nil {
		return nil
	}
	return d.cfg.Allow(ctx, action, resource)
}

func validID(field, id string) error { return refusedID(ids.Check(field, id)) }

// validPerson refuses the ids that name key owners, too ("r:…", "t:").
func validPerson(persons ...string) error {
	for _, person := range persons {
		if err := refusedID(ids.CheckGiven("person", person)); err != nil {
			return err
		}
	}
	return nil
}

func refusedID(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrID, err)
	}
	return nil
}

// persons returns the person and everyone merged into it.
func (d *Desk) persons(ctx context.Context, tenant, person string) ([]string, error) {
	persons, aliases := []string{person}, []string(nil)
	for _, merged := range []func(context.Context, string, string) ([]string, error){d.cfg.Aliases, d.merged()} {
		if merged == nil {
			continue
		}
		more, err := ask(ctx, d, d.database.Name(), "aliases", about(tenant, person), func(ctx context.Context) ([]string, error) {
			return merged(ctx, tenant, person)
		})
		if err != nil {
			return nil, err
		}
		aliases = append(aliases, more...)
	}
	if err := validPerson(aliases...); err != nil {
		return nil, err
	}
	slices.Sort(aliases)
	for _, alias := range slices.Compact(aliases) {
		if alias != person {
			persons = append(persons, alias)
		}
	}
	return persons, nil
}

// merged asks the database whom it has merged; nil where it knows no such thing.
func (d *Desk) merged() func(context.Context, string, string) ([]string, error) {
	if knows, ok := d.database.(interface {
		Aliases(ctx context.Context, tenant, person string) ([]string, error)
	}); ok {
		return knows.Aliases
	}
	return nil
}

// Find locates everything about the person and those merged into it, in every
// store: keys and what an erasure would do, never values.
func (d *Desk) Find(ctx context.Context, tenant, person string) ([]datastore.Row, error) {
	if err := errors.Join(validID("tenant", tenant), validPerson(person)); err != nil {
		return nil, err
	}
	persons, err := d.persons(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	scope := datastore.Scope{Tenant: tenant, Now: d.now()}
	if scope.Identities, err = d.identities(ctx, scope, persons); err != nil {
		return nil, err
	}
	return d.find(ctx, scope, persons)
}

func (d *Desk) find(ctx context.Context, scope datastore.Scope, persons []string) ([]datastore.Row, error) {
	var all []datastore.Row
	for _, store := range d.stores() {
		scope := scope
		if store.Name() == d.database.Name() {
			scope.Identities = nil // which it knows itself
		}
		rows, err := d.findIn(ctx, store, scope, persons)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

func (d *Desk) findIn(ctx context.Context, store datastore.Store, scope datastore.Scope, persons []string) ([]datastore.Row, error) {
	if t, ok := store.(datastore.Transactional); ok && len(persons) > 1 { // whose rows lead to each other's
		rows, err := ask(ctx, d, store.Name(), "find", about(scope.Tenant, persons[0]), func(ctx context.Context) ([]datastore.Row, error) {
			return t.FindAll(ctx, each(scope, persons))
		})
		return once(stored(rows, store.Name())), err
	}
	var all []datastore.Row
	for _, person := range persons {
		scope := scope
		scope.Person = person
		rows, err := ask(ctx, d, store.Name(), "find", about(scope.Tenant, person), func(ctx context.Context) ([]datastore.Row, error) {
			return store.Find(ctx, scope)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, stored(rows, store.Name())...)
	}
	return all, nil
}

// once names each row once, of those that were found for several persons who are
// erased together: as one that goes, where it does, or as the one whose own it is.
func once(rows []datastore.Row) (all []datastore.Row) {
	type place struct{ store, table, key string }
	rank := func(r datastore.Row) int {
		switch {
		case r.Class == datastore.Deleted:
			return 2
		case !r.Others:
			return 1
		}
		return 0
	}
	at := map[place]int{}
	for _, r := range rows {
		here := place{r.Store, r.Table, r.Key}
		i, known := at[here]
		if !known || r.Key == "" {
			at[here] = len(all)
			all = append(all, r)
			continue
		}
		clean, points := all[i].Clean && r.Clean, all[i].And(r).Points
		if rank(r) >= rank(all[i]) {
			all[i] = r
		}
		if all[i].Clean = clean; all[i].Points != "" {
			all[i].Points = points
		}
	}
	return all
}

// stored names the store in its rows.
func stored(rows []datastore.Row, store string) []datastore.Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Store = store
	}
	return rows
}

// rowsOf are those of the rows that stand in a store.
func rowsOf(rows []datastore.Row, store datastore.Store) (own []datastore.Row) {
	for _, r := range rows {
		if r.Store == store.Name() {
			own = append(own, r)
		}
	}
	return own
}

// each is the scope for each of the persons.
func each(scope datastore.Scope, persons []string) []datastore.Scope {
	scopes := make([]datastore.Scope, len(persons))
	for i, person := range persons {
		scope.Person = person
		scopes[i] = scope
	}
	return scopes
}

// stores are all, in the order in which they erase.
func (d *Desk) stores() []datastore.Store {
	return append([]datastore.Store{d.database}, d.cfg.Stores...)
}

// tops are the numbers that the database has given out as keys.
func (d *Desk) tops(ctx context.Context, p *Plan) (map[string]int64, error) {
	numbered, ok := d.database.(datastore.Numbered)
	if !ok {
		return nil, nil
	}
	return ask(ctx, d, d.database.Name(), "tops", about(p.Tenant, p.Person), numbered.Tops)
}

// Count says how many records of one table have one fate.
type Count struct {
	Store   string          `json:"store"`
	Table   string          `json:"table"`
	Class   datastore.Class `json:"class"`
	Rows    int             `json:"rows"`
	Until   time.Time       `json:"until,omitzero"`
	Because string          `json:"because,omitempty"`
}

// Sum counts rows by store, table, class, date and obligation, in order of
// their names.
func Sum(rows []datastore.Row) []Count {
	counts := map[Count]int{}
	for _, r := range rows {
		counts[Count{Store: r.Store, Table: r.Table, Class: r.Class, Until: r.Until, Because: r.Because}] += max(1, r.Count)
	}
	list := make([]Count, 0, len(counts))
	for c, n := range counts {
		c.Rows = n
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Count) int {
		return strings.Compare(a.order(), b.order())
	})
	return list
}

func (c Count) order() string {
	return fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s", c.Store, c.Table, c.Class, canon.FormatTime(c.Until), c.Because)
}

// LedgerHead returns the head of the ledger, verified against the database's
// mark too, as canonical JSON {"hash","n"}: for backup manifests, the audit
// trail and the key store.
func (d *Desk) LedgerHead(ctx context.Context) ([]byte, error) {
	m, _, err := d.loadMark(ctx)
	if err != nil {
		return nil, err
	}
	s, err := d.cfg.Ledger.Append(ctx, m.kept(), nothing)
	if err != nil {
		return nil, err
	}
	return s.Head().Bytes()
}

// nothing to append: what is read is durable then, for whoever remembers its head.
// Another process could take back what it has written and not flushed.
func nothing(*erasurelog.State) (*erasurelog.Entry, error) { return nil, nil } //nolint:nilnil // as Append has it
