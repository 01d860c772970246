package integrity

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// take judges one element of the sequence.
func (r *importRun) take(ctx context.Context, row Row, err error) error {
	if err != nil {
		broken, lost := errors.AsType[*RowError](err)
		if !lost {
			return err
		}
		fault := broken.Fault
		fault.Field = ""
		if fault.Outcome != ColumnRenamed {
			fault.Outcome = RowRejected
			r.report.Read++
			r.report.Rejected++
		}
		return r.tell(fault)
	}
	r.report.Read++
	for _, name := range row.Dropped {
		r.report.ColumnsDropped[name]++
	}
	judged := r.judge(row)
	if judged.rejected {
		r.report.Rejected++
	}
	for _, fault := range judged.faults {
		if err := r.tell(fault); err != nil {
			if !judged.rejected {
				r.report.Rejected++ // it will not be accepted any more
			}
			return err
		}
	}
	if judged.rejected {
		return nil
	}
	return r.accept(ctx, Accepted{Line: row.Line, Values: judged.values, Custom: judged.custom, Faults: judged.faults})
}

type judgement struct {
	values, custom map[string]any
	faults         []Fault
	rejected       bool
	line           int
}

// judge sorts a row into typed values, custom values and faults.
func (r *importRun) judge(row Row) *judgement {
	j := &judgement{values: make(map[string]any, len(row.Values)), custom: map[string]any{}, line: row.Line}
	s := r.Schema
	broken := make(map[int]Fault) // by index of the field
	for _, f := range row.Faults {
		f.Line = row.Line
		if i, known := s.index[f.Field]; known {
			broken[i] = f
			continue
		}
		f.Field, f.Outcome = "", FieldDropped
		j.faults = append(j.faults, f)
	}
	for name, held := range row.Values {
		i, known := s.index[name]
		value := given(held)
		switch {
		case !known:
			j.keep(row, name, value)
		case blank(value, s.fields[i].FreeText):
		default:
			p := &s.fields[i]
			read, code := p.read(value, r.Dates)
			if code == "" {
				code = p.check(read)
			}
			if code != "" {
				broken[i] = j.fault(p, code)
			} else if _, bad := broken[i]; !bad {
				j.values[name] = p.typed(read)
			}
		}
	}
	slices.SortFunc(j.faults, func(a, b Fault) int { return cmp.Compare(a.Column, b.Column) })
	j.check(s, broken)
	if !j.rejected {
		r.checkUnique(j)
	}
	if j.rejected {
		j.faults = rejecting(j.faults)
	}
	return j
}

// keep takes a value that the schema does not know, unless no text may hold
// what it holds.
func (j *judgement) keep(row Row, name string, value any) {
	if blank(value, true) {
		return
	}
	text, _ := value.(string)
	if code := cmp.Or(checkPlain(text), checkHygiene(text, true)); code != "" {
		j.add(Fault{Line: row.Line, Column: row.places[name], Code: code}, false)
		return
	}
	j.custom[name] = value
}

func (j *judgement) fault(p *plan, code Code) Fault {
	return Fault{Line: j.line, Field: p.Name, Code: code, Params: p.params(code)}
}

// check drops what breaks a rule, in the order of the fields.
func (j *judgement) check(s *Schema, broken map[int]Fault) {
	for i, code := range s.ask(j.values) {
		broken[i] = j.fault(&s.fields[i], code)
	}
	var present uint64
	for i := range s.fields {
		p := &s.fields[i]
		fault, bad := broken[i]
		_, there := j.values[p.Name]
		switch {
		case bad:
			delete(j.values, p.Name)
			j.add(fault, p.Required)
		case there:
			present |= p.group
		case p.Required:
			j.add(j.fault(p, CodeRequired), true)
		}
	}
	for i := range s.groups {
		if present&(1<<i) == 0 {
			v := s.groupViolation(i)
			j.blame(s.groups[i].names)
			j.add(Fault{Line: j.line, Field: s.fields[s.groups[i].first].Name, Code: v.Code, Params: v.Params}, true)
		}
	}
}

// blame says that the faults of these fields reject the row: they left their
// group empty.
func (j *judgement) blame(names []string) {
	for i := range j.faults {
		if slices.Contains(names, j.faults[i].Field) {
			j.faults[i].Outcome = RowRejected
		}
	}
}

func (j *judgement) add(f Fault, rejects bool) {
	f.Outcome = FieldDropped
	if rejects {
		f.Outcome = RowRejected
		j.rejected = true
	}
	j.faults = append(j.faults, f)
}

// rejecting keeps the faults that rejected the row: where the row is left out,
// saying that a value was dropped from it would be untrue.
func rejecting(faults []Fault) []Fault {
	kept := faults[:0]
	for _, f := range faults {
		if f.Outcome == RowRejected {
			kept = append(kept, f)
		}
	}
	return kept
}

// uniqueField remembers the values of a field as salted digests, so that the
// memory is small and holds no addresses.
type uniqueField struct {
	name string
	salt [16]byte
	seen map[[16]byte]int // digest to line
}

func newUniqueField(name string) uniqueField {
	u := uniqueField{name: name, seen: map[[16]byte]int{}}
	_, _ = rand.Read(u.salt[:]) // never fails
	return u
}

func (u *uniqueField) digest(value any) [16]byte {
	text, ok := value.(string)
	if !ok {
		text = canonicalText(value)
	}
	sum := sha256.Sum256(append(u.salt[:len(u.salt):len(u.salt)], fold(text)...))
	return [16]byte(sum[:16])
}

// fold is what two spellings of one address have in common.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case invisible(r) && !unicode.IsSpace(r):
			return -1
		}
		return r
	}, norm.NFC.String(strings.TrimFunc(s, invisible)))
}

// checkUnique rejects a row whose unique value stood in an accepted one, and
// otherwise remembers its values.
func (r *importRun) checkUnique(j *judgement) {
	digests := make([][16]byte, len(r.unique))
	for i := range r.unique {
		u := &r.unique[i]
		value, there := j.values[u.name]
		if !there {
			continue
		}
		digests[i] = u.digest(value)
		if line, taken := u.seen[digests[i]]; taken {
			j.add(Fault{Line: j.line, Field: u.name, Code: CodeDuplicate, Params: []Param{{"line", strconv.Itoa(line)}}}, true)
		}
	}
	if j.rejected {
		return
	}
	for i := range r.unique {
		if _, there := j.values[r.unique[i].name]; there {
			r.unique[i].seen[digests[i]] = j.line
		}
	}
}

func compareCounts(a, b FaultCount) int {
	return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Outcome, b.Outcome))
}
