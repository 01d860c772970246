package roles

import (
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Sentinels; the package comment says what to do about each.
var (
	// ErrModel is matched by every [*ModelError].
	ErrModel = errors.New("roles: model refused")
	// ErrRefused is matched by every [*RefusedError]: a rule forbids the change.
	ErrRefused = errors.New("roles: refused")
	// ErrRequest is matched by every [*RequestError]: the call is wrong.
	ErrRequest = errors.New("roles: bad request")
	// ErrNotHeld says that there is no assignment, or no role, like the one to be
	// taken away.
	ErrNotHeld = errors.New("roles: there is nothing like it to take away")
	// ErrForged says that a row of the tables was not written by this package
	// under these keys. Nothing is answered about whom it is about.
	ErrForged = errors.New("roles: a row of crmguard_accesscontrol_assignment or _role does not bear its tag: it was written or changed past this package, or under other keys; remove it, or hand in the keys that it was written under")
)

// ErrSchema is returned by Open where the tables are older than the library
// needs: call Install, or apply Migrations.
type ErrSchema = sqldb.SchemaError //nolint:errname // every storing package calls it so

// ErrStandby says that the connection leads to a standby, which may not know of
// what was revoked: connect to the primary.
var ErrStandby = sqldb.ErrStandby

// ErrRowSecurity says that policies of PostgreSQL hide rows from the role of the
// connection: who cannot see an assignment cannot tell what it excludes.
var ErrRowSecurity = sqldb.ErrRowSecurity

// ModelError lists everything that is wrong with a model.
type ModelError struct{ Problems []string }

// Error lists the problems, one a line.
func (e *ModelError) Error() string { return ErrModel.Error() + ": " + strings.Join(e.Problems, "\n") }

// Is makes errors.Is(err, ErrModel) true.
func (e *ModelError) Is(target error) bool { return target == ErrModel }

// Rule is which rule a change would break, as a code that may be shown.
type Rule string

// The rules.
const (
	// NotTheirs: who gives, or takes away, does not hold that role for that scope
	// and that time with the right to give it.
	NotTheirs Rule = "not_theirs"
	// Excluded: the principal would hold two roles that exclude each other.
	Excluded Rule = "excluded"
	// UnknownRole: neither the model nor the tenant has the role.
	UnknownRole Rule = "unknown_role"
	// WrongScope: the role does not look at such a scope, or needs one.
	WrongScope Rule = "wrong_scope"
	// Held: the same giver has given the same already, and it stands. Revoke it to
	// give it for another time, or with another MayGive.
	Held Rule = "held"
	// InUse: the role is held or inherited, so it stays as it is.
	InUse Rule = "in_use"
	// Circle: the role would inherit from itself.
	Circle Rule = "circle"
)

// RefusedError says which rule forbids a change. It names roles, never persons.
type RefusedError struct {
	Rule Rule
	// Role is what the change was about, Other the one that it collides with.
	Role, Other string
	// Text says what to do.
	Text string
}

// Error names rule, role and what to do.
func (e *RefusedError) Error() string {
	return ErrRefused.Error() + ": " + string(e.Rule) + ": role " + shown(e.Role) + ": " + e.Text
}

// shown is the name of a role as it may stand in a line of a log: a tenant may
// call its own as it likes.
func shown(role string) string {
	if strings.ContainsFunc(role, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(role)
	}
	return role
}

// Is makes errors.Is(err, ErrRefused) true.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

func refused(rule Rule, role, text string) *RefusedError {
	return &RefusedError{Rule: rule, Role: role, Text: text}
}

// RequestError says what is wrong with a call: names of fields, never values.
type RequestError struct {
	Text string
	err  error
}

// Error says what is wrong.
func (e *RequestError) Error() string { return ErrRequest.Error() + ": " + e.Text }

// Is makes errors.Is(err, ErrRequest) true.
func (e *RequestError) Is(target error) bool { return target == ErrRequest }

// Unwrap returns the rule for ids that is broken, where one is.
func (e *RequestError) Unwrap() error { return e.err }

// request turns what internal/ids says into an error of this package.
func request(err error) error {
	if err == nil {
		return nil
	}
	return &RequestError{Text: err.Error(), err: err}
}

// checkPerson refuses what is no tenant and principal of the application's.
func checkPerson(tenant, principal string) error {
	if err := ids.Check("tenant", tenant); err != nil {
		return request(err)
	}
	return request(ids.CheckGiven("principal", principal))
}
