package bundle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// ErrConfig says that a [Config] lacks what every bundle has.
var ErrConfig = errors.New("bundle: config names no tenant, or no time")

// Config is what a bundle says besides the records.
type Config struct {
	Tenant     string       // stands in the manifest
	Made       time.Time    // when the records were read
	Map        *datamap.Map // purpose, legal basis, recipients, retention; which columns hold JSON. May be nil
	Controller Controller   // stands in the manifest and on the page
	// Dir is the folder of the temporary file; empty means that of the system.
	Dir string
	// Open opens the sealed bytes of a field. An error that wraps
	// datastore.ErrShredded leaves the field out, and says so; any other one ends
	// the bundle. May be nil where none is sealed.
	Open func(ctx context.Context, tenant, owner, table, column, row string, sealed []byte) (any, error)
}

// Controller is who answers for the data, in words for the person: what Article
// 15 GDPR asks for and no data map knows. What is left empty the page calls not
// stated.
type Controller struct {
	Authority string `json:"authority,omitempty"` // where to complain: 15(1)(f)
	Automated string `json:"automated,omitempty"` // automated decisions, their logic and consequences: 15(1)(h)
	Contact   string `json:"contact,omitempty"`   // whom to ask, of the data protection officer too
	Name      string `json:"name,omitempty"`
	Transfers string `json:"transfers,omitempty"` // to third countries, and the safeguards: 15(2)
}

// Write writes the bundle of all records into w. Equal records at an equal time
// make equal bytes, in whatever order the rows of a table come. Nothing is
// written before the last record was read and opened; after an error w holds no
// bundle.
func Write(ctx context.Context, w io.Writer, c Config, records iter.Seq2[datastore.Record, error]) (made *Manifest, err error) {
	if c.Tenant == "" || c.Made.IsZero() {
		return nil, ErrConfig
	}
	rows, err := newSpool(c.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if left := rows.close(); left != nil {
			made, err = nil, errors.Join(err, left)
		}
	}()
	g := &gathering{config: c, spool: rows, sheets: map[string]*sheet{}, attached: map[string]part{}}
	for record, err := range records {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = g.add(ctx, record)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := rows.flush(); err != nil {
		return nil, err
	}
	return g.pack(ctx, w)
}

// gathering is a bundle while its records come: the rows are in the spool, and
// in memory is where they are.
type gathering struct {
	config   Config
	spool    *spool
	sheets   map[string]*sheet // by table
	attached map[string]part   // by path in the bundle
}

// sheet is one table.
type sheet struct {
	table, schema string
	file          string // name of its files, without extension
	columns       []*column
	rows          []row
	seen          map[digest]bool
	left          map[omitted]int // rows
}

type row struct {
	key string
	sum digest // order where keys are alike
	at  part
}

type omitted struct{ column, reason string }

// column is a column with a value in one row at least.
type column struct {
	name   string
	values int      // rows that have one
	kinds  []string // JSON types of its values
}

// sheet returns the sheet of a table.
func (g *gathering) sheet(r datastore.Record) *sheet {
	s := g.sheets[r.Table]
	if s == nil {
		s = &sheet{table: r.Table, schema: r.Schema, seen: map[digest]bool{}, left: map[omitted]int{}}
		if t, ok := g.mapped(r.Table); ok && s.schema == "" {
			s.schema = t.SchemaID()
		}
		if s.schema == "" {
			s.schema = r.Table + "/1"
		}
		g.sheets[r.Table] = s
	}
	return s
}

func (g *gathering) mapped(table string) (datamap.Table, bool) {
	if g.config.Map == nil {
		return datamap.Table{}, false
	}
	return g.config.Map.Table(table)
}

// sorted are the sheets by table, each with its rows by key and with a file
// name that no other has, on disks that know no case either.
func (g *gathering) sorted() []*sheet {
	var list []*sheet
	for _, s := range g.sheets {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *sheet) int { return strings.Compare(a.table, b.table) })
	taken := map[string]bool{}
	for _, s := range list {
		slices.SortFunc(s.rows, func(a, b row) int {
			return cmp.Or(strings.Compare(a.key, b.key), bytes.Compare(a.sum[:], b.sum[:]))
		})
		base := fileName(s.table)
		s.file = base
		for n := 2; taken[strings.ToLower(s.file)]; n++ {
			s.file = fmt.Sprintf("%s-%d", base, n)
		}
		taken[strings.ToLower(s.file)] = true
	}
	return list
}

// note remembers which columns a row has, and which it lacks for a reason.
func (s *sheet) note(found []member, withheld map[string]string) {
	for _, m := range found {
		i := slices.IndexFunc(s.columns, func(c *column) bool { return c.name == m.name })
		if i < 0 {
			i = len(s.columns)
			s.columns = append(s.columns, &column{name: m.name})
		}
		c := s.columns[i]
		c.values++
		if !slices.Contains(c.kinds, m.kind) {
			c.kinds = append(c.kinds, m.kind)
		}
	}
	for name, reason := range withheld {
		s.left[omitted{name, reason}]++
	}
}

// omissions are what was left out of the sheet, by column and reason.
func (s *sheet) omissions() []Omission {
	list := []Omission{}
	for o, rows := range s.left {
		list = append(list, Omission{Table: s.table, Column: o.column, Reason: o.reason, Rows: rows})
	}
	slices.SortFunc(list, func(a, b Omission) int {
		return cmp.Or(strings.Compare(a.Column, b.Column), strings.Compare(a.Reason, b.Reason))
	})
	return list
}
