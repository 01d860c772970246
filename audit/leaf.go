package audit

import (
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
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
	Size    int64     // of a beat: entries before it
	Heads   LeafHeads // of a beat
}

// LeafChange is one changed field: commitments to the value before and after.
type LeafChange struct {
	Path string `json:"path"`          // declared name, "c:" and a commitment to the name, or "*": all fields of Who, of an event of very many
	Old  string `json:"old"`           // commitment, base64url
	New  string `json:"new"`           // commitment, base64url
	Who  string `json:"who,omitempty"` // surrogate; "" for nobody
	Odd  string `json:"odd,omitempty"` // old, new or both: which values had no encoding, see [StandIn]
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

type leafJSON struct {
	Action  string       `json:"action,omitempty"`
	Actor   string       `json:"actor,omitempty"`
	At      string       `json:"at"`
	Changes []LeafChange `json:"changes,omitempty"`
	For     string       `json:"for,omitempty"`
	Heads   *LeafHeads   `json:"heads,omitzero"`
	ID      string       `json:"id"`
	Kind    string       `json:"kind"`
	Object  []string     `json:"object,omitempty"`
	Outcome string       `json:"outcome,omitempty"`
	Persons []string     `json:"persons,omitempty"`
	Policy  string       `json:"policy,omitempty"`
	Prior   string       `json:"prior,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Request string       `json:"request,omitempty"`
	Size    *int64       `json:"size,omitzero"`
	Tenant  string       `json:"tenant,omitempty"`
	V       int          `json:"v"`
}

// encode returns the bytes that are hashed.
func (l *Leaf) encode() ([]byte, error) {
	out := leafJSON{
		Action: l.Action, Actor: l.Actor, At: canon.FormatTime(l.At), Changes: l.Changes, For: l.For,
		ID: l.ID, Kind: l.Kind, Outcome: l.Outcome, Persons: l.Persons, Policy: l.Policy, Prior: l.Prior,
		Reason: l.Reason, Request: l.Request, Tenant: l.Tenant, V: 1,
	}
	if l.Object != (Object{}) {
		out.Object = []string{l.Object.Kind, l.Object.ID}
	}
	if l.Kind == KindBeat {
		out.Heads, out.Size = &l.Heads, &l.Size
	}
	data, err := canon.Marshal(out)
	if err != nil {
		return nil, err
	}
	if len(data) > maxLeaf {
		return nil, fmt.Errorf("%w: leaf of %d bytes", ErrTooLarge, len(data))
	}
	return data, nil
}

// ParseLeaf reads an entry of the log. Bytes that are not canonical, another
// version, a missing member or one of the wrong form are refused; unknown
// members are allowed, for the bytes as received are what is verified.
func ParseLeaf(data []byte) (Leaf, error) {
	if len(data) > maxLeaf {
		return Leaf{}, malformed("leaf of %d bytes", len(data))
	}
	var in leafJSON
	if err := canon.Unmarshal(data, &in); err != nil {
		return Leaf{}, fmt.Errorf("%w: leaf: %w", ErrMalformed, err)
	}
	if in.V != 1 {
		return Leaf{}, malformed("leaf of version %d", in.V)
	}
	at, err := canon.ParseTime(in.At)
	if err != nil {
		return Leaf{}, malformed("leaf: time")
	}
	if _, err := parseID(in.ID); err != nil {
		return Leaf{}, malformed("leaf: id")
	}
	l := Leaf{
		ID: in.ID, Kind: in.Kind, At: at, Tenant: in.Tenant, Actor: in.Actor, Action: in.Action, Outcome: in.Outcome,
		Persons: in.Persons, Changes: in.Changes, Reason: in.Reason, Request: in.Request, Policy: in.Policy, For: in.For, Prior: in.Prior,
	}
	if in.Kind == KindBeat {
		return l, l.beat(in)
	}
	return l, l.fill(in)
}

func (l *Leaf) beat(in leafJSON) error {
	if in.Heads == nil || in.Size == nil || *in.Size < 0 {
		return malformed("beat without heads or size")
	}
	l.Heads, l.Size = *in.Heads, *in.Size
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

func isBinary(s string) bool {
	_, err := canon.ParseBytes(s)
	return err == nil
}

func (l *Leaf) fill(in leafJSON) error {
	switch in.Kind {
	case KindEvent, KindErase, KindPrune, KindKey, KindRecover, KindGap:
	default:
		return malformed("leaf: kind")
	}
	if in.Heads != nil || in.Size != nil {
		return malformed("leaf: members of a beat")
	}
	if l.Action == "" || l.Actor == "" || l.Tenant == "" {
		return malformed("leaf: action, actor or tenant")
	}
	switch l.Outcome {
	case OutcomeOK, OutcomeDenied, OutcomeFailed, OutcomePartial:
	default:
		return malformed("leaf: outcome")
	}
	if in.Object != nil {
		if len(in.Object) != 2 {
			return malformed("leaf: object")
		}
		l.Object = Object{Kind: in.Object[0], ID: in.Object[1], Person: isSurrogate(in.Object[1])}
	}
	return l.lists()
}

func (l *Leaf) lists() error {
	if len(l.Persons) > maxPersons {
		return malformed("leaf: %d persons", len(l.Persons))
	}
	for i, p := range l.Persons {
		if !isSurrogate(p) || (i > 0 && l.Persons[i-1] >= p) {
			return malformed("leaf: persons")
		}
	}
	for i, c := range l.Changes {
		if c.Path == "" || !isDigest(c.Old) || !isDigest(c.New) || (c.Who != "" && !isSurrogate(c.Who)) {
			return malformed("leaf: change")
		}
		if c.Odd != "" && c.Odd != "old" && c.Odd != "new" && c.Odd != "both" {
			return malformed("leaf: odd")
		}
		if i > 0 && l.Changes[i-1].Path > c.Path {
			return malformed("leaf: changes out of order")
		}
	}
	return nil
}

// isSurrogate reports whether s is `s:` and 16 bytes.
func isSurrogate(s string) bool {
	rest, ok := strings.CutPrefix(s, "s:")
	if !ok {
		return false
	}
	raw, err := canon.ParseBytes(rest)
	return err == nil && len(raw) == 16
}

// isDigest reports whether s is the text of 32 bytes.
func isDigest(s string) bool {
	raw, err := canon.ParseBytes(s)
	return err == nil && len(raw) == 32
}

// owners lists who has an opening of this event: surrogates, and nobody.
func (l *Leaf) owners() []string {
	seen := make(map[string]bool)
	var out []string
	for _, c := range l.Changes {
		owner := ownerOf(c.Who)
		if !seen[owner] {
			seen[owner] = true
			out = append(out, owner)
		}
	}
	return out
}

// nobody owns the openings of changes that are about nobody.
const nobody = "t:"

func ownerOf(who string) string {
	if who == "" {
		return nobody
	}
	return who
}
