package auditlog

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// The outcomes of an event. What is allowed only may have been done or not: what
// was done is another event, with another outcome.
const (
	OutcomeOK      = "ok"
	OutcomeAllowed = "allowed"
	OutcomeDenied  = "denied"
	OutcomeFailed  = "failed"
	OutcomePartial = "partial"
)

// The kinds of a leaf.
const (
	KindEvent   = "event"   // something the application recorded
	KindErase   = "erase"   // a person's openings and surrogate were erased
	KindPrune   = "prune"   // old entries, or what was sealed about some, were dropped: see Pruned
	KindKey     = "key"     // the signing key changed
	KindRecover = "recover" // a restored database was caught up from the published log
	KindMerge   = "merge"   // two persons turned out to be one
	KindCapture = "capture" // the database itself saw a change; who acted is not known
	KindGap     = "gap"     // events are known to be missing
	KindBeat    = "beat"    // the heads of other stores, at least once a minute while anything happens
)

// The largest leaf, and how many persons one has at most.
const (
	MaxLeaf    = 65535
	MaxPersons = 500
)

// Leaf is one entry of the log, read from its exact bytes. Persons, and
// objects that are persons, stand under surrogates; values are commitments.
type Leaf struct {
	ID      string
	Kind    string
	At      time.Time
	Tenant  string // "" for a beat
	Actor   string
	Action  string
	Outcome string
	Object  Object       // as it stands in the log
	Persons []string     // surrogates
	Changes []LeafChange // by path
	Reason  string
	Request string
	Policy  string
	For     string
	Prior   string
	Capture *LeafCapture // of a capture
	Gap     *LeafGap     // of a gap
	Size    int64        // of a beat: entries before it
	Heads   LeafHeads    // of a beat
}

// Object is what an event acted on. Package audit names it so in events, too.
type Object struct {
	Kind   string // a code such as "deal"
	ID     string // a row id; in the log, the surrogate of a person
	Person bool   // it is a person
}

// LeafChange is one changed field: commitments to the value before and after.
type LeafChange struct {
	Path string `json:"path"`          // declared name, "c:" and a commitment to the name, or "*": all fields of Who, of an event of very many
	Old  string `json:"old"`           // commitment, base64url
	New  string `json:"new"`           // commitment, base64url
	Who  string `json:"who,omitempty"` // surrogate; "" for nobody
	Odd  string `json:"odd,omitempty"` // old, new or both: which values had no encoding
}

// LeafCapture is a change that a trigger saw. It says that the database was
// changed, and nothing that could be relied on about who did it.
type LeafCapture struct {
	Table   string   // with its schema
	Op      string   // i, u, d or t: insert, update, delete, truncate
	Columns []string // the names of those that changed, sorted
	Claimed string   // who the session said was acting; "" where it said nothing
}

// LeafGap counts events that were lost in a span of time.
type LeafGap struct {
	Count    int64
	From, To time.Time
	Why      string // failed or suppressed
}

// LeafHeads are the heads that a beat anchors; nil or "" where none was given.
type LeafHeads struct {
	Ledger    *LeafHead `json:"ledger,omitempty"`
	Keys      *LeafHead `json:"keys,omitempty"`
	Seals     string    `json:"seals,omitempty"`     // base64url
	Snapshots string    `json:"snapshots,omitempty"` // base64url
}

// LeafHead is the newest state of a chained store.
type LeafHead struct {
	N    int64  `json:"n"`
	Hash string `json:"hash"` // base64url
}

// check holds a leaf to what its kind must say, and how. Whoever writes one asks
// it as whoever reads one does, so that nothing enters the log that no one can
// read.
func (l *Leaf) check() error {
	if _, err := ParseID(l.ID); err != nil {
		return malformed("leaf: id")
	}
	if l.Kind == KindBeat {
		return l.checkBeat()
	}
	if l.Action == "" || l.Actor == "" || l.Tenant == "" {
		return malformed("leaf: action, actor or tenant")
	}
	switch l.Outcome {
	case OutcomeOK, OutcomeAllowed, OutcomeDenied, OutcomeFailed, OutcomePartial:
	default:
		return malformed("leaf: outcome")
	}
	if err := l.checkLists(); err != nil {
		return err
	}
	return l.checkKind()
}

// checkKind looks at what only leaves of one kind have.
func (l *Leaf) checkKind() error {
	switch l.Kind {
	case KindEvent, KindErase, KindPrune, KindKey, KindRecover, KindMerge, KindCapture, KindGap:
	default:
		return malformed("leaf: kind")
	}
	if (l.Capture != nil) != (l.Kind == KindCapture) || (l.Gap != nil) != (l.Kind == KindGap) {
		return malformed("leaf: members of another kind")
	}
	switch l.Kind {
	case KindCapture:
		return l.Capture.check()
	case KindGap:
		return l.Gap.check()
	case KindMerge:
		if l.Object.Kind != "person" || len(l.Persons) < 2 || !slices.Contains(l.Persons, l.Object.ID) {
			return malformed("merge: it names persons, two at least, and the one who stays as the object")
		}
	}
	return nil
}

func (c *LeafCapture) check() error {
	if c.Table == "" || len(c.Op) != 1 || !strings.Contains("iudt", c.Op) {
		return malformed("capture: table or op")
	}
	for i, name := range c.Columns {
		if name == "" || i > 0 && c.Columns[i-1] >= name {
			return malformed("capture: columns")
		}
	}
	return nil
}

func (g *LeafGap) check() error {
	if g.Count < 1 || g.To.Before(g.From) || g.Why != "failed" && g.Why != "suppressed" {
		return malformed("gap: count, times or why")
	}
	return nil
}

func (l *Leaf) checkBeat() error {
	if l.Size < 0 || l.Capture != nil || l.Gap != nil {
		return malformed("beat: size, or members of another kind")
	}
	for _, h := range []*LeafHead{l.Heads.Ledger, l.Heads.Keys} {
		if h != nil && (h.N < 0 || !isBinary(h.Hash)) {
			return malformed("beat: head")
		}
	}
	if !isBinary(l.Heads.Seals) || !isBinary(l.Heads.Snapshots) {
		return malformed("beat: head")
	}
	return nil
}

func (l *Leaf) checkLists() error {
	if len(l.Persons) > MaxPersons {
		return malformed("leaf: %d persons", len(l.Persons))
	}
	for i, p := range l.Persons {
		if !IsSurrogate(p) || i > 0 && l.Persons[i-1] >= p {
			return malformed("leaf: persons")
		}
	}
	for i := range l.Changes {
		c := &l.Changes[i]
		if c.Path == "" || !canon.IsBytes(c.Old, 32) || !canon.IsBytes(c.New, 32) || c.Who != "" && !IsSurrogate(c.Who) {
			return malformed("leaf: change")
		}
		if c.Odd != "" && c.Odd != "old" && c.Odd != "new" && c.Odd != "both" {
			return malformed("leaf: odd")
		}
		if i > 0 && cmp.Or(cmp.Compare(l.Changes[i-1].Path, c.Path), cmp.Compare(l.Changes[i-1].Who, c.Who)) >= 0 {
			return malformed("leaf: changes out of order, or one twice")
		}
	}
	return nil
}

func isBinary(s string) bool {
	_, err := canon.ParseBytes(s)
	return err == nil
}

// IsSurrogate reports whether s is `s:` and 16 bytes: how a person stands in the
// log.
func IsSurrogate(s string) bool {
	rest, ok := strings.CutPrefix(s, "s:")
	return ok && canon.IsBytes(rest, 16)
}

// ParseID returns the 16 bytes of an event id in its one text form, a UUID in
// lower case.
func ParseID(s string) (id [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || strings.ContainsAny(s, "ABCDEF") {
		return id, malformed("an event id is a UUID in lower case")
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		if i != 8 && i != 13 && i != 18 && i != 23 {
			digits[n] = s[i]
			n++
		}
	}
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return id, malformed("an event id is a UUID in lower case")
	}
	return id, nil
}

// Nobody owns the openings of changes that are about nobody.
const Nobody = "t:"

// Owner is who has the opening of a change: a surrogate, or [Nobody].
func (c LeafChange) Owner() string { return cmp.Or(c.Who, Nobody) }

// Owners lists who has an opening of this event: surrogates, and [Nobody], each
// once, in the order of the changes.
func (l *Leaf) Owners() []string {
	var out []string
	seen := make(map[string]bool)
	for i := range l.Changes {
		owner := l.Changes[i].Owner()
		if !seen[owner] {
			seen[owner] = true
			out = append(out, owner)
		}
	}
	return out
}
