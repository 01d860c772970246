package erasurelog

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// An index is what memory holds of the entries: enough to answer everything,
// small enough for a million of them. It only grows, an entry at a time, so that
// each [State] is the beginning of one.
//
// Digests and plans are numbered from 1 as they appear. What belongs together
// is chained from the newest entry backwards, so that an entry costs the same
// however many there are.
type index struct {
	mu      sync.RWMutex
	records []record
	plans   []plan
	digests []digest
	posts   []post
	intents []uint32 // records
	holds   []uint32 // records
	faults  []Fault
	tops    map[string][]top

	planOf   map[[16]byte]uint32
	digestOf map[[sha256.Size]byte]uint32
}

type record struct {
	hash    [sha256.Size]byte
	at      int64  // microseconds
	more    string // JSON of what few entries have
	root    uint32
	person  uint32
	tenant  uint32
	plan    uint32
	before  uint32 // the record of the same plan before this one
	code    uint8  // of the operation
	ignored bool
}

type plan struct {
	id   [16]byte
	last uint32 // record, from 1
}

type digest struct {
	bytes [sha256.Size]byte
	last  uint32 // post, from 1
}

// A post says that a record is about a digest: an intent or a hold about a person
// or an alias, a decision about a row, an intent or an unsuppress about what a
// person was known by. No digest is of two kinds.
type post struct{ record, before uint32 }

// A top is the highest number of a column since an entry.
type top struct{ n, value int64 }

// more is what few entries have.
type more struct {
	Aliases  []string  `json:"aliases,omitempty"`
	Approved string    `json:"approved,omitempty"`
	Because  string    `json:"because,omitempty"`
	By       string    `json:"by,omitempty"`
	Cert     string    `json:"cert,omitempty"`
	Known    []string  `json:"known,omitempty"`
	Refs     []string  `json:"refs,omitempty"`
	Tops     []wireTop `json:"tops,omitempty"`
	Until    string    `json:"until,omitempty"`
}

func newIndex() *index {
	return &index{tops: map[string][]top{}, planOf: map[[16]byte]uint32{}, digestOf: map[[sha256.Size]byte]uint32{}}
}

// clone is for what changes earlier entries: states that were handed out keep
// what they show.
func (x *index) clone() *index {
	y := &index{
		records: slices.Clone(x.records), plans: slices.Clone(x.plans), digests: slices.Clone(x.digests), posts: slices.Clone(x.posts),
		intents: slices.Clone(x.intents), holds: slices.Clone(x.holds), faults: slices.Clone(x.faults),
		tops: map[string][]top{}, planOf: maps.Clone(x.planOf), digestOf: maps.Clone(x.digestOf),
	}
	for column, list := range x.tops {
		y.tops[column] = slices.Clone(list)
	}
	return y
}

func (x *index) len() int64 { return int64(len(x.records)) }

func (x *index) head() Head {
	h, _ := headAt(x.records, x.len())
	return h
}

func headAt(records []record, n int64) (Head, bool) {
	switch {
	case n == 0:
		return emptyHead(), true
	case n < 0 || n > int64(len(records)):
		return Head{}, false
	}
	return Head{N: n, Hash: canon.FormatBytes(records[n-1].hash[:])}, true
}

// add takes a verified entry with its line's hash and what else the line holds.
// The caller holds the turn of the Log; an entry of operation Clock needs a
// clone.
func (x *index) add(e Entry, hash [sha256.Size]byte, rest more) error {
	text := ""
	if !rest.empty() {
		data, err := canon.Marshal(rest)
		if err != nil {
			return err
		}
		text = string(data)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	why := x.standing(e.Plan, len(x.records)).refuse(e)
	if why != nil {
		x.faults = append(x.faults, Fault{N: e.N, Err: why})
	}
	number, before := x.plan(e.Plan)
	r := record{
		hash: hash, at: e.At.UnixMicro(), more: text, root: e.Root, person: x.digest(e.Person), tenant: x.digest(e.Tenant),
		plan: number, before: before, code: codeOf(e.Op), ignored: why != nil,
	}
	if n := len(x.records); why != nil && n > 0 {
		r.at = max(r.at, x.records[n-1].at) // times go forward, but where two have answered for it
	}
	x.records = append(x.records, r)
	at := uint32(len(x.records))
	x.plans[number-1].last = at
	for column, value := range e.Tops {
		x.top(strings.Clone(column), e.N, value)
	}
	if why != nil {
		return nil
	}
	switch e.Op {
	case Intent:
		x.intents = append(x.intents, at-1)
		x.about(at, append([]string{e.Person}, e.Aliases...)...)
		x.about(at, e.Known...)
	case Hold:
		x.holds = append(x.holds, at-1)
		x.about(at, append([]string{e.Person}, e.Aliases...)...)
	case Older, Newer:
		x.about(at, e.Refs...)
	case Unsuppress:
		x.about(at, e.Known...)
	case Clock:
		for i := len(x.records) - 2; i >= 0 && x.records[i].at > r.at; i-- {
			x.records[i].at = r.at
		}
	default:
	}
	return nil
}

// codeOf numbers the operations, and op undoes it: a string would take 16 bytes
// of each record.
func codeOf(op Op) uint8 { return uint8(slices.Index(ops(), op)) }

func (r record) op() Op { return ops()[r.code] }

func (m more) empty() bool {
	return len(m.Aliases) == 0 && len(m.Known) == 0 && len(m.Refs) == 0 && len(m.Tops) == 0 && m.Approved+m.Because+m.By+m.Cert+m.Until == ""
}

// plan numbers a plan, and says which record of it is the last.
func (x *index) plan(id string) (number, last uint32) {
	key := planKey(id)
	if number, ok := x.planOf[key]; ok {
		return number, x.plans[number-1].last
	}
	x.plans = append(x.plans, plan{id: key})
	number = uint32(len(x.plans))
	x.planOf[key] = number
	return number, 0
}

// planKey is a UUID in bytes. What is spelt otherwise than entries have it has
// none: that is zero, which no entry names.
func planKey(id string) (key [16]byte) {
	if len(id) == 36 {
		_, err := hex.Decode(key[:], []byte(id[:8]+id[9:13]+id[14:18]+id[19:23]+id[24:]))
		if err == nil && planText(key) == id {
			return key
		}
	}
	return [16]byte{}
}

func planText(key [16]byte) string {
	text := hex.EncodeToString(key[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// digest numbers a digest; 0 is none.
func (x *index) digest(text string) uint32 {
	key, ok := digestKey(text)
	if !ok {
		return 0
	}
	if number, ok := x.digestOf[key]; ok {
		return number
	}
	x.digests = append(x.digests, digest{bytes: key})
	number := uint32(len(x.digests))
	x.digestOf[key] = number
	return number
}

func digestKey(text string) (key [sha256.Size]byte, ok bool) {
	if !canon.IsBytes(text, sha256.Size) {
		return key, false
	}
	raw, err := canon.ParseBytes(text)
	return [sha256.Size]byte(raw), err == nil
}

// about chains a record to what it is about.
func (x *index) about(record uint32, digests ...string) {
	for _, digest := range digests {
		d := &x.digests[x.digest(digest)-1]
		x.posts = append(x.posts, post{record: record, before: d.last})
		d.last = uint32(len(x.posts))
	}
}

func (x *index) top(column string, n, value int64) {
	list := x.tops[column]
	if len(list) == 0 || value > list[len(list)-1].value {
		x.tops[column] = append(list, top{n, value})
	}
}

// entry is a record as an Entry. The lists are the caller's.
func (x *index) entry(i int) Entry {
	x.mu.RLock()
	r := x.records[i]
	e := Entry{
		Op: r.op(), N: int64(i) + 1, At: time.UnixMicro(r.at).UTC(), Root: r.root, Ignored: r.ignored,
		Plan: planText(x.plans[r.plan-1].id), Tenant: x.text(r.tenant), Person: x.text(r.person),
	}
	x.mu.RUnlock()
	if r.more == "" {
		return e
	}
	var m more
	if canon.Unmarshal([]byte(r.more), &m) != nil { // add wrote it
		return e
	}
	e.Aliases, e.Refs, e.Known, e.Cert, e.By, e.Approved, e.Because = m.Aliases, m.Refs, m.Known, m.Cert, m.By, m.Approved, m.Because
	e.Until, _ = parseUntil(m.Until) // check has read it
	e.Tops, _ = parseTops(m.Tops)
	return e
}

func (x *index) text(number uint32) string {
	if number == 0 {
		return ""
	}
	return canon.FormatBytes(x.digests[number-1].bytes[:])
}
