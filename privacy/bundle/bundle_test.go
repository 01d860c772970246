package bundle_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

func contact(key, email string) datastore.Record {
	return record("contacts", key, fields{
		{Name: "id", Value: key},
		{Name: "email", Value: email},
		{Name: "created", Value: noon},
		{Name: "attribs", Value: `{"size": 1.50, "birthday": "1980-05-17"}`},
		{Name: "email_idx", Withhold: "blind index"},
	})
}

func TestABundle(t *testing.T) {
	invoice := record("invoices", "7", fields{{Name: "person", Value: "1"}, {Name: "bill_name", Value: "Ann"}, {Name: "note"}})
	data, m := write(t, config(), contact("2", "ann@a.example"), invoice, contact("1", "old@a.example"))

	require.Equal(t, []string{
		"index.html", "data/contacts.ndjson", "data/contacts.csv", "schema/contacts.json",
		"data/invoices.ndjson", "data/invoices.csv", "schema/invoices.json",
	}, names(m))
	require.Equal(t, `{"_withheld":{"email_idx":"blind index"},"attribs":{"birthday":"1980-05-17","size":1.5},"created":"2026-11-27T12:00:00.000000Z","email":"old@a.example","id":"1"}
{"_withheld":{"email_idx":"blind index"},"attribs":{"birthday":"1980-05-17","size":1.5},"created":"2026-11-27T12:00:00.000000Z","email":"ann@a.example","id":"2"}
`, file(t, data, "data/contacts.ndjson"), "by key")
	require.Equal(t, "\ufeff"+`"id","email","created","attribs"
"1","old@a.example","2026-11-27T12:00:00.000000Z","{""birthday"":""1980-05-17"",""size"":1.5}"
"2","ann@a.example","2026-11-27T12:00:00.000000Z","{""birthday"":""1980-05-17"",""size"":1.5}"
`, file(t, data, "data/contacts.csv"))
	require.Equal(t, "\ufeff\"person\",\"bill_name\",\"note\"\n\"1\",\"Ann\",\n", file(t, data, "data/invoices.csv"))

	require.Equal(t, []bundle.Omission{{Table: "contacts", Column: "email_idx", Rows: 2, Reason: "blind index"}}, m.Omissions)
	require.Equal(t, []bundle.Table{
		{
			Name: "contacts", Schema: "contact/3", Rows: 2, Source: "the web form", Recipients: []string{"mail provider", "print shop"},
			Columns: []bundle.Column{
				{Name: "id"},
				{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent"},
				{Name: "created"},
				{Name: "attribs", Path: "/birthday", Category: "birth.date"},
				{Name: "attribs", Path: "/size", Category: "body.size"},
			},
		},
		{
			Name: "invoices", Schema: "invoices/1", Rows: 1, Retention: &bundle.Retention{Because: "DE-HGB-257", From: "issued", Years: 10},
			Columns: []bundle.Column{{Name: "person"}, {Name: "bill_name", Category: "name", Retained: true}, {Name: "note", Category: "text"}},
		},
	}, m.Tables)
	require.Equal(t, "2026-11-27T12:00:00.000000Z", m.Made)
	require.Equal(t, 2, m.Files[1].Rows)

	var schema map[string]any
	require.NoError(t, json.Unmarshal([]byte(file(t, data, "schema/contacts.json")), &schema))
	require.Equal(t, "contact/3", schema["title"])
	require.Equal(t, []any{"attribs", "created", "email", "id"}, schema["required"])
	require.Equal(t, map[string]any{"type": []any{"string"}, "description": "contact.email"}, schema["properties"].(map[string]any)["email"])
	require.Contains(t, schema["properties"], "_withheld")
	require.NotContains(t, file(t, data, "schema/invoices.json"), "_withheld")
	require.Contains(t, file(t, data, "schema/invoices.json"), `"note":{"description":"text","type":["null"]}`)
}

func TestThePage(t *testing.T) {
	invoice := record("invoices", "7", fields{{Name: "bill_name", Value: "王小明"}, {Name: "note", Withhold: "also concerns other persons"}})
	data, _ := write(t, config(), contact("1", "ann@a.example"), invoice)
	page := file(t, data, "index.html")
	for _, said := range []string{
		"ann@a.example", "王小明", "Your data", "您的数据", "dpv:Marketing", "dpv:Consent", "contact.email", "the web form", "mail provider", "print shop",
		"DE-HGB-257", "bill_name*", "email_idx (1): blind index", "note (1): also concerns other persons", "/birthday",
		"Example Ltd", "privacy@crm.example", "supervisory authority", "not stated", "corrected, erased or restricted", "Automated decisions", "none",
	} {
		require.Contains(t, page, said)
	}
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	require.Contains(t, html.UnescapeString(page), "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "the policy allows this very style")
	require.Equal(t, strings.Count(page, `class="en"`), strings.Count(page, `class="zh"`), "every text in both languages")

	empty, m := write(t, bundle.Config{Tenant: "main", Made: noon})
	require.Contains(t, file(t, empty, "index.html"), "Nothing is stored.")
	require.Equal(t, []string{"index.html"}, names(m))
}

// The page is cut where a browser would give up, and says so.
func TestThePageHasBounds(t *testing.T) {
	var many []datastore.Record
	for i := range 1003 {
		many = append(many, record("visits", string(rune('a'+i/100))+string(rune('a'+i%100/10))+string(rune('a'+i%10)), fields{{Name: "page", Value: "<visit>"}}))
	}
	many[0].Fields[0].Value = "x" + strings.Repeat("é", 5000)
	data, _ := write(t, config(), many...)
	page := file(t, data, "index.html")
	require.Equal(t, 999, strings.Count(page, "&lt;visit&gt;"))
	require.Contains(t, page, "data/visits.csv: 3")
	require.Contains(t, page, ">x"+strings.Repeat("é", 1999)+" […]<", "at the end of a character")
	require.Contains(t, file(t, data, "data/visits.csv"), strings.Repeat("é", 5000), "all of it")
}

// The order in which stores hand out rows leaves no trace, and the same row once
// more, of a person's second id, is one row.
func TestEqualRecordsMakeEqualBytes(t *testing.T) {
	a, b, c := contact("1", "a"), contact("2", "b"), contact("2", "c")
	a.Files = []datastore.File{{Name: "x.txt", Data: []byte("x")}}
	none := record("log", "", fields{{Name: "n", Value: 1}})
	one, m := write(t, config(), a, b, c, none, none)
	other, _ := write(t, config(), c, none, b, a, none, b, a, c)
	require.True(t, bytes.Equal(one, other))
	require.Equal(t, 3, m.Tables[0].Rows)
	require.Equal(t, 3, m.Omissions[0].Rows)
	require.Equal(t, 2, m.Tables[1].Rows, "rows without a key are never one")
	later := config()
	later.Made = noon.Add(time.Second)
	third, _ := write(t, later, a, b, c, none, none)
	require.False(t, bytes.Equal(one, third))
}

// A column is left out of some rows only: each row says so.
func TestWhatIsOthersIsLeftOutFieldByField(t *testing.T) {
	const secret = "secret of bob"
	data, m := write(
		t, config(),
		record("activities", "1", fields{{Name: "body", Value: secret, Withhold: "also concerns other persons"}, {Name: "at", Value: noon}}),
		record("activities", "2", fields{{Name: "body", Value: "ann alone"}, {Name: "at", Value: noon}}),
		record("activities", "3", fields{{Name: "body", Withhold: "a token"}, {Name: "at", Value: noon}}),
	)
	require.NotContains(t, string(data), secret)
	rows := lines(file(t, data, "data/activities.ndjson"))
	require.Contains(t, rows[0], `"_withheld":{"body":"also concerns other persons"}`)
	require.NotContains(t, rows[1], `_withheld`)
	require.Contains(t, file(t, data, "data/activities.csv"), `"2026-11-27T12:00:00.000000Z","[withheld: also concerns other persons]"`)
	require.Contains(t, file(t, data, "index.html"), "[withheld: a token]")
	require.Equal(t, []bundle.Omission{
		{Table: "activities", Column: "body", Rows: 1, Reason: "a token"},
		{Table: "activities", Column: "body", Rows: 1, Reason: "also concerns other persons"},
	}, m.Omissions)
	require.Contains(t, file(t, data, "schema/activities.json"), `"required":["at"]`)
}

func TestAttachments(t *testing.T) {
	r := record("attachments", "1", fields{{Name: "n", Value: 1}})
	r.Files = []datastore.File{
		{Name: "../../etc/passwd", Data: []byte("one")},
		{Name: `C:\cv.PDF`, Data: []byte("two")},
		{Name: "x.<script>", Data: nil},
		{Name: "page.html", Data: []byte("<script>")},
		{Name: "two again.pdf", Data: []byte("two")},
		{Name: "a.pdf\x00.exe", Data: []byte("three")},
		{Name: "\xff.svg", Data: []byte("<svg>")},
	}
	data, m := write(t, config(), r)
	var row struct {
		Files []struct{ Name, Path string } `json:"_files"`
	}
	require.NoError(t, json.Unmarshal([]byte(file(t, data, "data/attachments.ndjson")), &row))
	require.Len(t, row.Files, len(r.Files))
	seen := map[string]bool{}
	for i, f := range row.Files {
		require.Equal(t, string(r.Files[i].Data), file(t, data, f.Path))
		require.Equal(t, strings.ToValidUTF8(r.Files[i].Name, "\ufffd"), f.Name)
		require.Regexp(t, `^files/attachments/[0-9a-f]{32}\.(pdf|bin)$`, f.Path)
		seen[f.Path] = true
	}
	require.Equal(t, row.Files[1].Path, row.Files[4].Path, "one content, one file")
	require.True(t, strings.HasSuffix(row.Files[1].Path, ".pdf"))
	require.True(t, strings.HasSuffix(row.Files[3].Path, ".bin"), "no page")
	require.Len(t, m.Files, 4+len(seen))

	other := record("Attachments", "1", nil) // a disk without case has one folder for both tables
	other.Files = r.Files[1:2]
	_, m = write(t, config(), r, other)
	require.Len(t, m.Files, 7+len(seen))
}

func TestTablesWithOddNames(t *testing.T) {
	var records []datastore.Record
	for _, table := range []string{"Contacts", "contacts", "cONTACTS", "billing.invoices", "../../etc", "con", "mail/inbox", "邮件", "短信", "", ".", "aux.log", strings.Repeat("a", 300)} {
		records = append(records, record(table, "1", fields{{Name: "n", Value: 1}}))
	}
	_, m := write(t, config(), records...)
	require.Len(t, m.Tables, len(records))
	for _, f := range m.Files {
		require.NotContains(t, f.Name, "..")
		require.NotContains(t, []string{"data/con.csv", "data/aux.log.csv"}, f.Name)
		require.Regexp(t, `^[A-Za-z0-9_./-]{1,99}$`, f.Name)
	}
	require.Contains(t, names(m), "data/billing.invoices.csv")
	require.Contains(t, names(m), "data/contacts-3.csv", "a disk without case keeps all three")
}

func TestSealedFields(t *testing.T) {
	c := config()
	c.Open = func(_ context.Context, tenant, owner, table, column, row string, sealed []byte) (any, error) {
		return json.RawMessage(`["` + strings.Join([]string{tenant, owner, table, column, row, string(sealed)}, " ") + `"]`), nil
	}
	sealed := record("contacts", "1", fields{{Name: "email", Value: []byte("sealed"), Sealed: true}, {Name: "phone", Value: nil, Sealed: true}, {Name: "text", Value: "as text", Sealed: true}})
	sealed.Owner = "r:1"
	data, _ := write(t, c, sealed)
	require.Equal(t, `{"email":["main r:1 contacts email 1 sealed"],"phone":null,"text":["main r:1 contacts text 1 as text"]}`, lines(file(t, data, "data/contacts.ndjson"))[0])

	// A document of which the map names members, as bytes (TestABundle: as text).
	c.Open = func(context.Context, string, string, string, string, string, []byte) (any, error) {
		return []byte(`{"a":1}`), nil
	}
	data, _ = write(t, c, record("contacts", "1", fields{{Name: "attribs", Value: []byte("x"), Sealed: true}, {Name: "email", Value: []byte("x"), Sealed: true}}))
	require.Equal(t, `{"attribs":{"a":1},"email":"{\"a\":1}"}`, lines(file(t, data, "data/contacts.ndjson"))[0])

	// A key that is gone for good is said; another error is no field.
	c.Open = func(context.Context, string, string, string, string, string, []byte) (any, error) {
		return nil, fmt.Errorf("vault: %w", datastore.ErrShredded)
	}
	data, m := write(t, c, record("contacts", "1", fields{{Name: "email", Value: []byte("x"), Sealed: true}}))
	require.Equal(t, `{"_withheld":{"email":"its key was destroyed with an erasure"}}`, lines(file(t, data, "data/contacts.ndjson"))[0])
	require.Equal(t, []bundle.Omission{{Table: "contacts", Column: "email", Rows: 1, Reason: "its key was destroyed with an erasure"}}, m.Omissions)
}

func TestRefusals(t *testing.T) {
	erased := errors.New("erased ann@a.example")
	c := config()
	c.Open = func(context.Context, string, string, string, string, string, []byte) (any, error) { return nil, erased }
	refused := func(want error, text string, c bundle.Config, records iter.Seq2[datastore.Record, error]) {
		t.Helper()
		var out bytes.Buffer
		m, err := bundle.Write(t.Context(), &out, c, records)
		require.ErrorIs(t, err, want)
		require.Contains(t, err.Error(), text)
		require.NotContains(t, err.Error(), "ann@a.example")
		require.Nil(t, m)
		require.Zero(t, out.Len(), "nothing is written before all is read")
	}
	one := func(f ...datastore.Field) iter.Seq2[datastore.Record, error] {
		return seq(contact("0", "first"), record("contacts", "1", f))
	}
	refused(erased, "contacts.email", c, one(datastore.Field{Name: "email", Value: []byte("x"), Sealed: true}))
	refused(bundle.ErrRecord, "contacts.email: a sealed column without sealed bytes", config(), one(datastore.Field{Name: "email", Value: []byte("x"), Sealed: true}))
	refused(bundle.ErrRecord, "contacts.email: a sealed column without sealed bytes", c, one(datastore.Field{Name: "email", Value: 7, Sealed: true}))
	refused(bundle.ErrRecord, "contacts.email", c, one(datastore.Field{Name: "email", Value: make(chan int), Sealed: true}))
	refused(bundle.ErrRecord, "contacts.x: its own encoding to JSON failed", c, one(datastore.Field{Name: "x", Value: make(chan int)}))
	refused(bundle.ErrRecord, "contacts.x: its own encoding to JSON failed", c, one(datastore.Field{Name: "x", Value: failing{"ann@a.example"}}))
	refused(bundle.ErrRecord, "contacts.x: a column that comes twice", c, one(datastore.Field{Name: "x", Value: 1}, datastore.Field{Name: "x", Value: 2}))
	refused(bundle.ErrRecord, "contacts.x: a column that comes twice", c, one(datastore.Field{Name: "x", Withhold: "y"}, datastore.Field{Name: "x", Value: 2}))
	refused(bundle.ErrRecord, "contacts._files: a column that comes twice", c, one(datastore.Field{Name: "_files", Value: 1}))
	refused(bundle.ErrRecord, "contacts._withheld: a column that comes twice", c, one(datastore.Field{Name: "_withheld", Value: 1}))
	around := []any{nil}
	around[0] = around
	refused(bundle.ErrRecord, "contacts.x: lists within lists", c, one(datastore.Field{Name: "x", Value: around}))

	broken := errors.New("store is down")
	refused(broken, "store is down", c, func(yield func(datastore.Record, error) bool) {
		_ = yield(contact("1", "a"), nil) && yield(datastore.Record{}, broken)
	})
	refused(bundle.ErrConfig, "tenant", bundle.Config{Made: noon}, seq())
	refused(bundle.ErrConfig, "time", bundle.Config{Tenant: "main"}, seq())

	var out bytes.Buffer
	_, err := bundle.Write(t.Context(), &out, c, one(datastore.Field{Name: "x", Withhold: "no \xff text"}))
	require.ErrorIs(t, err, bundle.ErrConfig)
}

type failing struct{ Email string }

func (f failing) MarshalJSON() ([]byte, error) { return nil, errors.New("cannot encode " + f.Email) }

// A context that ends ends the bundle, wherever it is.
func TestACancelledBundle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	taken := 0
	_, err := bundle.Write(ctx, new(bytes.Buffer), config(), func(yield func(datastore.Record, error) bool) {
		for yield(contact("1", "a"), nil) {
			if taken++; taken == 2 {
				cancel()
			}
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 2, taken)

	ctx, cancel = context.WithCancel(t.Context())
	_, err = bundle.Write(ctx, new(bytes.Buffer), config(), func(yield func(datastore.Record, error) bool) {
		yield(contact("1", "a"), nil)
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
	_, err = bundle.Write(ctx, new(bytes.Buffer), config(), seq())
	require.ErrorIs(t, err, context.Canceled)

	// In the middle of a table of several megabytes, to the next row.
	ctx, cancel = context.WithCancel(t.Context())
	w := &cancelling{cancel: cancel, at: 4 << 20}
	_, err = bundle.Write(ctx, w, config(), visits(10_000, func() {}))
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, w.written, w.at+(64<<10))
}

// cancelling is a writer that cancels when so much was written.
type cancelling struct {
	cancel      func()
	at, written int
}

func (w *cancelling) Write(data []byte) (int, error) {
	if w.written += len(data); w.written >= w.at {
		w.cancel()
	}
	return len(data), nil
}
