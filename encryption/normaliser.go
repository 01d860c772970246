package encryption

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/normalise"
)

// Normaliser names a rule that turns a value into what is indexed: two spellings
// that it makes one are found by each other. Any change of a rule is a new name,
// and so a new version of the index; both are searched together until the old
// one is retired. Config.Normalisers adds the application's own.
type Normaliser string

// The normalisers of the library; formats.md has them exactly.
const (
	// Exact takes the bytes as they are.
	Exact Normaliser = normalise.Exact
	// Email makes one of what looks the same: nothing invisible anywhere, no blanks
	// at the ends, no points at the end of the domain, full-width letters as others,
	// and no difference of case in any script. So ann@straße.example and
	// ANN@STRASSE.EXAMPLE. are one, which they need not be for a mail server: write
	// to the address that is stored, never to the one that was searched for.
	Email Normaliser = normalise.Email2
	// EmailV1 is the rule before: space, tab, CR and LF at the ends, NFC, A to Z.
	EmailV1 Normaliser = normalise.Email1
	// EmailDomain takes what stands behind the last @ by the rule of Email. One may
	// search by an address or by the domain alone.
	EmailDomain Normaliser = normalise.Domain
)

// LastDigits takes the last n decimal digits of any script, n from 2 to 15, for a
// telephone or a card number of which somebody names the end. A value with fewer
// is not indexed; an extension at the end is taken for a part of the number.
func LastDigits(n int) Normaliser { return Normaliser(normalise.LastDigits(n)) }

// ErrValue says that a normaliser of the application refused a value.
var ErrValue = errors.New("encryption: value refused by the normaliser")

// rule turns a value into what is indexed, "" for nothing.
type rule func(value string) (string, error)

// ownName is what a normaliser of the application is called: with a point in
// front of the version, so that no later rule of the library takes the name.
var ownName = regexp.MustCompile(`^[a-z0-9-]{1,30}(\.[a-z0-9-]{1,30}){1,3}/[1-9][0-9]{0,8}$`)

func (c Config) checkNormalisers() error {
	for name, f := range c.Normalisers {
		switch {
		case normalise.Own(string(name)):
			return fmt.Errorf("%w: Config.Normalisers: names without a point are the library's own: %q, say acme.%s", ErrDefinition, name, name)
		case !ownName.MatchString(string(name)):
			return fmt.Errorf("%w: Config.Normalisers: %q is no name with a version: acme.e164/1", ErrDefinition, name)
		case f == nil:
			return fmt.Errorf("%w: Config.Normalisers: the func of %q is nil", ErrDefinition, name)
		}
	}
	return nil
}

// rule returns the rule of that name.
func (v *Vault) rule(name Normaliser) (rule, error) {
	if own := normalise.Rule(string(name)); own != nil {
		return func(value string) (string, error) { return own(value), nil }, nil
	}
	if f := v.cfg.Normalisers[name]; f != nil {
		return twice(name, f), nil
	}
	if !normalise.Own(string(name)) {
		return nil, fmt.Errorf("normaliser %q was not handed in: put its func into Config.Normalisers under this name (there are %q)", name, slices.Sorted(maps.Keys(v.cfg.Normalisers)))
	}
	return nil, fmt.Errorf("unknown normaliser %q: there are Email, EmailV1, EmailDomain, Exact and LastDigits from 2 to 15; the application's own have a name with a point (Config.Normalisers)", name)
}

// twice calls a func of the application two times for each value and takes its
// answer if it is the same both times: what depends on anything else than the
// value would be indexed by one answer and searched by another, and found by
// chance. A panic is an error that shows none of the value.
func twice(name Normaliser, f func(value string) (string, error)) rule {
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
			return "", &ruleError{name, "gives the same value another answer the second time: it must depend on nothing else", ErrDefinition, nil}
		}
		if refused != nil {
			return "", &ruleError{name, "refuses the value", ErrValue, refused}
		}
		return first, nil
	}
}

func attempt(name Normaliser, f func(value string) (string, error), value string) (normal string, refused, err error) {
	defer func() {
		if recover() != nil {
			normal, refused, err = "", nil, &ruleError{name, "panics at a value", ErrDefinition, nil}
		}
	}()
	normal, refused = f(value)
	return normal, refused, nil
}

// ruleError is what came of a rule of the application. What that said itself may
// quote the value: errors.Is and errors.As find it, the text does not show it.
type ruleError struct {
	name Normaliser
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
