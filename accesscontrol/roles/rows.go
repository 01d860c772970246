package roles

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Assignment is a role that somebody was given.
type Assignment struct {
	// Tenant and Principal are who holds it, as in accesscontrol.Principal.
	Tenant, Principal string
	// Role is one of the model or of the tenant.
	Role string
	// Scope is for what it is held.
	Scope Scope
	// NotBefore and NotAfter bound when it is held, by the clock of the database
	// and to the microsecond: from the first on, and no longer at the second.
	// Zero is no bound.
	NotBefore, NotAfter time.Time
	// MayGive lets the principal give the role on, for this scope or one below
	// it and no longer than this.
	MayGive bool
	// By is the principal who gives it, of the same tenant; [Operator] in what
	// [Store.Bootstrap] has given.
	By string
	// Reason is for people: up to 1,000 bytes, which nobody looks at here.
	Reason string
}

// Operator is who gave what [Store.Bootstrap] has given. No principal can be
// called so.
const Operator = "s:operator"

const maxReason = 1000

// outside is a bound that is none: microseconds of a time that is far away are
// those of another one.
func outside(t time.Time) bool { return !t.IsZero() && (t.Year() < 1970 || t.Year() > 9999) }

// forever is NotAfter of what has no end.
const forever = math.MaxInt64

// row is an assignment as it is stored.
type row struct {
	Assignment
	id     string // random
	source string // the id of the assignment that gave the right to give it, "" of the operator's
	from   int64  // NotBefore and NotAfter in microseconds
	until  int64
	tag    []byte // as it was read
	odd    bool   // it was read, and holds what is never written
}

func (r *row) valid(now int64) bool { return r.from <= now && now < r.until }

const rowColumns = `id, principal, role, scope, not_before, not_after, may_give, given_by, source, reason, tag`

// rows reads assignments of a tenant and verifies them.
func (s *Store) rows(ctx context.Context, q sqldb.Querier, tenant, where string, args ...any) (out []row, now int64, err error) {
	out, now, err = s.unverified(ctx, q, tenant, where+` ORDER BY principal, role, scope, given_by`, args...)
	if err != nil {
		return nil, 0, err
	}
	for i := range out { // no question is asked of a vault while the rows are open
		if err := s.genuine(ctx, &out[i]); err != nil {
			return nil, 0, err
		}
	}
	return out, now, nil
}

// unverified reads assignments of a tenant as they stand there.
func (s *Store) unverified(ctx context.Context, q sqldb.Querier, tenant, where string, args ...any) (out []row, now int64, err error) {
	err = sqldb.Each(ctx, q, func(scan *sql.Rows) error {
		r, scope, reason := row{Assignment: Assignment{Tenant: tenant}}, "", []byte(nil)
		var mayGive int64
		if err := scan.Scan(&r.id, &r.Principal, &r.Role, &scope, &r.from, &r.until, &mayGive, &r.By, &r.source, &reason, &r.tag, &now); err != nil {
			return sqldb.Safe(err)
		}
		var err error
		r.Scope, err = ParseScope(scope)
		r.odd = err != nil // nothing of this package writes such a scope
		r.MayGive, r.Reason, r.NotBefore, r.NotAfter = mayGive == 1, string(reason), timeOf(r.from, 0), timeOf(r.until, forever)
		out = append(out, r)
		return nil
	}, s.db.Bind(`SELECT `+rowColumns+`, `+clock(s.db.Kind)+` FROM crmguard_accesscontrol_assignment WHERE tenant = ? AND `+where), append([]any{tenant}, args...)...)
	return out, now, err
}

// genuine says whether a row is as this package has written it.
func (s *Store) genuine(ctx context.Context, r *row) error {
	if r.odd {
		return ErrForged
	}
	return s.verify(ctx, r.Tenant, r.framed(), r.tag)
}

// framed is what the tag of an assignment covers: every column.
func (r *row) framed() []byte {
	return frame.Join("crmguard/accesscontrol/assignment/v1", r.Tenant, r.id, r.Principal, r.Role, r.Scope.String(), strconv.FormatInt(r.from, 10),
		strconv.FormatInt(r.until, 10), strconv.FormatBool(r.MayGive), r.By, r.source, r.Reason)
}

func (c *changing) insert(ctx context.Context, r *row) error {
	tag, err := c.tag(ctx, c.tenant, r.framed())
	if err != nil {
		return err
	}
	mayGive := 0
	if r.MayGive {
		mayGive = 1
	}
	in := sqldb.Insert{
		Table: "crmguard_accesscontrol_assignment", New: true,
		Columns: []string{"tenant", "id", "principal", "role", "scope", "not_before", "not_after", "may_give", "given_by", "source", "reason", "tag"},
	}
	return c.db.Insert(ctx, c.tx, in, [][]any{{c.tenant, r.id, r.Principal, r.Role, r.Scope.String(), r.from, r.until, mayGive, r.By, r.source, []byte(r.Reason), tag}})
}

// tag authenticates a row, where there are keys.
func (s *Store) tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if s.tagger == nil {
		return []byte{}, nil
	}
	return s.tagger.Tag(ctx, tenant, data)
}

func (s *Store) verify(ctx context.Context, tenant string, data, tag []byte) error {
	if s.tagger == nil {
		return nil
	}
	if len(tag) == 0 {
		return ErrForged
	}
	err := s.tagger.Verify(ctx, tenant, data, tag)
	if err == nil {
		return nil
	}
	// Keys that cannot be had just now are no forgery: then a new tag fails, too.
	probe := frame.Join("crmguard/accesscontrol/probe/v1", tenant)
	sure, failed := s.tagger.Tag(ctx, tenant, probe)
	if failed == nil {
		failed = s.tagger.Verify(ctx, tenant, probe, sure)
	}
	if failed != nil {
		return fmt.Errorf("roles: verify a row: %w", failed)
	}
	return fmt.Errorf("%w (%w)", ErrForged, err)
}

func timeOf(micro, none int64) time.Time {
	if micro == none {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}

func microOf(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixMicro()
}

// newRow checks an assignment that is to be.
func newRow(a Assignment) (*row, error) {
	r := &row{Assignment: a, from: microOf(a.NotBefore, 0), until: microOf(a.NotAfter, forever)}
	err := cmp.Or(checkPerson(a.Tenant, a.Principal), request(ids.CheckGiven("role", a.Role)), a.Scope.check())
	switch {
	case err != nil:
		return nil, err
	case len(a.Reason) > maxReason || !ids.Plain(a.Reason):
		return nil, &RequestError{Text: "a reason is up to 1,000 bytes of UTF-8 without NUL"}
	case outside(a.NotBefore) || outside(a.NotAfter):
		return nil, &RequestError{Text: "NotBefore and NotAfter are between the years 1970 and 9999, or zero"}
	case r.from >= r.until:
		return nil, &RequestError{Text: "NotAfter is not behind NotBefore"}
	}
	return r, nil
}

// boundary is the next moment at which one of the rows begins or ends.
func boundary(rows []row, now int64) int64 {
	next := int64(forever)
	for i := range rows {
		for _, at := range []int64{rows[i].from, rows[i].until} {
			if at > now {
				next = min(next, at)
			}
		}
	}
	return next
}

// running leaves out what is not held now.
func running(rows []row, now int64) []row {
	return slices.DeleteFunc(rows, func(r row) bool { return !r.valid(now) })
}
