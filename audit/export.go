package audit

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/audit/internal/cells"
	"github.com/crmguard/crmguard/internal/canon"
)

// Exported is what an export wrote.
type Exported struct {
	Entries int64 // events
	Rows    int64 // lines behind the first: one a change, and one of an event without any
	// Pending, Behind and Damaged are events that are missing: see [Found].
	Pending, Behind, Damaged int64
	// Pruned is how many of the oldest entries went with retention, whatever they were
	// about: the export begins behind them.
	Pruned int64
	// Unmapped is, where a person was asked for, how many surrogates may be the
	// person's and are nobody's since a restore: see [Found].
	Unmapped int64
}

// exportColumns are the first line of an export.
var exportColumns = []string{
	"index", "at", "clock", "id", "kind", "tenant", "actor", "action", "outcome", "object kind", "object id", "persons",
	"reason", "request", "policy", "for", "prior", "field", "who", "old type", "old", "new type", "new", "verdict",
}

// Export writes the events that [Trail.Find] finds as CSV (RFC 4180, UTF-8), newest
// first: a line for each change, with the values that still open, and one for an
// event without any. The columns of an event stand in each of its lines: index (-1
// waits for its place), at and clock ([Entry.At], and the time that the event itself
// says), id, kind, tenant, actor, action, outcome, object kind, object id, persons
// (of spaces between), reason, request, policy, for, prior; those of a change are
// field, who, old type, old, new type, new, verdict ([OpeningVerdict]). Text that a
// spreadsheet would take for a formula, and text that begins with an apostrophe, stands
// behind an apostrophe, also behind a semicolon, a tab, a bar or a line break in it,
// which some take for the comma. Persons stand under
// their ids, those who were erased under surrogates; a field of bytes is base64url,
// and the types tell what is absent from what is empty.
//
// Memory holds one page. Each is observed as audit.exported (events), and an export
// is over in the middle only with an error. Config.Allow is asked once, and where
// Config.From names an actor two events tell of it: "audit.export" before the first
// line, "audit.exported" with their number behind the last. For the latter a
// context that has ended is outlived by five seconds at most; where the database does
// not take it by then, the first one stands alone.
func (t *Trail) Export(ctx context.Context, w io.Writer, f Filter) (Exported, error) {
	var out Exported
	if err := t.ready(); err != nil {
		return out, err
	}
	f, err := t.checkFilter(ctx, f)
	if err != nil {
		return out, err
	}
	if err := t.allowed(ctx, "audit.export", f.resource()); err != nil {
		return out, fmt.Errorf("audit: export: %w", err)
	}
	id, err := NewID()
	if err != nil {
		return out, err
	}
	begin := Event{ID: id, Tenant: f.Tenant, Action: "audit.export"}
	if err := t.selfNote(ctx, begin); err != nil {
		return out, err
	}
	err = t.export(ctx, csv.NewWriter(w), f, &out)
	end := Event{Tenant: f.Tenant, Action: "audit.exported", For: id, Changes: []Change{{Path: "count", Old: Absent{}, New: out.Entries}}}
	if err != nil {
		end.Outcome = OutcomePartial
	}
	if noted := t.noteEnd(ctx, end); err == nil {
		err = noted
	}
	return out, err
}

// noteEnd records the end of what may have ended because its context did, and waits
// no longer for that than a caller who is gone can be made to.
func (t *Trail) noteEnd(ctx context.Context, e Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer cancel()
	return t.selfNote(ctx, e)
}

const endWait = 5 * time.Second

func (t *Trail) export(ctx context.Context, w *csv.Writer, f Filter, out *Exported) error {
	if err := w.Write(exportColumns); err != nil {
		return fmt.Errorf("audit: export: %w", err)
	}
	q, err := t.question(ctx, f)
	if err != nil {
		return err
	}
	out.Unmapped = q.unmapped
	from := place{first: true, waits: true}
	for !q.nobody {
		found, err := t.find(ctx, q, from, pageMost)
		if err != nil {
			return err
		}
		for i := range found.Entries {
			n, err := found.Entries[i].write(w)
			out.Rows += int64(n)
			if err != nil {
				return fmt.Errorf("audit: export: %w", err)
			}
			out.Entries++
		}
		out.Pending, out.Behind, out.Damaged = out.Pending+found.Pending, max(out.Behind, found.Behind), out.Damaged+found.Damaged
		out.Pruned = max(out.Pruned, found.Pruned)
		if w.Flush(); w.Error() != nil {
			return fmt.Errorf("audit: export: %w", w.Error())
		}
		t.observe(ctx, "audit.exported", float64(out.Entries))
		if found.Next == "" {
			return nil
		}
		if from, err = parsePlace(found.Next); err != nil {
			return err
		}
	}
	if w.Flush(); w.Error() != nil {
		return fmt.Errorf("audit: export: %w", w.Error())
	}
	return nil
}

// write writes the lines of an event.
func (e *Entry) write(w *csv.Writer) (lines int, err error) {
	l := &e.Leaf
	named := func(id string) string {
		if person, ok := e.Persons[id]; ok {
			return person
		}
		return id
	}
	persons := make([]string, 0, len(l.Persons))
	for _, p := range l.Persons {
		persons = append(persons, named(p))
	}
	slices.Sort(persons)
	object := l.Object.ID
	if l.Object.Person {
		object = named(object)
	}
	base := []string{
		strconv.FormatInt(e.Index, 10), canon.FormatTime(e.At), canon.FormatTime(l.At), l.ID, l.Kind, l.Tenant, l.Actor, l.Action, l.Outcome,
		l.Object.Kind, object, strings.Join(persons, " "), l.Reason, l.Request, l.Policy, l.For, l.Prior,
	}
	for i := 1; i < len(base); i++ { // the index is a number
		base[i] = cells.Text(base[i])
	}
	for _, c := range e.Changes {
		row := append(slices.Clone(base), cells.Text(c.Path), cells.Text(c.Who))
		for _, v := range []any{c.Old, c.New} {
			kind, text := "", ""
			if c.Verdict == OpeningOK {
				kind, text = cells.Value(v)
			}
			row = append(row, kind, text)
		}
		if err := w.Write(append(row, string(c.Verdict))); err != nil {
			return lines, err
		}
		lines++
	}
	if len(e.Changes) == 0 {
		lines++
		return lines, w.Write(append(base, make([]string, len(exportColumns)-len(base))...))
	}
	return lines, nil
}
