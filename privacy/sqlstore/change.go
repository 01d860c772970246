package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A set is one assignment of an UPDATE.
type set struct {
	column string
	sql    string
	args   []any
}

// ValueError says that a value cannot become what the map says. Permanent: mend
// the map, or the value. Nothing was erased.
type ValueError struct {
	Table, Column string
	Why           string
}

// Error names table and column.
func (e *ValueError) Error() string {
	return fmt.Sprintf("sqlstore: table %s: column %s: %s", e.Table, e.Column, e.Why)
}

// redacted is what a redaction writes.
func redacted(c datamap.Column) string { return cmp.Or(c.To, datamap.RedactedText) }

// newValues are the assignments that a row which stays still needs; none: it is
// as the map wants it.
func (s *Store) newValues(ctx context.Context, l *located, scope datastore.Scope, p *prepared) (sets []set, err error) {
	documents := map[string]string{}
	for _, c := range l.e.changes {
		action := l.fate.actions[c.Where()]
		if action == datamap.Retain || action == datamap.Shred {
			continue // another store destroys its key
		}
		m := maker{s: s, l: l, scope: scope, p: p, c: c.Column, action: action}
		switch done, known := l.get(isDone(action, c.Column)); {
		case c.Path != "":
			if err := m.member(ctx, documents); err != nil {
				return nil, err
			}
		case known:
			if clean, err := isPositive(done); err != nil || clean {
				if err != nil {
					return nil, err
				}
				continue
			}
			if action == datamap.Null {
				sets = append(sets, set{column: c.Name, sql: "NULL"})
			} else {
				sets = append(sets, set{c.Name, c.field.literal(), []any{redacted(c.Column)}})
			}
		default:
			stored, _ := l.get(shown(c.Name))
			made, changed, err := m.make(ctx, stored)
			switch {
			case err != nil:
				return nil, err
			case changed && made == nil:
				sets = append(sets, set{column: c.Name, sql: "NULL"})
			case changed:
				if n, isNumber := made.(int64); isNumber && !s.sqlite() {
					made = strconv.FormatInt(n, 10) // the literal is a text
				}
				sets = append(sets, set{c.Name, c.field.literal(), []any{made}})
			}
		}
	}
	for column, document := range documents {
		sets = append(sets, set{column, s.at("", l.e.Name, column).literal(), []any{document}})
	}
	slices.SortFunc(sets, func(a, b set) int { return strings.Compare(a.column, b.column) })
	return sets, nil
}

// A maker makes the new value of one column of one row.
type maker struct {
	s      *Store
	l      *located
	scope  datastore.Scope
	p      *prepared
	c      datamap.Column
	action datamap.Action
}

func (m maker) fail(why string) error {
	return &ValueError{m.l.e.Name, m.c.Where(), why}
}

// make is the value that the action makes of a stored one; changed is false
// where it is that already. nil is NULL.
func (m maker) make(ctx context.Context, stored any) (made any, changed bool, err error) {
	v, err := value.Scanned(stored)
	if err != nil || v.IsNull() {
		return nil, false, err
	}
	if m.action == datamap.Generalise {
		made, changed = coarse(v, m.c.To)
		return made, changed, nil
	}
	text, err := textOf(stored)
	if err != nil {
		return nil, false, m.fail("holds what is no text: say null, or redact to a value of its type")
	}
	fresh, err := m.text(ctx, text)
	return fresh, fresh != text, err
}

// text is what the action makes of a text.
func (m maker) text(ctx context.Context, text string) (string, error) {
	switch m.action {
	case datamap.Redact:
		return strings.ReplaceAll(redacted(m.c), datamap.RowMark, rowCode(m.scope.Tenant, m.l.e.Name, m.c.Where(), m.l.name())), nil
	case datamap.Pseudonymise:
		if isCode(text, m.c.To) {
			return text, nil
		}
		return m.p.made(ctx, m, text)
	case datamap.Scrub:
		if m.p.isScrubbed(m, text) {
			return text, nil
		}
		return m.p.made(ctx, m, text)
	default:
		return "", m.fail("nothing is known about the action " + string(m.action))
	}
}

// rowCode differs from row to row, so that a UNIQUE column can be redacted: the
// first 16 hexadecimal digits of SHA-256 over LP(tenant) ‖ LP(table) ‖ LP(column)
// ‖ LP(key), for keys may be unique within a tenant only. It is no secret, and says
// nothing about what stood there.
func rowCode(tenant, table, column, key string) string {
	sum := sha256.Sum256(frame.Join(tenant, table, column, key))
	return hex.EncodeToString(sum[:8])
}

// A code is 24 hexadecimal digits of what the application's keyed function gave,
// and 8 by which a read-back tells it from a value that nobody has replaced.
const codeDigits, checkDigits = 24, 8

func codeOf(mac []byte) string {
	sum := sha256.Sum256(frame.Join([]byte("crmguard/privacy/pseudonym/v1"), mac))
	code := hex.EncodeToString(sum[:codeDigits/2])
	return code + checkOf(code)
}

func checkOf(code string) string {
	sum := sha256.Sum256(frame.Join("crmguard/privacy/pseudonym/check/v1", code))
	return hex.EncodeToString(sum[:checkDigits/2])
}

// isCode reports whether a text is a code as To writes it.
func isCode(text, to string) bool {
	before, after, _ := strings.Cut(cmp.Or(to, datamap.CodeMark), datamap.CodeMark)
	text, starts := strings.CutPrefix(text, before)
	text, ends := strings.CutSuffix(text, after)
	return starts && ends && len(text) == codeDigits+checkDigits && text[codeDigits:] == checkOf(text[:codeDigits])
}

// coarse makes a value as coarse as to says. What is no date is NULL then: it
// says more than the map allows.
func coarse(v value.Value, to string) (made any, changed bool) {
	if n, ok := strings.CutPrefix(to, "first:"); ok {
		text, err := v.Text()
		length, bad := strconv.Atoi(n)
		if err != nil || bad != nil {
			return nil, true
		}
		if utf8.RuneCountInString(text) <= length {
			return text, false
		}
		return string([]rune(text)[:length]), true
	}
	if micros, ok := microseconds(v); ok {
		at := time.UnixMicro(micros).UTC()
		return coarseTime(at, to).UnixMicro(), !coarseTime(at, to).Equal(at)
	}
	at, err := v.Time(time.UTC)
	if err != nil {
		return nil, true
	}
	text, err := v.Text()
	if err != nil {
		text = time.RFC3339
	}
	at = at.UTC()
	return coarseTime(at, to).Format(layoutOf(text)), !coarseTime(at, to).Equal(at)
}

func coarseTime(at time.Time, to string) time.Time {
	year, month := at.Year(), time.January
	switch to {
	case datamap.ToMonth:
		month = at.Month()
	case datamap.ToDecade:
		year -= year % 10
	}
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
}

// layoutOf is the form in which a date stands there.
func layoutOf(text string) string {
	switch {
	case len(text) == len(time.DateOnly):
		return time.DateOnly
	case text[10] == 'T':
		return "2006-01-02T15:04:05Z07:00"
	case strings.ContainsAny(text[10:], "+-Z"):
		return "2006-01-02 15:04:05-07:00"
	}
	return time.DateTime
}
