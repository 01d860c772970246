package sqlstore

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/value"
)

// keyPart is the value of one key column: as stored, and as the text that
// stands for it.
type keyPart struct {
	stored any
	text   string
}

func keyParts(values []any) ([]keyPart, error) {
	parts := make([]keyPart, len(values))
	for i, stored := range values {
		v, err := value.Scanned(stored)
		if err == nil && v.IsNull() {
			_, err = v.ID() // a row without a key has no name
		}
		if err != nil {
			return nil, value.In("a key", err)
		}
		if parts[i].text, err = textOf(stored); err != nil {
			return nil, value.In("a key", err)
		}
		parts[i].stored = stored
	}
	return parts, nil
}

// joinKey writes a key as text: parts joined by "/", "%" and "/" escaped in
// keys of several columns.
func joinKey(parts []keyPart) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		if texts[i] = p.text; len(parts) > 1 {
			texts[i] = strings.NewReplacer("%", "%25", "/", "%2F").Replace(p.text)
		}
	}
	return strings.Join(texts, "/")
}

func splitKey(key string, n int) []string {
	if n == 1 {
		return []string{key}
	}
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("%2F", "/", "%25", "%").Replace(parts[i])
	}
	return parts
}

// uuidTime is the time inside a UUIDv7, zero for anything else.
func uuidTime(key string) time.Time {
	id, err := uuid.Parse(key)
	if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		return time.Time{}
	}
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return time.UnixMilli(ms).UTC()
}

// textOf is the text that stands for an id, also the empty one, and "" for NULL.
func textOf(stored any) (string, error) {
	v, err := value.Scanned(stored)
	if err != nil || v.IsNull() {
		return "", err
	}
	if v.Kind() == value.Text || v.Kind() == value.Bytes {
		return v.Text()
	}
	return v.ID()
}

// isPositive reads a count.
func isPositive(stored any) (bool, error) {
	v, err := value.Scanned(stored)
	if err != nil {
		return false, err
	}
	n, err := v.Integer()
	return n > 0, err
}
