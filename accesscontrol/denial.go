package accesscontrol

// denial is a no that is the same for many records: made once, and handed to
// whoever asks. errors.As gives each of them a [Denied] of their own.
type denial struct{ denied Denied }

func (d *denial) Error() string { return d.denied.Error() }

// Is and Why are those of a Denied.
func (d *denial) Is(target error) bool { return d.denied.Is(target) }

func (d *denial) Why() (reason, policySet string) { return d.denied.Why() }

// As gives a copy: whoever changes it changes nobody else's.
func (d *denial) As(target any) bool {
	to, is := target.(**Denied)
	if is {
		own := d.denied
		*to = &own
	}
	return is
}
