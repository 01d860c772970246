package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Members of a row that no column may be called: where its attachments are, and
// which columns were left out of it and why.
const (
	filesMember    = "_files"
	withheldMember = "_withheld"
)

// shredded is why a sealed value is left out whose key is gone for good.
const shredded = "its key was destroyed with an erasure"

// ErrRecord says what is wrong with a record that a store or the application
// handed in.
var (
	ErrRecord = errors.New("bundle: a record that cannot be exported")
	errTwice  = errors.New("a column that comes twice, or has a name of the bundle's own")
	errSealed = errors.New("a sealed column without sealed bytes, or no Config.Open")
	errEncode = errors.New("its own encoding to JSON failed")
)

// RecordError names the column that keeps a bundle from being made. Its text
// says nothing of the value; Unwrap gives the cause, which may.
type RecordError struct {
	Table, Column string
	Err           error
}

// Error names table and column, and the cause as far as it shows no value.
func (e *RecordError) Error() string {
	text := ErrRecord.Error() + ": " + e.Table
	if e.Column != "" {
		text += "." + e.Column
	}
	var unread *value.Error
	switch {
	case errors.As(e.Err, &unread):
		return text + ": " + unread.Reason()
	case errors.Is(e.Err, errTwice), errors.Is(e.Err, errSealed), errors.Is(e.Err, errDepth):
		return text + ": " + e.Err.Error()
	case errors.Is(e.Err, errEncode):
		return text + ": " + errEncode.Error()
	}
	return text
}

// Unwrap returns [ErrRecord] and the cause.
func (e *RecordError) Unwrap() []error { return []error{ErrRecord, e.Err} }

// attachment is how a row names a file.
type attachment struct {
	Name string `json:"name"` // as uploaded
	Path string `json:"path"` // in the bundle
}

// add takes one record into the spool. The same row once more, as it comes
// where it leads to two persons who were merged, is taken once.
func (g *gathering) add(ctx context.Context, r datastore.Record) error {
	s := g.sheet(r)
	line, found, withheld := map[string]any{}, []member{}, map[string]string{}
	for _, f := range r.Fields {
		_, twice := line[f.Name]
		if _, left := withheld[f.Name]; twice || left || f.Name == filesMember || f.Name == withheldMember {
			return &RecordError{r.Table, f.Name, errTwice}
		}
		if f.Withhold != "" {
			withheld[f.Name] = f.Withhold
			continue
		}
		shown, err := g.shown(ctx, r, f)
		if f.Sealed && errors.Is(err, datastore.ErrShredded) {
			withheld[f.Name] = shredded
			continue
		}
		if err != nil {
			return &RecordError{r.Table, f.Name, err}
		}
		line[f.Name] = shown
		found = append(found, member{f.Name, jsonType(shown)})
	}
	if len(withheld) > 0 {
		line[withheldMember] = withheld
	}
	if len(r.Files) > 0 {
		files, err := g.attach(s, r.Files)
		if err != nil {
			return err
		}
		line[filesMember] = files
		found = append(found, member{filesMember, "array"})
	}
	data, err := encodeLine(line)
	if err != nil {
		return &RecordError{r.Table, "", err}
	}
	sum := digestOf(r.Key, data)
	if s.seen[sum] && r.Key != "" {
		return nil
	}
	s.seen[sum] = true
	s.note(found, withheld)
	at, err := g.spool.put(data)
	s.rows = append(s.rows, row{r.Key, sum, at})
	return err
}

// member is a column of one row, with the JSON type of its value.
type member struct{ name, kind string }

// digest begins the SHA-256 of a row's key and line: two rows that are one have
// it in common.
type digest [16]byte

func digestOf(key string, line []byte) digest {
	whole := sha256.New()
	_, _ = whole.Write(append([]byte(key), 0))
	_, _ = whole.Write(line)
	return digest(whole.Sum(nil)[:16])
}

// shown opens a sealed field and makes it JSON.
func (g *gathering) shown(ctx context.Context, r datastore.Record, f datastore.Field) (any, error) {
	if !f.Sealed {
		return jsonValue(g.typed(r.Table, f), maxDepth)
	}
	read, err := value.Scanned(f.Value)
	if err != nil || read.IsNull() {
		return nil, err
	}
	if kind := read.Kind(); kind != value.Bytes && kind != value.Text || g.config.Open == nil {
		return nil, errSealed
	}
	sealed, err := read.Bytes()
	if err != nil {
		return nil, err
	}
	f.Value, err = g.config.Open(ctx, g.config.Tenant, r.Owner, r.Table, f.Name, r.Key, sealed)
	if err != nil {
		return nil, err
	}
	return jsonValue(g.typed(r.Table, f), maxDepth)
}

// typed is the value of a field as what the map says that the column holds:
// JSON, which drivers hand over as text, or a time in microseconds.
func (g *gathering) typed(table string, f datastore.Field) any {
	t, _ := g.mapped(table)
	dated := f.Name == t.Created || t.Keep != nil && f.Name == t.Keep.From
	document := slices.ContainsFunc(t.Columns, func(c datamap.Column) bool { return c.Name == f.Name && c.Path != "" })
	switch v := f.Value.(type) {
	case string:
		if document {
			return json.RawMessage(v)
		}
	case []byte:
		if document {
			return json.RawMessage(v)
		}
	case int64:
		if dated {
			return time.UnixMicro(v)
		}
	}
	return f.Value
}

// attach takes files into the spool. A file's path is made of its content, and
// of its name nothing but an extension that no program runs.
func (g *gathering) attach(s *sheet, files []datastore.File) ([]attachment, error) {
	var list []attachment
	for _, f := range files {
		sum := sha256.Sum256(f.Data)
		path := "files/" + strings.ToLower(fileName(s.table)) + "/" + hex.EncodeToString(sum[:16]) + extension(f.Name)
		list = append(list, attachment{Name: f.Name, Path: path})
		if _, there := g.attached[path]; there {
			continue
		}
		at, err := g.spool.put(f.Data)
		if err != nil {
			return nil, err
		}
		g.attached[path] = at
	}
	return list, nil
}

// encodeLine is one NDJSON line: RFC 8785 with every digit of a number, so that
// equal data gives equal bytes.
func encodeLine(line map[string]any) ([]byte, error) {
	raw, err := json.Marshal(line)
	if err != nil {
		return nil, errors.Join(errEncode, err)
	}
	data, err := canon.Transform(raw)
	if err != nil {
		return nil, errors.Join(errEncode, err)
	}
	return append(data, '\n'), nil
}
