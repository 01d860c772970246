package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// prepared is what the application was asked for outside of the transaction,
// while connections may still be used freely.
type prepared struct {
	cfg      *Config
	calls    bool // outside of a transaction: what is missing is asked for
	lists    bool // whose the rows are is all: nothing is made of them
	together bool // the scopes are erased one behind the other: what is only theirs goes
	texts    map[string]string
	scrubbed map[string]bool
	joint    map[jointID]Redaction
}

// A jointID names a record of several persons, and whom of them an erasure takes
// out of it.
type jointID struct {
	person string
	row    rowID
}

func (s *Store) preparing() *prepared {
	return &prepared{cfg: &s.cfg, calls: true, texts: map[string]string{}, scrubbed: map[string]bool{}, joint: map[jointID]Redaction{}}
}

// listing is for whoever changes nothing: a value that cannot become what the map
// says is no obstacle then.
func (s *Store) listing() *prepared { return &prepared{lists: true} }

func changed(table string) error {
	return fmt.Errorf("sqlstore: erase: a row of table %s came or changed meanwhile: %w", table, datastore.ErrLater)
}

// made is the code, or the scrubbed text, that stands for a text.
func (p *prepared) made(ctx context.Context, m maker, text string) (string, error) {
	id := strings.Join([]string{string(m.action), m.scope.Tenant, m.scope.Person, m.l.e.Name, m.c.Where(), m.l.name(), text}, "\x00")
	if made, ok := p.texts[id]; ok {
		return made, nil
	}
	if !p.calls {
		return "", changed(m.l.e.Name)
	}
	made, err := p.ask(ctx, m, text)
	if err != nil {
		return "", dbError(string(m.action), m.l.e.Name, err)
	}
	p.texts[id] = made
	if m.action == datamap.Scrub {
		p.scrubbed[m.scrubbed(made)] = true
	}
	return made, nil
}

func (p *prepared) ask(ctx context.Context, m maker, text string) (string, error) {
	if m.action == datamap.Scrub {
		return p.cfg.Scrub(ctx, ScrubText{m.scope.Tenant, m.scope.Person, m.l.e.Name, m.c.Where(), m.l.name(), text})
	}
	mac, err := p.cfg.Pseudonym(ctx, m.scope.Tenant, []byte(text))
	if err != nil {
		return "", err
	}
	if m.c.To == "" {
		return codeOf(mac), nil
	}
	return strings.ReplaceAll(m.c.To, datamap.CodeMark, codeOf(mac)), nil
}

func (m maker) scrubbed(text string) string {
	return strings.Join([]string{m.scope.Tenant, m.l.e.Name, m.c.Where(), m.l.name(), text}, "\x00")
}

func (p *prepared) isScrubbed(m maker, text string) bool { return p.scrubbed[m.scrubbed(text)] }

// prepare asks the application for identities, for codes and scrubbed texts, and
// how each joint record is to be redacted.
func (s *Store) prepare(ctx context.Context, scopes []datastore.Scope) ([]seeker, *prepared, error) {
	seekers, err := s.resolve(ctx, scopes)
	if err != nil {
		return nil, nil, err
	}
	p := s.preparing()
	if s.asks {
		found, err := s.find(ctx, s.db, seekers, p, nil)
		if err != nil {
			return nil, nil, err
		}
		for _, l := range found {
			scope := seekers[l.scope].Scope
			if !l.others || !l.covers(scope) {
				continue
			}
			owner, _ := l.owner() // readRow has read it
			r, err := s.cfg.Redact(ctx, JointRow{scope.Tenant, scope.Person, l.e.Name, l.name(), owner})
			if err != nil {
				return nil, nil, dbError("redact", l.e.Name, err)
			}
			p.joint[jointID{scope.Person, l.id()}] = r
		}
	}
	p.calls = false
	return seekers, p, nil
}
