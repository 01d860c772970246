package certificate

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://github.com/crmguard/crmguard/erasure/v1"
	namePrefix    = "erasure/"
)

// The in-toto statement, its members in the order of their bytes.
type statementJSON struct {
	Type          string        `json:"_type"`
	Predicate     predicateJSON `json:"predicate"`
	PredicateType string        `json:"predicateType"`
	Subject       []subjectJSON `json:"subject"`
}

type subjectJSON struct {
	Digest map[string]string `json:"digest"`
	Name   string            `json:"name"`
}

type predicateJSON struct {
	AuditEvent       string        `json:"audit_event_id,omitempty"`
	Classes          []recordsJSON `json:"classes"`
	FinalAt          string        `json:"final_at"`
	NotCovered       []string      `json:"not_covered"`
	UnreadableLiveAt string        `json:"unreadable_live_at"`
}

type recordsJSON struct {
	Because string `json:"because,omitempty"`
	Class   Class  `json:"class"`
	Count   int64  `json:"count"`
	Store   string `json:"store"`
	Table   string `json:"table"`
	Until   string `json:"until,omitempty"`
}

// encode is the payload that is signed.
func (s Statement) encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	p := predicateJSON{
		AuditEvent: s.AuditEvent, Classes: []recordsJSON{}, NotCovered: append([]string{}, s.NotCovered...),
		UnreadableLiveAt: canon.FormatTime(s.UnreadableLiveAt), FinalAt: canon.FormatTime(s.FinalAt),
	}
	for _, r := range s.Records {
		if r.Count == 0 {
			continue
		}
		line := recordsJSON{Store: r.Store, Table: r.Table, Class: r.Class, Count: r.Count, Because: r.Because}
		if !r.Until.IsZero() {
			line.Until = canon.FormatTime(r.Until)
		}
		p.Classes = append(p.Classes, line)
	}
	payload, err := canon.Marshal(statementJSON{
		Type: statementType, PredicateType: predicateType, Predicate: p,
		Subject: []subjectJSON{{
			Name:   namePrefix + strconv.FormatInt(s.Intent, 10),
			Digest: map[string]string{"sha256": hex.EncodeToString(s.Person)},
		}},
	})
	if err != nil {
		return nil, wrong("text that is not UTF-8, or a number beyond 2^53")
	}
	if _, err := decode(payload); err != nil {
		return nil, wrong("what is written cannot be read back: a date outside the years 0 to 9999")
	}
	return payload, nil
}

// decode reads a payload whose signature was verified.
func decode(payload []byte) (Statement, error) {
	var j statementJSON
	if err := canon.Unmarshal(payload, &j); err != nil {
		return Statement{}, malformed("the statement is not canonical JSON")
	}
	if j.Type != statementType || j.PredicateType != predicateType || len(j.Subject) != 1 {
		return Statement{}, malformed("not an erasure statement")
	}
	r := reader{}
	s := Statement{
		Intent: r.intent(j.Subject[0].Name), Person: r.hex(j.Subject[0].Digest["sha256"]),
		NotCovered: j.Predicate.NotCovered, AuditEvent: j.Predicate.AuditEvent,
		UnreadableLiveAt: r.time(j.Predicate.UnreadableLiveAt), FinalAt: r.time(j.Predicate.FinalAt),
	}
	for _, c := range j.Predicate.Classes {
		line := Records{Store: c.Store, Table: c.Table, Class: c.Class, Count: c.Count, Because: c.Because}
		if c.Until != "" {
			line.Until = r.time(c.Until)
		}
		s.Records = append(s.Records, line)
	}
	if err := s.check(); r.failed || err != nil {
		return Statement{}, malformed("a member that does not say what it must")
	}
	return s, nil
}

// reader reads members one after another and remembers whether one failed.
type reader struct{ failed bool }

func (r *reader) time(text string) time.Time {
	at, err := canon.ParseTime(text)
	r.failed = r.failed || err != nil
	return at
}

func (r *reader) hex(text string) []byte {
	data, err := hex.DecodeString(text)
	r.failed = r.failed || err != nil || hex.EncodeToString(data) != text
	return data
}

func (r *reader) intent(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(name, namePrefix), 10, 64)
	r.failed = r.failed || err != nil || namePrefix+strconv.FormatInt(n, 10) != name
	return n
}

func malformed(text string) error { return fmt.Errorf("%w: %s", ErrMalformed, text) }
