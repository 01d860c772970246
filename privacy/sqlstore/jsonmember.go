package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
)

var errNoJSON = errors.New("no JSON")

// member changes one member of the row's document; documents are those that
// change, by column. Other members keep their bytes.
func (m maker) member(ctx context.Context, documents map[string]string) error {
	document, changedBefore := documents[m.c.Name]
	if !changedBefore {
		stored, _ := m.l.get(shown(m.c.Name))
		text, err := textOf(stored)
		if err != nil || text == "" {
			return err
		}
		document = text
	}
	made, err := edit([]byte(document), pointer(m.c.Path), func(old json.RawMessage) (json.RawMessage, error) {
		return m.json(ctx, old)
	})
	if errors.Is(err, errNoJSON) {
		return m.fail("holds no JSON, or JSON as a text within JSON, so its members cannot be told apart")
	}
	if err == nil && !bytes.Equal(made, []byte(document)) {
		documents[m.c.Name] = string(made)
	}
	return err
}

// json is what the action makes of a member; a null stays.
func (m maker) json(ctx context.Context, old json.RawMessage) (json.RawMessage, error) {
	var decoded any
	decoder := json.NewDecoder(bytes.NewReader(old))
	decoder.UseNumber()
	if err := decoder.Decode(&decoded); err != nil {
		return nil, errNoJSON
	}
	text, isText := decoded.(string)
	number, isNumber := decoded.(json.Number)
	switch {
	case decoded == nil, m.action == datamap.Null:
		return json.RawMessage("null"), nil
	case m.action == datamap.Redact && !strings.Contains(m.c.To, datamap.RowMark):
		if to := redacted(m.c); isNumber && json.Valid([]byte(to)) {
			return json.RawMessage(to), nil
		}
	case isNumber && m.action == datamap.Generalise:
		v, err := value.Of(number)
		if err != nil {
			return nil, m.fail("holds a number that is no date")
		}
		made, changed := coarse(v, m.c.To)
		if !changed {
			return old, nil
		}
		return json.Marshal(made)
	case isNumber:
		text = number.String()
	case !isText:
		return nil, m.fail("the member is no text: say null or redact, or name its own members")
	}
	if m.action == datamap.Generalise {
		v, _ := value.Of(text)
		made, changed := coarse(v, m.c.To)
		if !changed {
			return old, nil
		}
		return json.Marshal(made)
	}
	made, err := m.text(ctx, text)
	if err != nil || made == text && isText {
		return old, err
	}
	return marshal(made)
}

func marshal(text string) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(text)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// pointer takes an RFC 6901 pointer apart.
func pointer(path string) []string {
	parts := strings.Split(path, "/")[1:]
	for i := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i])
	}
	return parts
}

// edit replaces the value at a path, wherever a member of that name stands, as
// often as it stands there, or cuts it out where f makes nothing of it; a path
// that leads to nothing changes nothing.
func edit(document json.RawMessage, path []string, f func(json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	if len(path) == 0 {
		return f(document)
	}
	names, items, err := children(document)
	if err != nil || items == nil {
		return document, cmp.Or(err, inner(document))
	}
	changed := false
	for i, item := range items {
		if names[i] != path[0] && path[0] != datamap.Every {
			continue
		}
		made, err := edit(item, path[1:], f)
		if err != nil {
			return nil, err
		}
		changed = changed || !bytes.Equal(made, item)
		items[i] = made
	}
	if !changed {
		return document, nil
	}
	return joined(document, names, items)
}

// inner is errNoJSON of a text that is a document itself: what was written into JSON
// twice holds members that no path leads to.
func inner(document json.RawMessage) error {
	var text string
	if json.Unmarshal(document, &text) != nil || !json.Valid([]byte(text)) || !strings.ContainsAny(text, "[{") {
		return nil
	}
	return errNoJSON
}

// children are the members of an object by name, or the items of an array by
// number; nil of anything else.
func children(document json.RawMessage) (names []string, items []json.RawMessage, err error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	start, err := decoder.Token()
	if err != nil || !json.Valid(document) {
		return nil, nil, errNoJSON
	}
	if _, isContainer := start.(json.Delim); !isContainer {
		return nil, nil, nil
	}
	for decoder.More() {
		name := strconv.Itoa(len(names))
		if start == json.Delim('{') {
			token, _ := decoder.Token() // a name: the document is valid
			name, _ = token.(string)
		}
		var item json.RawMessage
		if err := decoder.Decode(&item); err != nil {
			return nil, nil, errNoJSON
		}
		names, items = append(names, name), append(items, slices.Clone(item))
	}
	return names, items, nil
}

func joined(document json.RawMessage, names []string, items []json.RawMessage) (json.RawMessage, error) {
	isObject := bytes.HasPrefix(bytes.TrimSpace(document), []byte("{"))
	open, shut := byte('['), byte(']')
	if isObject {
		open, shut = '{', '}'
	}
	out := []byte{open}
	for i, item := range items {
		switch {
		case item != nil:
		case isObject:
			continue // cut out
		default:
			item = json.RawMessage("null") // the items behind it keep their numbers
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		if isObject {
			name, err := marshal(names[i])
			if err != nil {
				return nil, err
			}
			out = append(append(out, name...), ':')
		}
		out = append(out, item...)
	}
	return append(out, shut), nil
}
