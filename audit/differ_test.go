package audit_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

type (
	phase   string
	initial struct{ letter string } // a valuer that refuses to be empty
	pointed struct{ text string }   // a valuer by its pointer
)

func (i initial) Value() (driver.Value, error) {
	if i.letter == "" {
		return nil, errors.New("no letter")
	}
	return i.letter, nil
}
func (p *pointed) Value() (driver.Value, error) { return p.text, nil }

// stamps are embedded, the unexported one too.
type Stamps struct {
	CreatedAt time.Time
	UpdatedAt *time.Time
}

type personHome struct {
	Street string
	City   *string `db:"town"`
}

type shapedPerson struct {
	ID string `gorm:"primaryKey"`
	Stamps
	*personHome
	Email    string         `audit:"email" db:"mail"`
	Phone    sql.NullString `db:"phone_number"`
	Phase    phase          `gorm:"column:stage;size:20"`
	Amount   audit.Decimal  `bun:"amount,notnull"`
	Born     *audit.Date
	Photo    []byte
	Tags     []string
	Custom   map[string]any
	VATRate  float64
	Ref      uuid.UUID
	Document audit.JSON
	SpouseID sql.NullInt64
	Spouse   *string
	Virtual  int       `gorm:"-"`
	Secret   string    `audit:"-"`
	Calls    []Stamps  `gorm:"foreignKey:X"`
	Channel  chan bool `bun:"channel"`
	hidden   io.Reader
}

func personShape() audit.Shape {
	return audit.Shape{
		Kind: "contact",
		Show: []string{"email", "stage", "phone_number", "amount"},
		Hide: []string{"street", "town", "born", "photo", "tags", "custom", "vat_rate", "ref", "document", "spouse"},
		Skip: []string{"id", "created_at", "updated_at", "spouse_id", "calls", "channel"},
		Who:  map[string]string{"spouse": "spouse_id"},
	}
}

func differ[T any](t *testing.T, shape audit.Shape) *audit.Differ[T] {
	t.Helper()
	d, err := audit.NewDiffer[T](shape)
	require.NoError(t, err)
	return d
}

// Each field is told of under the name of its column, whatever it is kept in,
// and what stands in no list to be recorded is not.
func TestADifferTellsWhatChanged(t *testing.T) {
	d := differ[shapedPerson](t, personShape())
	require.Empty(t, d.Of("p1", nil, nil))
	require.Empty(t, d.Of("p1", &shapedPerson{}, &shapedPerson{hidden: strings.NewReader("x"), ID: "2", Secret: "x", Virtual: 1, Channel: make(chan bool), Calls: make([]Stamps, 1), Stamps: Stamps{CreatedAt: time.Now()}}))

	id, date := uuid.MustParse("0195d2c0-0000-7000-8000-00000000000a"), audit.Date("2001-02-03")
	after := shapedPerson{
		personHome: &personHome{"Lane 1", new("Bern")}, Email: "ann@b.example", Phone: sql.NullString{String: "1", Valid: true}, Phase: "won", Amount: "1.50", Born: &date,
		Photo: []byte{}, Tags: []string{"a"}, Custom: map[string]any{"a": 1}, VATRate: 0.5, Ref: id, Document: audit.JSON(`{"a":1}`), Spouse: new("Eve"),
	}
	want := []audit.Change{
		{Path: "amount", Old: audit.Decimal(""), New: audit.Decimal("1.50")},
		{Path: "born", New: date},
		{Path: "custom", Old: map[string]any(nil), New: map[string]any{"a": 1}},
		{Path: "document", Old: audit.JSON(nil), New: audit.JSON(`{"a":1}`)},
		{Path: "email", Old: "", New: "ann@b.example"},
		{Path: "phone_number", New: "1"},
		{Path: "photo", Old: []byte(nil), New: []byte{}},
		{Path: "ref", Old: uuid.UUID{}.String(), New: id.String()},
		{Path: "spouse", New: "Eve"},
		{Path: "stage", Old: phase(""), New: phase("won")},
		{Path: "street", New: "Lane 1"},
		{Path: "tags", Old: []string(nil), New: []string{"a"}},
		{Path: "town", New: "Bern"},
		{Path: "vat_rate", Old: 0.0, New: 0.5},
	}
	for i := range want {
		want[i].Who = "p1"
	}
	require.Equal(t, want, d.Of("p1", &shapedPerson{}, &after))
	for i := range want {
		want[i].Old = audit.Absent{}
	}
	require.Equal(t, want, d.Of("p1", nil, &after), "a row that was inserted")
	for i := range want {
		want[i].Old, want[i].New = want[i].New, want[i].Old
	}
	require.Equal(t, want, d.Of("p1", &after, nil), "a row that was deleted")

	by := differ[*shapedPerson](t, personShape())
	one, none := &after, (*shapedPerson)(nil)
	require.Equal(t, want, by.Of("p1", &one, &none), "by pointers")
	require.Equal(t, want, by.Of("p1", &one, nil))
}

// What says the same is no change, however it is kept.
func TestADifferComparesValuesAndNotTheirSpelling(t *testing.T) {
	type row struct {
		At      time.Time
		MaybeAt *time.Time
		Amount  audit.Decimal
		Number  json.Number
		Raw     json.RawMessage
		Bytes   []byte
		Float   float64
		Any     any
		Null    sql.NullString
		Fails   initial
		Odd     uint64
		Items   []any
		Map     map[string]any
	}
	all := []string{"at", "maybe_at", "amount", "number", "raw", "bytes", "float", "any", "null", "fails", "odd", "items", "map"}
	d := differ[row](t, audit.Shape{Hide: all})
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	var circle, another any
	circle, another = &circle, &another
	zone := at.In(time.FixedZone("x", 3600)).Truncate(time.Microsecond)
	for _, same := range [][2]row{
		{{At: at, MaybeAt: &at}, {At: zone, MaybeAt: &zone}},
		{{Amount: "1.50"}, {Amount: "1.5"}},
		{{Amount: "100"}, {Amount: "100.00"}},
		{{Number: "1"}, {Number: "1.0"}},
		{{Number: "1e2"}, {Number: "100"}},
		{{Raw: json.RawMessage(`{"a":1,"b":[]}`)}, {Raw: json.RawMessage(`{ "b": [], "a": 1.0 }`)}},
		{{Bytes: []byte("x")}, {Bytes: []byte("x")}},
		{{Float: 0}, {Float: math.Copysign(0, -1)}},
		{{Float: math.NaN()}, {Float: math.NaN()}},
		{{Any: 7}, {Any: int64(7)}},
		{{Any: new("x")}, {Any: phase("x")}},
		{{Any: "a\xff"}, {Any: phase("a\xff")}},
		{{Any: struct{ A []int }{[]int{1}}}, {Any: struct{ A []int }{[]int{1}}}},
		{{Any: circle}, {Any: another}},
		{{Null: sql.NullString{String: "left"}}, {}},
		{{Odd: math.MaxUint64}, {Odd: math.MaxUint64}},
		{{Items: []any{1, "a"}}, {Items: []any{1.0, "a"}}},
		{{Map: map[string]any{"a": []byte("x")}}, {Map: map[string]any{"a": []byte("x")}}}, // has no encoding
		{{Map: map[string]any{"a": 1}}, {Map: map[string]any{"a": int64(1)}}},
		{{Fails: initial{"a"}}, {Fails: initial{"a"}}},
	} {
		require.Empty(t, d.Of("p", &same[0], &same[1]), "%+v %+v", same[0], same[1])
	}
	for _, two := range [][2]row{
		{{At: at}, {At: at.Add(time.Microsecond)}},
		{{}, {MaybeAt: new(time.Time)}},
		{{Amount: "1.50"}, {Amount: "1.05"}},
		{{Amount: "100"}, {Amount: "1"}},
		{{Amount: "0.10"}, {Amount: "0.1001"}},
		{{Bytes: []byte{}}, {}},
		{{Bytes: []byte("x")}, {Bytes: []byte("y")}},
		{{Any: "7"}, {Any: 7}},
		{{Any: "a\xff"}, {Any: "a\xfe"}},
		{{Any: 1}, {Any: 1.0}},
		{{Any: nil}, {Any: ""}},
		{{Any: struct{ A int }{1}}, {Any: struct{ A int }{2}}},
		{{Null: sql.NullString{Valid: true}}, {}},
		{{Odd: math.MaxUint64}, {Odd: math.MaxUint64 - 1}},
		{{Fails: initial{}}, {Fails: initial{"a"}}},
		{{Map: map[string]any{"a": []byte("x")}}, {Map: map[string]any{"a": []byte("y")}}},
		{{Map: map[string]any{"a": []byte("x")}}, {Map: map[string]any{"a": 1}}},
		{{Items: []any{}}, {Items: []any{nil}}},
	} {
		require.Len(t, d.Of("p", &two[0], &two[1]), 1, "%+v %+v", two[0], two[1])
		require.Len(t, d.Of("p", &two[1], &two[0]), 1, "%+v %+v", two[1], two[0])
	}
}

// A value belongs to the person that its row named when it was there: erasing
// one of the two leaves what is the other's.
func TestAValueThatMovesToAnotherPersonIsTwoChanges(t *testing.T) {
	d := differ[shapedPerson](t, personShape())
	row := func(spouse int64, name string) *shapedPerson {
		p := &shapedPerson{}
		if spouse != 0 {
			p.SpouseID = sql.NullInt64{Int64: spouse, Valid: true}
		}
		if name != "" {
			p.Spouse = &name
		}
		return p
	}
	for _, c := range []struct {
		before, after *shapedPerson
		want          []audit.Change
	}{
		{row(7, "Eve"), row(7, "Eva"), []audit.Change{{Path: "spouse", Who: "7", Old: "Eve", New: "Eva"}}},
		{row(7, "Eve"), row(8, "Eve"), []audit.Change{{Path: "spouse", Who: "7", Old: "Eve", New: audit.Absent{}}, {Path: "spouse", Who: "8", Old: audit.Absent{}, New: "Eve"}}},
		{row(0, "Eve"), row(8, "Eve"), []audit.Change{{Path: "spouse", Who: "p1", Old: "Eve", New: audit.Absent{}}, {Path: "spouse", Who: "8", Old: audit.Absent{}, New: "Eve"}}},
		{row(0, ""), row(8, "Eve"), []audit.Change{{Path: "spouse", Who: "8", New: "Eve"}}},
		{row(7, "Eve"), row(0, ""), []audit.Change{{Path: "spouse", Who: "7", Old: "Eve"}}},
		{nil, row(7, "Eve"), []audit.Change{{Path: "spouse", Who: "7", Old: audit.Absent{}, New: "Eve"}}},
		{row(7, "Eve"), nil, []audit.Change{{Path: "spouse", Who: "7", Old: "Eve", New: audit.Absent{}}}},
		{nil, row(7, ""), []audit.Change{{Path: "spouse", Who: "7", Old: audit.Absent{}}}},
		{row(7, ""), nil, []audit.Change{{Path: "spouse", Who: "7", New: audit.Absent{}}}},
		{row(7, ""), row(8, ""), nil},
		{row(7, "Eve"), row(7, "Eve"), nil},
	} {
		var got []audit.Change
		for _, change := range d.Of("p1", c.before, c.after) {
			if change.Path == "spouse" {
				got = append(got, change)
			}
		}
		require.Equal(t, c.want, got)
	}

	type seat struct {
		Holder int64
		Note   string
	}
	unset := differ[seat](t, audit.Shape{Hide: []string{"note"}, Skip: []string{"holder"}, Who: map[string]string{"note": "holder"}})
	require.Equal(t, []audit.Change{{Path: "note", Who: "p1", Old: "x", New: "y"}}, unset.Of("p1", &seat{0, "x"}, &seat{0, "y"}))

	type card struct{ Holder, Note string }
	of := differ[card](t, audit.Shape{Hide: []string{"note"}, Skip: []string{"holder"}, Who: map[string]string{"note": "holder"}})
	b := newBench(t)
	changes := of.Of("p1", nil, &card{"a\xff", "x"})
	err := only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Changes: changes}))
	require.ErrorIs(t, err, audit.ErrInvalid, "an id that is none is filed under nobody else")
}

// Whatever nobody has decided about stops the start, and all of it is named.
func TestADifferIsCheckedAtTheStart(t *testing.T) {
	refuses := func(err error, want ...string) {
		t.Helper()
		require.ErrorIs(t, err, audit.ErrInvalid)
		for _, w := range want {
			require.ErrorContains(t, err, w)
		}
	}
	shape := personShape()
	shape.Show, shape.Hide, shape.Skip = shape.Show[1:], append(shape.Hide[1:], "faxnumber"), append(shape.Skip, "stage")
	_, err := audit.NewDiffer[shapedPerson](shape)
	refuses(err, "audit_test.shapedPerson", "in none of Show, Hide and Skip: Email (email), personHome.Street (street)", "listed twice: stage", "no field has the name: faxnumber")

	type types struct {
		Func       func()
		Chan       chan int
		Complex    complex128
		Struct     struct{ A int }
		Pointer    *struct{ A int }
		List       []struct{ A int }
		ListOfBlob [][]byte
		Map        map[int]string
		MapOf      map[string]*struct{ A int }
		Null       sql.Null[struct{ A int }]
		Reader     io.Reader
		Pointed    pointed
		Durations  []time.Duration
		Array      [2]func()
		Deep       []map[string][]*chan int
	}
	names := []string{"func", "chan", "complex", "struct", "pointer", "list", "list_of_blob", "map", "map_of", "null", "reader", "pointed", "durations", "array", "deep"}
	_, err = audit.NewDiffer[types](audit.Shape{Hide: names})
	refuses(err, "pointed (audit_test.pointed, whose Value is a method of the pointer)", "reader (io.Reader may hold anything)")
	for _, name := range names {
		refuses(err, name+" (")
	}
	_, err = audit.NewDiffer[types](audit.Shape{Hide: []string{"x"}, Skip: names})
	refuses(err, "no field has the name: x")
	require.NotContains(t, err.Error(), "chan int", "what is skipped may be anything")

	type good struct {
		A *initial
		B initial
		C *pointed
		D []initial
		E sql.Null[*sql.NullTime]
		F driver.Valuer
		G any
		H []any
		I map[phase][]map[string]any
		J [16]byte
		K [3]byte
		L time.Duration
		M uint64
		N ***string
		O []audit.Decimal
		P []time.Time
		Q [2]*json.Number
		R sql.RawBytes
	}
	differ[good](t, audit.Shape{Hide: strings.Split("a b c d e f g h i j k l m n o p q r", " ")})

	type Tree struct {
		*Tree
		Name string
	}
	_, err = audit.NewDiffer[Tree](audit.Shape{Hide: []string{"name"}})
	refuses(err, "embeds itself: Tree")
	type left struct{ Note string }
	type right struct{ Note string }
	type both struct {
		left
		*right
	}
	_, err = audit.NewDiffer[both](audit.Shape{Hide: []string{"note"}})
	refuses(err, "two fields have the name: note (left.Note, right.Note)")
	type over struct {
		both
		Note string
	}
	d := differ[over](t, audit.Shape{Hide: []string{"note"}})
	require.Equal(t, []audit.Change{{Path: "note", Old: "", New: "x"}}, d.Of("", &over{}, &over{Note: "x"}))

	for _, who := range []map[string]string{{"spouse": "no_such"}, {"spouse": "vat_rate"}, {"spouse": "custom"}, {"calls": "spouse_id"}, {"no_such": "spouse_id"}} {
		shape := personShape()
		shape.Who = who
		_, err = audit.NewDiffer[shapedPerson](shape)
		refuses(err, "Who leads to no id of a person")
	}
	type flags struct {
		Yes sql.NullBool
		Any any
		A   string `audit:"a b"`
		B   string `db:"b\x00"`
	}
	_, err = audit.NewDiffer[flags](audit.Shape{Show: []string{"a b"}, Hide: []string{"b\x00"}, Skip: []string{"yes", "any"}})
	refuses(err, "no name for a log")
	_, err = audit.NewDiffer[flags](audit.Shape{Hide: []string{"a b"}, Skip: []string{"yes", "any", "b\x00"}})
	require.NoError(t, err, "what is not shown may have any name")
	for _, holder := range []string{"yes", "any"} {
		_, err = audit.NewDiffer[flags](audit.Shape{Hide: []string{"a b"}, Skip: []string{"yes", "any", "b\x00"}, Who: map[string]string{"a b": holder}})
		refuses(err, "Who leads to no id of a person")
	}
	_, err = audit.NewDiffer[flags](audit.Shape{Skip: []string{"yes", "any", "a b", "b\x00"}})
	refuses(err, "nothing is in Show or Hide")
	_, err = audit.NewDiffer[flags](audit.Shape{Kind: "a kind"})
	refuses(err, "Kind is no code")
	for _, err := range []error{errorOf(audit.NewDiffer[string](audit.Shape{})), errorOf(audit.NewDiffer[any](audit.Shape{})), errorOf(audit.NewDiffer[time.Time](audit.Shape{})), errorOf(audit.NewDiffer[*sql.NullString](audit.Shape{}))} {
		refuses(err, "it is no struct with fields")
	}
}

func errorOf[T any](_ T, err error) error { return err }

// The names of columns are those that the libraries give them.
func TestADifferNamesFieldsAsTheirColumns(t *testing.T) {
	type place struct{ City, HTTPServer string }
	type row struct {
		UserID2Name string
		HTTPServer  string
		ID          string
		ÄrgerID     string
		Both        string `db:"of_db" gorm:"column:of_gorm" bun:"of_bun"`
		Options     string `db:",omitempty" gorm:"size:3; Column : of_gorm ;index" bun:"of_bun"`
		Bun         string `gorm:"index" bun:"of_bun,pk"`
		BunNone     string `bun:",pk"`
		Not1        string `db:"-"`
		Not2        string `gorm:"-:all"`
		Not3        string `bun:"-"`
		Migrated    string `gorm:"-:migration"`
		Away        struct {
			Base place `gorm:"embedded;embeddedPrefix:base_"`
		} `gorm:"embedded"`
		Second *place `bun:"embed:second_"`
		place  `db:"here"`
		time.Time
	}
	names := strings.Split("user_id2_name http_server id ärger_id of_db of_gorm of_bun bun_none migrated base_city base_http_server second_city second_http_server here.city here.http_server time", " ")
	d := differ[row](t, audit.Shape{Hide: names})
	var got []string
	for _, c := range d.Of("", nil, &row{}) {
		got = append(got, c.Path)
	}
	require.ElementsMatch(t, names, got)
}

// The log shows the names that are shown and no other, and Config.Fields agrees.
func TestAShapeIsComparedWithTheFieldsOfTheTrail(t *testing.T) {
	b := newBench(t)
	d := differ[shapedPerson](t, personShape())
	err := b.trail.Check(d)
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorContains(t, err, `kind "contact": Config.Fields lacks what is in Show: amount, phone_number`)
	b.config.Fields = map[string][]string{"contact": append(d.Shape().Show, "born")}
	b.open()
	err = b.trail.Check(d)
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorContains(t, err, "Config.Fields shows what is in Hide: born")
	b.config.Fields = map[string][]string{"contact": d.Shape().Show}
	b.open()
	require.NoError(t, b.trail.Check(d))
	require.NoError(t, b.trail.Check())
	for _, none := range []audit.Shaped{nil, &audit.Differ[shapedPerson]{}, (*audit.Differ[shapedPerson])(nil)} {
		require.ErrorIs(t, b.trail.Check(d, none), audit.ErrInvalid)
	}
	require.ErrorIs(t, new(audit.Trail).Check(d), audit.ErrNotOpen)

	date := audit.Date("2001-02-03")
	changes := d.Of("p1", &shapedPerson{Amount: "1"}, &shapedPerson{Email: "ann@b.example", Born: &date, Amount: "1.00"})
	require.NoError(t, only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Object: audit.PersonRef("contact", "p1"), Changes: changes})))
	b.run()
	var paths []string
	for _, l := range b.leaves() {
		for _, c := range l.Changes {
			paths = append(paths, c.Path[:2])
		}
	}
	require.ElementsMatch(t, []string{"em", "c:"}, paths)

	// What the caller keeps of a shape is not the Differ's.
	shape := d.Shape()
	shape.Show[0], shape.Who["spouse"] = "changed", "changed"
	require.Equal(t, personShape(), d.Shape())
	require.ErrorIs(t, only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Changes: new(audit.Differ[shapedPerson]).Of("p1", nil, &shapedPerson{})})), audit.ErrInvalid,
		"one that was not made by NewDiffer loses no change in silence")
}

// A change holds what was there when it was made.
func TestAChangeStaysWhatItWas(t *testing.T) {
	d := differ[shapedPerson](t, personShape())
	name, born := "Eve", audit.Date("2001-02-03")
	row := shapedPerson{Spouse: &name, Born: &born, personHome: &personHome{Street: "a"}}
	changes := d.Of("p1", nil, &row)
	name, born, row.Street = "changed", "2002-02-03", "changed"
	kept := fmt.Sprint(changes)
	require.NotContains(t, kept, "changed")
	require.Contains(t, kept, "2001-02-03")
}

// One Differ serves all requests, and finding that nothing changed takes no
// memory, nor does it grow with the struct.
func TestADifferIsSharedAndComparesWithoutAllocation(t *testing.T) {
	d := differ[shapedPerson](t, personShape())
	row := func(email string) *shapedPerson {
		at := time.Unix(1_700_000_000, 0)
		return &shapedPerson{Email: email, Phone: sql.NullString{String: "1", Valid: true}, Photo: []byte("x"), Tags: []string{"a"}, personHome: &personHome{City: new("Bern")}, Stamps: Stamps{UpdatedAt: &at}, Amount: "1.50"}
	}
	before, after := row("a"), row("a")
	shape := personShape()
	shape.Who, shape.Hide, shape.Skip = nil, append(shape.Hide, "updated_at"), []string{"id", "created_at", "spouse_id", "calls", "channel", "custom"}
	shape.Hide = append(shape.Hide[:5:5], shape.Hide[6:]...) // custom is a map, which is read
	plain := differ[shapedPerson](t, shape)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if plain.Of("p1", before, after) != nil {
			panic("changed")
		}
	}))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				got := d.Of("p1", before, row(fmt.Sprint(i)))
				if len(got) != 1 || got[0].New != fmt.Sprint(i) {
					t.Errorf("%v", got)
				}
			}
		})
	}
	all.Wait()
}
