package accesscontrol

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Visibility is what a principal may see of a field, and do to it. The zero
// value hides. They are ordered: at least Readable is v >= Readable.
type Visibility uint8

// The visibilities.
const (
	// Hidden: do not show, do not filter, sort or search by it.
	Hidden Visibility = iota
	// Masked: show what its [Mask] leaves of it, do not filter, sort or search
	// by it.
	Masked
	// Readable: show it.
	Readable
	// Writable: show it, and let it be changed.
	Writable
)

// String is "hidden", "masked", "readable" or "writable".
func (v Visibility) String() string {
	return [...]string{"hidden", "masked", "readable", "writable"}[min(v, Writable)]
}

// Fields is the visibility of each declared field of one record. A name that
// is not in it is hidden.
type Fields map[string]Visibility

// Writable lists the fields that may be changed, sorted.
func (f Fields) Writable() []string { return f.between(Writable, Writable) }

// Readable lists the fields that may be read, the writable ones among them,
// sorted.
func (f Fields) Readable() []string { return f.between(Readable, Writable) }

// Masked lists the fields that are shown under their mask, sorted.
func (f Fields) Masked() []string { return f.between(Masked, Masked) }

// Hidden lists the hidden fields, sorted.
func (f Fields) Hidden() []string { return f.between(Hidden, Hidden) }

func (f Fields) between(least, most Visibility) []string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if least <= f[name] && f[name] <= most {
			out = append(out, name)
		}
	}
	return out
}

// asking asks each action once of one record.
type asking struct {
	*standing
	ctx     context.Context //nolint:containedctx // lives as long as the call
	record  *Resource
	answers map[string]bool
	// strict says that an action that cannot be asked is an error.
	strict bool
}

// field is the visibility of a field of a record that may be read.
func (a *asking) field(t *table, name string, actions []string, change string) (Visibility, error) {
	reads, err := a.all(actions...)
	if err != nil {
		return Hidden, err
	}
	if !reads {
		if t.columns[name].mask == "" {
			return Hidden, nil
		}
		shows, err := a.all(t.beside[name].masked...)
		if err != nil || !shows {
			return Hidden, err
		}
		return Masked, nil
	}
	if change == "" { // the binding names no action that changes
		return Readable, nil
	}
	for _, action := range append([]string{change}, t.beside[name].update...) {
		writes, err := a.writes(action)
		if err != nil {
			return Hidden, err
		}
		if !writes {
			return Readable, nil
		}
	}
	return Writable, nil
}

// all says whether each of the actions is permitted.
func (a *asking) all(actions ...string) (bool, error) {
	all := true
	for _, action := range actions {
		yes, asked := a.answers[action]
		if !asked {
			err := a.check(a.ctx, action, a.record)
			if err != nil && !errors.Is(err, ErrDenied) {
				return false, err
			}
			yes = err == nil
			a.answers[action] = yes
		}
		all = all && yes
	}
	return all, nil
}

// writes says whether an action that changes is permitted. Nobody changes
// anything where only the fields are asked about: it is no check, and what
// cannot be asked is no.
func (a *asking) writes(action string) (bool, error) {
	if yes, asked := a.answers[action]; asked {
		return yes, nil
	}
	r, row, err := a.on(action, a.record)
	if err != nil {
		if !a.strict && errors.Is(err, ErrRequest) {
			err = nil
		}
		return false, err
	}
	defer give(row)
	reason, _ := r.answer(row, a.record.Tenant)
	a.answers[action] = reason == ""
	return reason == "", nil
}
