package blindindex

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/normalise"
)

// ErrValue says that a normaliser of the application refused a value.
var ErrValue = errors.New("encryption: value refused by the normaliser")

// Rule turns a value into what is indexed, "" for nothing.
type Rule func(value string) (string, error)

// ownName is what a normaliser of the application is called: with a point in
// front of the version, so that no later rule of the library takes the name.
var ownName = regexp.MustCompile(`^[a-z0-9-]{1,30}(\.[a-z0-9-]{1,30}){1,3}/[1-9][0-9]{0,8}$`)

// CheckOwn refuses a rule of the application that cannot be one.
func CheckOwn(name string, f Rule) error {
	switch {
	case normalise.Own(name):
		return fmt.Errorf("%w: Config.Normalisers: names without a point are the library's own: %q, say acme.%s", keyring.ErrDefinition, name, name)
	case !ownName.MatchString(name):
		return fmt.Errorf("%w: Config.Normalisers: %q is no name with a version: acme.e164/1", keyring.ErrDefinition, name)
	case f == nil:
		return fmt.Errorf("%w: Config.Normalisers: the func of %q is nil", keyring.ErrDefinition, name)
	}
	return nil
}

// RuleOf returns the rule of a name: the library's, or f, which the application
// handed in under it. there are all names that it did so for.
func RuleOf(name string, f Rule, there []string) (Rule, error) {
	if own := normalise.Rule(name); own != nil {
		return func(value string) (string, error) { return own(value), nil }, nil
	}
	if f != nil {
		return twice(name, f), nil
	}
	if !normalise.Own(name) {
		return nil, fmt.Errorf("normaliser %q was not handed in: put its func into Config.Normalisers under this name (there are %q)", name, there)
	}
	return nil, fmt.Errorf("unknown normaliser %q: there are Email, EmailV1, EmailDomain, Exact and LastDigits from 2 to 15; the application's own have a name with a point (Config.Normalisers)", name)
}

// twice calls a func of the application two times for each value and takes its
// answer if it is the same both times: what depends on anything else than the
// value would be indexed by one answer and searched by another, and found by
// chance. A panic is an error that shows none of the value.
func twice(name string, f func(value string) (string, error)) Rule {
	return func(value string) (string, error) {
		first, refused, err := attempt(name, f, value)
		if err != nil {
			return "", err
		}
		second, again, err := attempt(name, f, value)
		if err != nil {
			return "", err
		}
		if first != second || (refused == nil) != (again == nil) {
			return "", &ruleError{name, "gives the same value another answer the second time: it must depend on nothing else", keyring.ErrDefinition, nil}
		}
		if refused != nil {
			return "", &ruleError{name, "refuses the value", ErrValue, refused}
		}
		return first, nil
	}
}

func attempt(name string, f func(value string) (string, error), value string) (normal string, refused, err error) {
	defer func() {
		if recover() != nil {
			normal, refused, err = "", nil, &ruleError{name, "panics at a value", keyring.ErrDefinition, nil}
		}
	}()
	normal, refused = f(value)
	return normal, refused, nil
}

// ruleError is what came of a rule of the application. What that said itself may
// quote the value: errors.Is and errors.As find it, the text does not show it.
type ruleError struct {
	name string
	what string
	err  error // the sentinel
	said error
}

func (e *ruleError) Error() string { return fmt.Sprintf("%v: normaliser %q %s", e.err, e.name, e.what) }

func (e *ruleError) Unwrap() []error {
	if e.said == nil {
		return []error{e.err}
	}
	return []error{e.err, e.said}
}
