package accesscontrol

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/ids"
)

// Sentinels; the package comment says what to do about each.
var (
	// ErrDenied is matched by every [*Denied].
	ErrDenied = errors.New("accesscontrol: denied")
	// ErrPolicy is matched by every [*PolicyError]: the policy set was refused.
	ErrPolicy = errors.New("accesscontrol: policy set refused")
	// ErrRequest is matched by every [*RequestError]: the question was wrong.
	ErrRequest = errors.New("accesscontrol: bad request")
	// ErrTenant says that a tenant is missing. It also matches ErrRequest.
	// The text around it says whose.
	ErrTenant = fmt.Errorf("%w: tenant is empty", ErrRequest)
	// ErrCursor says that a cursor is none of this list in this order: begin
	// with the first page. It also matches ErrRequest.
	ErrCursor = fmt.Errorf("%w: the cursor is none of this list and order", ErrRequest)
	// ErrTooLarge says that a filter compares with more values than
	// [MaxValues]; nothing is ever cut off.
	ErrTooLarge = errors.New("accesscontrol: filter needs too many values")
	// ErrNotLoaded says that a Policy has no policy set: it did not come from
	// [Load].
	ErrNotLoaded = errors.New("accesscontrol: no policy is loaded: a Policy comes from accesscontrol.Load")
	// ErrStale says that an [Actor] is older than [Config.Hold]: read the
	// principal anew and take another one with [Policy.For].
	ErrStale = errors.New("accesscontrol: what the principal was is too old: take an Actor anew with Policy.For")
	// ErrSchema is matched by every [*SchemaError]: the live tables are not
	// those of the binding.
	ErrSchema = errors.New("accesscontrol: live schema does not fit the binding")
)

// Reason is why a request was denied, as a code that may be shown and logged.
type Reason string

// The reasons.
const (
	// Forbidden: a forbid applied.
	Forbidden Reason = "forbidden"
	// NotPermitted: no permit applied.
	NotPermitted Reason = "not_permitted"
	// ForbidFailed: a forbid could not be evaluated, which denies.
	ForbidFailed Reason = "forbid_failed"
	// OtherTenant: the record belongs to another tenant.
	OtherTenant Reason = "other_tenant"
	// HiddenField: what was asked touches a field that the principal may not
	// read, or sees only under its mask.
	HiddenField Reason = "hidden_field"
	// ReadOnlyField: the change touches a field that the principal may read and
	// not change.
	ReadOnlyField Reason = "read_only_field"
	// Moved: the change would give the record another type, id or tenant.
	Moved Reason = "moved"
)

// Denied is the answer no. It holds no personal data: ids of policies, names
// of actions and attributes, never ids or values of people and records. It is
// still sensitive: show users [Reason.Outside] at most, the rest to administrators.
// [errors.As] finds it in the error of a check, and gives each caller their own.
//
//nolint:errname // it reads as what it says: the request was denied
type Denied struct {
	// Action and Resource (its type) are what was asked.
	Action, Resource string
	// Fields are the names that mattered when Reason is HiddenField or
	// ReadOnlyField.
	Fields []string
	Decision
}

// Error gives the reason as [Reason.Outside] words it, and the determining
// policies. Another tenant's record reads as one that no permit is about;
// [Denied.Why] tells them apart. Which permit came nearest, [Actor.Decide] says.
func (d *Denied) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "accesscontrol: denied: %s on %s: %s", d.Action, d.Resource, d.Reason.Outside())
	if len(d.Policies) > 0 {
		fmt.Fprintf(&b, " by %s", strings.Join(d.Policies, ", "))
	}
	if len(d.Fields) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(d.Fields, ", "))
	}
	return b.String()
}

// Why gives the reason and the hash of the policy set: what an audit trail records of
// a denial.
func (d *Denied) Why() (reason, policySet string) { return string(d.Reason), d.PolicySet }

// Is makes errors.Is(err, ErrDenied) true.
func (d *Denied) Is(target error) bool { return target == ErrDenied }

// Problem is one fault of a policy set.
type Problem struct {
	// Policy is the id, empty where the fault is not in one policy.
	Policy string
	// Position is file:line:column of the policy or of the fault.
	Position string
	// Text says what is wrong.
	Text string
}

// String is the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Position != "" {
		b.WriteString(p.Position + ": ")
	}
	if p.Policy != "" {
		b.WriteString("policy " + p.Policy + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// PolicyError lists everything that keeps a policy set from being used, each
// fault once.
type PolicyError struct{ Problems []Problem }

// Error lists the problems, one a line.
func (e *PolicyError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return ErrPolicy.Error() + ": " + strings.Join(lines, "\n")
}

// Is makes errors.Is(err, ErrPolicy) true.
func (e *PolicyError) Is(target error) bool { return target == ErrPolicy }

// RequestError says what was wrong with a question: never a value, only names.
type RequestError struct {
	// Part is principal, resource, context, action, entity, order or request.
	Part string
	// Name is the attribute, action or type.
	Name string
	// Text says what is wrong with it.
	Text string

	err error // the rule that is broken, where a shared one is
}

// Error names part, name and fault.
func (e *RequestError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: %s: %s", ErrRequest, e.Part, e.Text)
	}
	return fmt.Sprintf("%s: %s %s: %s", ErrRequest, e.Part, e.Name, e.Text)
}

// Is makes errors.Is(err, ErrRequest) true.
func (e *RequestError) Is(target error) bool { return target == ErrRequest }

// Unwrap returns the cause, if there is one beside the text.
func (e *RequestError) Unwrap() error { return e.err }

// checkID refuses what breaks the rule for ids.
func checkID(part, name, field, id string) error {
	if err := ids.Check(field, id); err != nil {
		return &RequestError{Part: part, Name: name, Text: err.Error(), err: err}
	}
	return nil
}

// SchemaError lists where the live tables differ from the binding, each fault
// once.
type SchemaError struct{ Problems []string }

// Error lists the differences, one a line.
func (e *SchemaError) Error() string {
	return ErrSchema.Error() + ": " + strings.Join(e.Problems, "\n")
}

// Is makes errors.Is(err, ErrSchema) true.
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }
