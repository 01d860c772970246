package accesscontrol

import "context"

// Visibility is what a principal may see of a field. The zero value hides.
type Visibility uint8

// The visibilities.
const (
	// Hidden: do not show, do not filter, sort or search by it.
	Hidden Visibility = iota
	// Readable: show it.
	Readable
)

// Fields is the visibility of each declared field of one record. A name that
// is not in it is hidden.
type Fields map[string]Visibility

// Fields says for each declared field whether the principal may read it in
// this record. If the record itself may not be read, every field is hidden.
func (p *Policy) Fields(_ context.Context, _ Principal, _ Record) (Fields, error) {
	return nil, ErrRequest
}

// Readable lists the readable fields, sorted.
func (f Fields) Readable() []string { return nil }

// Hidden lists the hidden fields, sorted.
func (f Fields) Hidden() []string { return nil }
