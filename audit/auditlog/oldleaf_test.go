package auditlog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/canon"
)

// How leaves are written and read without anything written for them: through
// reflection, and in three passes. It is slow and short, and what leafwrite.go
// and leafscan.go must agree with.

type plainLeaf struct {
	Action  string        `json:"action,omitempty"`
	Actor   string        `json:"actor,omitempty"`
	At      string        `json:"at"`
	Cap     *plainCapture `json:"cap,omitempty"`
	Changes []LeafChange  `json:"changes,omitempty"`
	For     string        `json:"for,omitempty"`
	Gap     *plainGap     `json:"gap,omitempty"`
	Heads   *LeafHeads    `json:"heads,omitzero"`
	ID      string        `json:"id"`
	Kind    string        `json:"kind"`
	Object  []string      `json:"object,omitempty"`
	Outcome string        `json:"outcome,omitempty"`
	Persons []string      `json:"persons,omitempty"`
	Policy  string        `json:"policy,omitempty"`
	Prior   string        `json:"prior,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Request string        `json:"request,omitempty"`
	Size    *int64        `json:"size,omitzero"`
	Tenant  string        `json:"tenant,omitempty"`
	V       int           `json:"v"`
}

type plainCapture struct {
	Claimed string   `json:"claimed,omitempty"`
	Columns []string `json:"cols,omitempty"`
	Op      string   `json:"op"`
	Table   string   `json:"table"`
}

type plainGap struct {
	Count int64  `json:"count"`
	From  string `json:"from"`
	To    string `json:"to"`
	Why   string `json:"why"`
}

func plainEncode(l *Leaf) ([]byte, error) {
	out := plainLeaf{
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
	if c := l.Capture; c != nil {
		out.Cap = &plainCapture{c.Claimed, c.Columns, c.Op, c.Table}
	}
	if g := l.Gap; g != nil {
		out.Gap = &plainGap{g.Count, canon.FormatTime(g.From), canon.FormatTime(g.To), g.Why}
	}
	data, err := canon.Marshal(out)
	if err == nil && len(data) > MaxLeaf {
		err = ErrTooLarge
	}
	return data, err
}

func plainParse(data []byte) (Leaf, error) {
	if len(data) > MaxLeaf {
		return Leaf{}, malformed("leaf of %d bytes", len(data))
	}
	var in plainLeaf
	if err := canon.Unmarshal(data, &in); err != nil {
		return Leaf{}, fmt.Errorf("%w: leaf: %w", ErrMalformed, err)
	}
	if in.V != 1 {
		return Leaf{}, malformed("leaf of version %d", in.V)
	}
	if err := plainSpelling(data); err != nil {
		return Leaf{}, err
	}
	at, err := canon.ParseTime(in.At)
	if err != nil {
		return Leaf{}, malformed("leaf: time")
	}
	if id, err := uuid.Parse(in.ID); err != nil || id.String() != in.ID {
		return Leaf{}, malformed("leaf: id")
	}
	l := Leaf{
		ID: in.ID, Kind: in.Kind, At: at, Tenant: in.Tenant, Actor: in.Actor, Action: in.Action, Outcome: in.Outcome,
		Persons: in.Persons, Changes: in.Changes, Reason: in.Reason, Request: in.Request, Policy: in.Policy, For: in.For, Prior: in.Prior,
	}
	if err := l.plainMembers(in); err != nil {
		return Leaf{}, err
	}
	if in.Kind == KindBeat {
		return l, l.plainBeat(in)
	}
	return l, l.plainFill(in)
}

// plainSpelling refuses members that we leave out where they say nothing.
func plainSpelling(data []byte) error {
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return malformed("leaf")
	}
	empty := func(in any, names ...string) bool {
		members, _ := in.(map[string]any)
		return slices.ContainsFunc(names, func(name string) bool {
			v, has := members[name]
			list, isList := v.([]any)
			return has && (v == "" || isList && len(list) == 0)
		})
	}
	wrong := empty(all, "action", "actor", "changes", "for", "id", "kind", "object", "outcome", "persons", "policy", "prior", "reason", "request", "tenant") ||
		empty(all["cap"], "claimed", "cols", "op", "table") || empty(all["gap"], "why") || empty(all["heads"], "seals", "snapshots")
	changes, _ := all["changes"].([]any)
	for _, c := range changes {
		wrong = wrong || empty(c, "new", "odd", "old", "path", "who")
	}
	heads, _ := all["heads"].(map[string]any)
	for _, name := range []string{"keys", "ledger"} {
		if head, is := heads[name].(map[string]any); is {
			_, hash := head["hash"]
			_, n := head["n"]
			wrong = wrong || !hash || !n
		}
	}
	if wrong {
		return malformed("leaf: spelt otherwise")
	}
	return nil
}

// plainMembers are those that were not there from the beginning.
func (l *Leaf) plainMembers(in plainLeaf) error {
	if (in.Cap != nil) != (in.Kind == KindCapture) || (in.Gap != nil) != (in.Kind == KindGap) {
		return malformed("leaf: members")
	}
	if c := in.Cap; c != nil {
		l.Capture = &LeafCapture{Table: c.Table, Op: c.Op, Columns: c.Columns, Claimed: c.Claimed}
		if c.Table == "" || len(c.Op) != 1 || !strings.Contains("iudt", c.Op) {
			return malformed("capture")
		}
		for i, name := range c.Columns {
			if name == "" || i > 0 && name <= c.Columns[i-1] {
				return malformed("capture: columns")
			}
		}
	}
	if g := in.Gap; g != nil {
		from, err1 := canon.ParseTime(g.From)
		to, err2 := canon.ParseTime(g.To)
		if err1 != nil || err2 != nil || from.After(to) || g.Count <= 0 || (g.Why != "failed" && g.Why != "suppressed") {
			return malformed("gap")
		}
		l.Gap = &LeafGap{Count: g.Count, From: from, To: to, Why: g.Why}
	}
	return nil
}

func (l *Leaf) plainBeat(in plainLeaf) error {
	if in.Heads == nil || in.Size == nil || *in.Size < 0 {
		return malformed("beat without heads or size")
	}
	l.Heads, l.Size = *in.Heads, *in.Size
	for _, h := range []*LeafHead{l.Heads.Ledger, l.Heads.Keys} {
		if h != nil && (h.N < 0 || !plainBinary(h.Hash)) {
			return malformed("beat: head")
		}
	}
	if !plainBinary(l.Heads.Seals) || !plainBinary(l.Heads.Snapshots) {
		return malformed("beat: head")
	}
	return nil
}

func (l *Leaf) plainFill(in plainLeaf) error {
	switch in.Kind {
	case KindEvent, KindErase, KindPrune, KindKey, KindRecover, KindGap, KindMerge, KindCapture:
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
		if in.Object[0] == "" && in.Object[1] == "" {
			return malformed("leaf: object")
		}
		l.Object = Object{Kind: in.Object[0], ID: in.Object[1], Person: plainSurrogate(in.Object[1])}
	}
	if in.Kind == KindMerge {
		if len(l.Persons) < 2 || l.Object.Kind != "person" || !slices.Contains(l.Persons, l.Object.ID) {
			return malformed("merge")
		}
	}
	return l.plainLists()
}

func (l *Leaf) plainLists() error {
	if len(l.Persons) > MaxPersons {
		return malformed("leaf: %d persons", len(l.Persons))
	}
	for i, p := range l.Persons {
		if !plainSurrogate(p) || (i > 0 && l.Persons[i-1] >= p) {
			return malformed("leaf: persons")
		}
	}
	for i, c := range l.Changes {
		if c.Path == "" || !plainDigest(c.Old) || !plainDigest(c.New) || (c.Who != "" && !plainSurrogate(c.Who)) {
			return malformed("leaf: change")
		}
		if c.Odd != "" && c.Odd != "old" && c.Odd != "new" && c.Odd != "both" {
			return malformed("leaf: odd")
		}
		if i == 0 {
			continue
		}
		if p := l.Changes[i-1]; p.Path > c.Path || p.Path == c.Path && p.Who >= c.Who {
			return malformed("leaf: changes out of order")
		}
	}
	return nil
}

func plainBinary(s string) bool {
	_, err := canon.ParseBytes(s)
	return err == nil
}

func plainSurrogate(s string) bool {
	rest, ok := strings.CutPrefix(s, "s:")
	if !ok {
		return false
	}
	raw, err := canon.ParseBytes(rest)
	return err == nil && len(raw) == 16
}

func plainDigest(s string) bool {
	raw, err := canon.ParseBytes(s)
	return err == nil && len(raw) == 32
}
