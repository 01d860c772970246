package erasurelog

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/canon"
)

const version = 1

// A wireEntry is an entry as its line has it. Binary members are base64url.
type wireEntry struct {
	Aliases  []string  `json:"aliases,omitempty"`
	Approved string    `json:"approved,omitempty"`
	At       string    `json:"at"`
	Because  string    `json:"because,omitempty"`
	By       string    `json:"by,omitempty"`
	Cert     string    `json:"cert,omitempty"`
	KeyID    string    `json:"keyid"`
	Known    []string  `json:"known,omitempty"`
	MAC      string    `json:"mac,omitempty"`
	N        int64     `json:"n"`
	Op       Op        `json:"op"`
	Person   string    `json:"person,omitempty"`
	Plan     string    `json:"plan"`
	Prev     string    `json:"prev"`
	Refs     []string  `json:"refs,omitempty"`
	Scope    string    `json:"scope"`
	Tenant   string    `json:"tenant,omitempty"`
	Tops     []wireTop `json:"tops,omitempty"`
	Until    string    `json:"until,omitempty"`
	V        int64     `json:"v"`
}

// A wireTop is one of Entry.Tops; the number is decimal text, because JSON
// numbers end at 2^53.
type wireTop struct {
	Column string `json:"column"`
	N      string `json:"n"`
}

// seal completes an entry behind a head and returns its line.
func (l *Log) seal(ctx context.Context, e Entry, behind Head) ([]byte, error) {
	w := wireEntry{
		Aliases: e.Aliases, Approved: e.Approved, At: canon.FormatTime(e.At), Because: e.Because, By: e.By, Cert: e.Cert, KeyID: rootText(e.Root), Known: e.Known,
		N: behind.N + 1, Op: e.Op, Person: e.Person, Plan: e.Plan, Prev: behind.Hash, Refs: e.Refs, Scope: scopeOf(e.Op), Tenant: e.Tenant, V: version,
	}
	if !e.Until.IsZero() {
		w.Until = canon.FormatTime(e.Until)
	}
	for _, column := range slices.Sorted(maps.Keys(e.Tops)) {
		w.Tops = append(w.Tops, wireTop{column, strconv.FormatInt(e.Tops[column], 10)})
	}
	covered, err := canon.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	mac, known, err := l.digests.under(ctx, e.Root, labelMAC, covered)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("%w: its root is none of the ledger's: digest anew", ErrEntry)
	}
	w.MAC = canon.FormatBytes(mac)
	line, err := canon.Marshal(w)
	if err == nil && len(line) >= MaxLine {
		err = fmt.Errorf("%w: it is longer than %d bytes: name fewer rows", ErrEntry, MaxLine)
	}
	return line, err
}

func scopeOf(op Op) string {
	switch op {
	case Clock:
		return "ledger"
	case Unsuppress:
		return "tenant"
	default:
		return "person"
	}
}

// A lineReader reads lines one after the other; what it returns is good until
// the next one.
type lineReader struct {
	wireEntry
	covered []byte // what the mac covers: the line without that member
}

// read reads the canonical form of a line, in one pass.
func (r *lineReader) read(line []byte) error {
	r.wireEntry = wireEntry{Aliases: r.Aliases[:0], Known: r.Known[:0], Refs: r.Refs[:0], Tops: r.Tops[:0]}
	r.covered = r.covered[:0]
	s := canon.Scan(string(line))
	in, from, to := s.Begin(), 0, 0
	for {
		before := s.At()
		name, ok := s.Member(&in)
		if !ok {
			break
		}
		r.member(&s, name)
		if name == "mac" {
			from, to = before, s.At()
		}
	}
	if err := s.End(); err != nil {
		return err
	}
	if from < 2 { // the first member has no comma before it, and is never the mac
		return errors.New("a member is missing")
	}
	r.covered = append(append(r.covered, line[:from]...), line[to:]...)
	return nil
}

func (r *lineReader) member(s *canon.Scanner, name string) {
	switch name {
	case "aliases":
		r.Aliases = texts(s, r.Aliases)
	case "approved":
		r.Approved = s.Text()
	case "at":
		r.At = s.Text()
	case "because":
		r.Because = s.Text()
	case "by":
		r.By = s.Text()
	case "cert":
		r.Cert = s.Text()
	case "keyid":
		r.KeyID = s.Text()
	case "known":
		r.Known = texts(s, r.Known)
	case "mac":
		r.MAC = s.Text()
	case "n":
		r.N = s.Int()
	case "op":
		r.Op = Op(s.Text())
	case "person":
		r.Person = s.Text()
	case "plan":
		r.Plan = s.Text()
	case "prev":
		r.Prev = s.Text()
	case "refs":
		r.Refs = texts(s, r.Refs)
	case "scope":
		r.Scope = s.Text()
	case "tenant":
		r.Tenant = s.Text()
	case "tops":
		r.Tops = tops(s, r.Tops)
	case "until":
		r.Until = s.Text()
	case "v":
		r.V = s.Int()
	default:
		s.Skip()
	}
}

func texts(s *canon.Scanner, list []string) []string {
	for in := s.List(); s.Element(&in); {
		list = append(list, s.Text())
	}
	return list
}

func tops(s *canon.Scanner, list []wireTop) []wireTop {
	for in := s.List(); s.Element(&in); {
		var top wireTop
		members := s.Begin()
		for name, ok := s.Member(&members); ok; name, ok = s.Member(&members) {
			switch name {
			case "column":
				top.Column = s.Text()
			case "n":
				top.N = s.Text()
			default:
				s.Skip()
			}
		}
		list = append(list, top)
	}
	return list
}

// check verifies a line at its place in the chain and returns its entry, whose
// lists are good until the next line.
func (l *Log) check(ctx context.Context, r *lineReader, line []byte, behind Head) (Entry, error) {
	n := behind.N + 1
	if err := r.read(line); err != nil {
		return Entry{}, l.fail(ErrForged, n, err.Error(), remedyForged)
	}
	root, err := parseRoot(r.KeyID)
	if err != nil {
		return Entry{}, l.fail(ErrForged, n, "a key id that is no number", remedyForged)
	}
	want, known, err := l.digests.under(ctx, root, labelMAC, r.covered)
	if err != nil {
		return Entry{}, err
	}
	if !known {
		return Entry{}, l.fail(ErrForeign, n, "written with root "+rootText(root), remedyOther)
	}
	if got, err := canon.ParseBytes(r.MAC); err != nil || !hmac.Equal(got, want) {
		return Entry{}, l.fail(ErrForged, n, "its mac does not verify", remedyForged)
	}
	if r.N != n || r.Prev != behind.Hash {
		return Entry{}, l.fail(ErrForged, n, "it does not follow the entry before it", remedyForged)
	}
	if r.V != version || !isOp(r.Op) {
		return Entry{}, l.fail(ErrNewer, n, "", remedyNewer)
	}
	e, err := r.entry(root)
	if err != nil {
		return Entry{}, l.fail(ErrForged, n, err.Error(), remedyForged)
	}
	return e, nil
}

// entry takes the members apart that have a form.
func (r *lineReader) entry(root uint32) (Entry, error) {
	e := Entry{
		Op: r.Op, Plan: r.Plan, N: r.N, Root: root, Tenant: r.Tenant, Person: r.Person, Aliases: r.Aliases, Refs: r.Refs, Known: r.Known,
		Cert: r.Cert, By: r.By, Approved: r.Approved, Because: r.Because,
	}
	var err error
	if e.At, err = canon.ParseTime(r.At); err != nil {
		return Entry{}, err
	}
	if e.Until, err = parseUntil(r.Until); err != nil {
		return Entry{}, err
	}
	if e.Tops, err = parseTops(r.Tops); err != nil {
		return Entry{}, err
	}
	return e, e.formed()
}

func parseUntil(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return canon.ParseTime(text)
}

func parseTops(list []wireTop) (map[string]int64, error) {
	if len(list) == 0 {
		return nil, nil //nolint:nilnil // no numbers are no error
	}
	tops := map[string]int64{}
	for _, top := range list {
		n, err := strconv.ParseInt(top.N, 10, 64)
		if err != nil {
			return nil, errors.New("a highest number that is none")
		}
		tops[top.Column] = n
	}
	return tops, nil
}

func isOp(op Op) bool {
	return slices.Contains(ops(), op)
}

// formed says what is missing or has no form, of an entry that stands alone.
func (e Entry) formed() error {
	if id, err := uuid.Parse(e.Plan); err != nil || id.String() != e.Plan || id == uuid.Nil {
		return fmt.Errorf("%w: Plan is no UUID in lower case", ErrEntry)
	}
	if !isOp(e.Op) {
		return fmt.Errorf("%w: Op is none", ErrEntry)
	}
	scope := scopeOf(e.Op)
	if scope == "person" && e.Person == "" || scope != "ledger" && e.Tenant == "" {
		return fmt.Errorf("%w: Person and Tenant are needed", ErrEntry)
	}
	for _, list := range [][]string{{e.Person, e.Tenant, e.Cert, e.By, e.Approved}, e.Aliases, e.Refs, e.Known} {
		for _, digest := range list {
			if digest != "" && !canon.IsBytes(digest, sha256.Size) {
				return fmt.Errorf("%w: a digest that is not 32 bytes in base64url", ErrEntry)
			}
		}
	}
	if slices.Contains(slices.Concat(e.Aliases, e.Refs, e.Known), "") {
		return fmt.Errorf("%w: an empty digest", ErrEntry)
	}
	switch {
	case slices.Contains([]Op{Older, Newer}, e.Op) && len(e.Refs) == 0:
		return fmt.Errorf("%w: Refs are needed", ErrEntry)
	case e.Op == Unsuppress && len(e.Known) == 0:
		return fmt.Errorf("%w: Known is needed", ErrEntry)
	}
	return nil
}

// micro is a time as entries have it.
func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func lineHash(line []byte) string {
	sum := sha256.Sum256(line)
	return canon.FormatBytes(sum[:])
}
