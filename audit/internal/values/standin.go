package values

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
)

// StandInFor is what can be kept of a value that [Of] refused. It is the same
// each time, because a retry is compared by it; so it is never an address.
func StandInFor(v any) frame.Value {
	plain, err := value.Resolve(v)
	if err != nil {
		return auditlog.NewStandIn(auditlog.StandInFailed, fmt.Appendf(nil, "%T", v))
	}
	switch x := plain.(type) {
	case auditlog.JSON:
		return auditlog.NewStandIn(auditlog.StandInForm, x)
	case json.RawMessage:
		return auditlog.NewStandIn(auditlog.StandInForm, x)
	case auditlog.Decimal:
		return auditlog.NewStandIn(auditlog.StandInForm, []byte(x))
	case auditlog.Date:
		return auditlog.NewStandIn(auditlog.StandInForm, []byte(x))
	case json.Number:
		return auditlog.NewStandIn(auditlog.StandInForm, []byte(x))
	case time.Time:
		return auditlog.NewStandIn(auditlog.StandInTime, strconv.AppendInt(nil, x.Unix(), 10))
	}
	switch r := reflect.ValueOf(plain); r.Kind() {
	case reflect.String:
		return auditlog.NewStandIn(auditlog.StandInText, []byte(r.String()))
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return auditlog.NewStandIn(auditlog.StandInInteger, strconv.AppendUint(nil, r.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		return auditlog.NewStandIn(auditlog.StandInFloat, strconv.AppendFloat(nil, r.Float(), 'g', -1, 64))
	default:
		return auditlog.NewStandIn(auditlog.StandInNothing, fmt.Appendf(nil, "%T", plain))
	}
}
