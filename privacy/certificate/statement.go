package certificate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
)

// ErrStatement is wrapped by every refusal of a statement that would not say
// what a certificate has to say.
var ErrStatement = errors.New("certificate: statement is incomplete or contradicts itself")

const saltSize = 32

// Class is the true name of what happened to records.
type Class string

// The classes of a certificate. There are no others.
const (
	Deleted       Class = "deleted"       // the record is gone
	Shredded      Class = "shredded"      // the bytes stay, their key is destroyed
	Redacted      Class = "redacted"      // the record stays without what was about the person
	Pseudonymised Class = "pseudonymised" // who holds the key, or other data, can still tell who it was
	Kept          Class = "kept"          // stays because of a named obligation
)

// Erased reports whether nothing about the person is left of a record of this
// class. What is pseudonymised or kept is not erased.
func (c Class) Erased() bool { return c == Deleted || c == Shredded || c == Redacted }

func (c Class) known() bool { return c.Erased() || c == Pseudonymised || c == Kept }

// Statement is what a certificate says.
type Statement struct {
	Intent           int64     // number of the intent in the erasure ledger, from 1
	Person           []byte    // of [Commit]: names the person to whoever holds the salt
	Records          []Records // one line a class, table and store; none where nothing was found
	NotCovered       []string  // what no store reaches, in words
	UnreadableLiveAt time.Time // nothing in the live system opens the data from then on
	FinalAt          time.Time // the last key copy that could has ended by then; not before UnreadableLiveAt
	AuditEvent       string    // id of the event that records the certificate; empty without an audit trail
}

// Records is one line of a certificate: records of one table with one fate.
type Records struct {
	Store   string // name of the store
	Table   string // table, bucket, index: the store's own word
	Class   Class
	Count   int64     // records; a line of none is left out of the certificate
	Until   time.Time // of what is kept: until then; zero where no end is known, as of a legal hold
	Because string    // of what is kept: the obligation
}

// NewSalt draws the salt of one certificate. It belongs to the person: whoever
// has it and guesses an id learns from the certificate whether the guess was right.
func NewSalt() []byte {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // which never fails
	return salt
}

// Commit is how a certificate names a person, under a salt of [NewSalt].
func Commit(salt []byte, tenant, person string) ([]byte, error) {
	if len(salt) != saltSize || tenant == "" || person == "" {
		return nil, wrong("a commitment needs a salt of 32 bytes, tenant and person")
	}
	data := append(frame.Join("crmguard/certificate/person/v1"), salt...)
	data = frame.Append(frame.Append(data, tenant), person)
	sum := sha256.Sum256(data)
	return sum[:], nil
}

// Concerns reports whether the statement is about the person, given the salt
// that was handed to them.
func (s Statement) Concerns(salt []byte, tenant, person string) bool {
	want, err := Commit(salt, tenant, person)
	return err == nil && hmac.Equal(want, s.Person)
}

// check refuses what a certificate must not say.
func (s Statement) check() error {
	switch {
	case s.Intent < 1:
		return wrong("the number of the intent is not positive")
	case len(s.Person) != sha256.Size:
		return wrong("person is no commitment")
	case s.UnreadableLiveAt.IsZero() || s.FinalAt.Before(s.UnreadableLiveAt):
		return wrong("final before unreadable, or a date is missing")
	case slices.Contains(s.NotCovered, ""):
		return wrong("an empty line among what is not covered")
	}
	for i, r := range s.Records {
		if err := r.check(); err != nil {
			return fmt.Errorf("%w (line %d)", err, i+1)
		}
	}
	return nil
}

func (r Records) check() error {
	switch {
	case !r.Class.known():
		return wrong("an unknown class")
	case r.Store == "" || r.Table == "" || r.Count < 0:
		return wrong("records without store or table, or fewer than none")
	case r.Class == Kept && r.Because == "":
		return wrong("kept without an obligation")
	case r.Class != Kept && (r.Because != "" || !r.Until.IsZero()):
		return wrong("an obligation or a date of what is not kept")
	}
	return nil
}

func wrong(text string) error { return fmt.Errorf("%w: %s", ErrStatement, text) }
