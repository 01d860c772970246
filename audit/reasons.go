package audit

import "errors"

// reasoned is a decision that says why it was made, a code, and by which policies,
// their hash. It is how an error of another package explains itself to an audit
// trail that does not import it.
type reasoned interface {
	error
	Why() (reason, policySet string)
}

// why takes over what a decision says about itself, and leaves out what the log
// would refuse: a denial is recorded whatever its error looks like.
func (e *Event) why(decision error) {
	said, ok := errors.AsType[reasoned](decision)
	if !ok {
		return
	}
	reason, policies := said.Why()
	if codes.MatchString(reason) {
		e.Reason = reason
	}
	if digest.MatchString(policies) {
		e.Policy = policies
	}
}
