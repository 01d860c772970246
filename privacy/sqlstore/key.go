package sqlstore

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
)

// keyPart is the value of one key column: as stored, and as the text that
// stands for it.
type keyPart struct {
	stored any
	text   string
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

// spelled is the text that stands for a value of the column: bytes that are no
// text, or could be taken for what is written for such, are \x and hexadecimal.
func (f field) spelled(stored any) (string, error) {
	b, isBytes := stored.([]byte)
	if isBytes && (f.kind == binary || f.on == sqldb.SQLite) && !isText(b) {
		return `\x` + hex.EncodeToString(b), nil
	}
	if number, ok := stored.(float64); ok && f.on == sqldb.SQLite {
		return realText(number), nil
	}
	return textOf(stored)
}

// realText is what SQLite makes of a REAL as text.
func realText(number float64) string {
	text := strconv.FormatFloat(number, 'g', 15, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// stored is a value that the column may hold for an id: on SQLite, whose columns
// have no types, that of a number where it is one.
func (f field) stored(id string) any {
	if n, err := strconv.ParseInt(id, 10, 64); f.on == sqldb.SQLite && err == nil && strconv.FormatInt(n, 10) == id {
		return n
	}
	if b := bytesOf(id); f.on == sqldb.SQLite && string(b) != id {
		return b
	}
	return id
}

func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 && !bytes.HasPrefix(b, []byte(`\x`))
}

// bytesOf is what spelled has written.
func bytesOf(id string) []byte {
	if digits, ok := strings.CutPrefix(id, `\x`); ok && strings.ToLower(digits) == digits {
		if b, err := hex.DecodeString(digits); err == nil && !isText(b) {
			return b
		}
	}
	return []byte(id)
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
