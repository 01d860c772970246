package audit

import (
	"cmp"
	"regexp"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
)

// Event is what happened, as the application says it. Only codes, random ids
// and field names of it reach the log in the clear; persons appear under
// surrogates, values only as commitments.
type Event struct {
	// ID is a UUID that the caller may choose ([NewID]), so that a retry is
	// recognised and a row can name the event that made it; "" makes one.
	ID string
	// Tenant is mandatory. It stays in the log for ever, as Actor does.
	Tenant string
	// Actor is who acts: an opaque id of a principal, never a name or an
	// address: it stays in the log for ever. Refused are white space and what
	// cannot be seen, '@', '<' and '>', telephone numbers with a '+', IP addresses.
	Actor string
	// Action is a code such as "contact.update".
	Action string
	// Outcome is ok (also ""), denied, failed or partial; allowed where the action
	// was permitted, and whether it was done is not said ([Trail.Decisions]).
	Outcome string
	// Object is what was acted on: [Ref] or [PersonRef].
	Object Object
	// Persons are the ids of all people the event is about (at most 500,
	// those of Object and Changes included).
	Persons []string
	// Reason is a code, never free text.
	Reason string
	// Request is the id of the request, opaque as Actor is; "" asks Config.From.
	// Take one that the service has made: a client may send anything as its own.
	Request string
	// Policy is the SHA-256 of the policy set that allowed it, 64 hex digits.
	Policy string
	// For is the id of the event that this one belongs to (a batch, an order).
	For string
	// Prior is the id of the event that came before it in the same matter.
	Prior string
	// Changes are the field values before and after, of any number of fields and
	// about at most 300 persons.
	Changes []Change
}

// Object names what an event acted on: [Ref] or [PersonRef]. Where Person is set,
// ID is a person id in an [Event], and the surrogate in a leaf of the log.
type Object = auditlog.Object

// Ref names an object that is not a person. Its id stays in the log for ever
// and is refused where it looks like a name or an address, as an actor's is.
// That a person has the same id means nothing; see Config.PersonKinds.
func Ref(kind, id string) Object { return Object{Kind: kind, ID: id} }

// PersonRef names an object that is itself a person, by its person id.
func PersonRef(kind, person string) Object { return Object{Kind: kind, ID: person, Person: true} }

// About asks [Trail.History] for everything about a person, whatever the
// object. It is no object of an event.
func About(person string) Object { return Object{ID: person, Person: true} }

// Change is one field of the object before and after.
type Change struct {
	// Path is the field. A name declared in Config.Fields for the object's
	// kind stands in the log; any other is committed like a value.
	Path string
	// Who is the id of the person the value is about; "" means nobody. A value that
	// is itself a person's id (deal.contact_id) is about that person: about nobody it
	// stays when they are erased.
	Who string
	// Old and New are text, integers, bool, []byte, time.Time, floats, a UUID as
	// [16]byte, json.Number, slices and maps (as JSON), or [JSON], [Decimal],
	// [Date], [Absent]; named types, pointers, sql.Null* and any other
	// driver.Valuer stand for what they lead to. NULL is nil, nil bytes, a nil
	// pointer, a sql.Null* that is not valid; what is empty is not NULL. Of what
	// has no encoding a [auditlog.StandIn] is recorded.
	Old, New any
}

// The values that Go has no type for; a history shows them as such, too.
type (
	// Absent is the value of a field that does not exist on that side.
	Absent = auditlog.Absent
	// JSON is a JSON document as a field value.
	JSON = auditlog.JSON
	// Decimal is a decimal number at its declared scale, as a field value.
	Decimal = auditlog.Decimal
	// Date is a calendar date YYYY-MM-DD, as a field value.
	Date = auditlog.Date
)

// The outcomes of an event.
const (
	OutcomeOK      = auditlog.OutcomeOK
	OutcomeAllowed = auditlog.OutcomeAllowed
	OutcomeDenied  = auditlog.OutcomeDenied
	OutcomeFailed  = auditlog.OutcomeFailed
	OutcomePartial = auditlog.OutcomePartial
)

// NewID makes an event id, a UUIDv7 of the time of this machine, whatever Config.Now
// says.
func NewID() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}

var (
	codes  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$`)
	fields = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,99}$`)
	digest = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// parseID returns the 16 bytes of an event id in its one text form.
func parseID(s string) ([16]byte, error) {
	id, err := auditlog.ParseID(s)
	if err != nil {
		return id, invalid("event id is no lower-case UUID")
	}
	return id, nil
}

// check validates everything but the values.
func (e *Event) check() error {
	if e.Actor == "" {
		return invalid("Actor is empty: the event names none, and Config.From none for this context (under GORM db.WithContext hands it on)")
	}
	if err := ids.CheckGiven("Actor", e.Actor); err != nil {
		return invalid("%w", err)
	}
	if err := cmp.Or(checkTenant("Tenant", e.Tenant), checkOpaque("Actor", e.Actor), checkRequest("Request", e.Request)); err != nil {
		return err
	}
	switch {
	case !codes.MatchString(e.Action):
		return invalid("Action is no code such as contact.update: letters, digits and _ . : - only")
	case e.Reason != "" && !codes.MatchString(e.Reason):
		return invalid("Reason is no code: letters, digits and _ . : - only, never free text")
	case e.Policy != "" && !digest.MatchString(e.Policy):
		return invalid("Policy is no SHA-256 in 64 lower-case hex digits")
	}
	switch e.Outcome {
	case "", OutcomeOK, OutcomeAllowed, OutcomeDenied, OutcomeFailed, OutcomePartial:
	default:
		return invalid("Outcome is none of ok, allowed, denied, failed, partial")
	}
	for _, id := range [][2]string{{"ID", e.ID}, {"For", e.For}, {"Prior", e.Prior}} {
		if id[1] == "" {
			continue
		}
		if _, err := parseID(id[1]); err != nil {
			return invalid("%s is no event id: a UUID in lower case", id[0])
		}
	}
	return e.checkNames()
}

func (e *Event) checkNames() error {
	if err := e.checkObject(); err != nil {
		return err
	}
	for _, p := range e.Persons {
		if err := ids.CheckGiven("a person id in Persons", p); err != nil {
			return invalid("%w", err)
		}
	}
	for i, c := range e.Changes {
		err := ids.Check("Path", c.Path)
		if err == nil && c.Who != "" {
			err = ids.CheckGiven("Who", c.Who)
		}
		if err != nil {
			return invalid("change %d: %w", i+1, err)
		}
	}
	return nil
}

func (e *Event) checkObject() error {
	o := e.Object
	if (o == Object{}) {
		return nil
	}
	if !codes.MatchString(o.Kind) {
		return invalid("Object.Kind is no code such as deal: letters, digits and _ . : - only")
	}
	if err := ids.CheckGiven("Object.ID", o.ID); err != nil {
		return invalid("%w", err)
	}
	if o.Person {
		return nil // the log shows the surrogate
	}
	return checkOpaque("Object.ID", o.ID)
}
