package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
)

// StandIn is what a history shows for a value that has no encoding. The sale
// that changed it did not fail: what could be kept of it was committed to in its
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

// standIn is the type of such a value: it belongs to commitments of this package
// and to no other format. Its data is the number of the reason, one byte, and
// what was kept.
const standIn frame.Type = 11

// standIns are the reasons by their numbers, which are part of the format.
func standIns() []string {
	return []string{1: StandInText, 2: StandInInteger, 3: StandInFloat, 4: StandInTime, 5: StandInForm, 6: StandInNothing, 7: StandInFailed}
}

func newStandIn(why string, kept []byte) frame.Value {
	for number, reason := range standIns() {
		if reason == why {
			return frame.Value{Type: standIn, Data: append([]byte{byte(number)}, kept...)}
		}
	}
	return frame.Value{} // cannot be: the reasons are ours
}

// readStandIn is the Go value of one.
func readStandIn(v frame.Value) (any, error) {
	if len(v.Data) == 0 || v.Data[0] == 0 {
		return nil, malformed("stand-in without a reason")
	}
	out := StandIn{Why: standInUnknown, Kept: append([]byte{}, v.Data[1:]...)}
	if reasons := standIns(); int(v.Data[0]) < len(reasons) {
		out.Why = reasons[v.Data[0]]
	}
	return out, nil
}

// standInFor is what can be kept of a value that toValue refused. It is the same
// each time, because a retry is compared by it; so it is never an address.
func standInFor(v any) frame.Value {
	plain, err := value.Resolve(v)
	if err != nil {
		return newStandIn(StandInFailed, fmt.Appendf(nil, "%T", v))
	}
	switch x := plain.(type) {
	case JSON:
		return newStandIn(StandInForm, x)
	case json.RawMessage:
		return newStandIn(StandInForm, x)
	case Decimal:
		return newStandIn(StandInForm, []byte(x))
	case Date:
		return newStandIn(StandInForm, []byte(x))
	case json.Number:
		return newStandIn(StandInForm, []byte(x))
	case time.Time:
		return newStandIn(StandInTime, strconv.AppendInt(nil, x.Unix(), 10))
	}
	switch r := reflect.ValueOf(plain); r.Kind() {
	case reflect.String:
		return newStandIn(StandInText, []byte(r.String()))
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return newStandIn(StandInInteger, strconv.AppendUint(nil, r.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		return newStandIn(StandInFloat, strconv.AppendFloat(nil, r.Float(), 'g', -1, 64))
	default:
		return newStandIn(StandInNothing, fmt.Appendf(nil, "%T", plain))
	}
}

// oddSides says in a leaf which sides of a change are stand-ins.
func oddSides(before, after frame.Value) string {
	switch {
	case before.Type == standIn && after.Type == standIn:
		return "both"
	case before.Type == standIn:
		return "old"
	case after.Type == standIn:
		return "new"
	}
	return ""
}
