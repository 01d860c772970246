package auditlog

import "github.com/crmguard/crmguard/internal/frame"

// StandIn is what is shown for a value that has no encoding. The sale that
// changed it did not fail: what could be kept of it was committed to in its
// place, and the change says so in the log ([LeafChange.Odd]).
type StandIn struct {
	Why  string // one of the reasons of this package, such as [StandInText]
	Kept []byte // the bytes, the digits, or the Go type
}

// The reasons for a [StandIn].
const (
	StandInText    = "text that is not UTF-8"           // Kept: its bytes
	StandInInteger = "integer beyond 63 bits"           // Kept: its digits
	StandInFloat   = "no number"                        // Kept: NaN, +Inf or -Inf
	StandInTime    = "time beyond 64 bits"              // Kept: seconds since 1970, in digits
	StandInForm    = "text of another form"             // Kept: the bytes of what should be JSON, a decimal or a date
	StandInNothing = "Go type that holds no value"      // Kept: its name
	StandInFailed  = "Go type that failed to give one"  // Kept: its name
	standInUnknown = "reason that this version has not" // of a later version
)

// TypeStandIn is the type of such a value: it belongs to commitments of this
// package and to no other format. Its data is the number of the reason, one
// byte, and what was kept.
const TypeStandIn frame.Type = 11

// standIns are the reasons by their numbers, which are part of the format.
func standIns() []string {
	return []string{1: StandInText, 2: StandInInteger, 3: StandInFloat, 4: StandInTime, 5: StandInForm, 6: StandInNothing, 7: StandInFailed}
}

// NewStandIn is the value of a stand-in, for one of the reasons of this package.
func NewStandIn(why string, kept []byte) frame.Value {
	for number, reason := range standIns() {
		if reason == why && number > 0 {
			return frame.Value{Type: TypeStandIn, Data: append([]byte{byte(number)}, kept...)}
		}
	}
	return frame.Value{} // cannot be: the reasons are ours
}

// readStandIn is the Go value of one.
func readStandIn(v frame.Value) (StandIn, error) {
	if len(v.Data) == 0 || v.Data[0] == 0 {
		return StandIn{}, malformed("stand-in without a reason")
	}
	out := StandIn{Why: standInUnknown, Kept: append([]byte{}, v.Data[1:]...)}
	if reasons := standIns(); int(v.Data[0]) < len(reasons) {
		out.Why = reasons[v.Data[0]]
	}
	return out, nil
}

// WhyStandIn is the reason of a value of [NewStandIn].
func WhyStandIn(v frame.Value) string {
	if v, err := readStandIn(v); err == nil {
		return v.Why
	}
	return standInUnknown
}

// OddSides says in a leaf which sides of a change are stand-ins: old, new, both
// or "".
func OddSides(before, after frame.Value) string {
	switch {
	case before.Type == TypeStandIn && after.Type == TypeStandIn:
		return "both"
	case before.Type == TypeStandIn:
		return "old"
	case after.Type == TypeStandIn:
		return "new"
	}
	return ""
}
