package rowjob

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/value"
)

// bytesPrefix begins the text of a key whose bytes are no text, as PostgreSQL
// writes bytea.
const bytesPrefix = `\x`

// RowText does what RowText of package encryption promises.
func RowText(key ...any) (string, error) {
	parts := make([]string, len(key))
	for i, k := range key {
		text, err := keyText(k)
		if err != nil {
			return "", err
		}
		parts[i] = text
	}
	text := joinKey(parts)
	return text, keyring.CheckID("row", text)
}

func keyText(key any) (string, error) {
	v, err := value.Of(key)
	if err != nil {
		return "", fmt.Errorf("%w: key of a row: %w", keyring.ErrID, err)
	}
	if v.Kind() == value.Bytes {
		raw, err := v.Bytes()
		if err == nil && (!ids.Plain(string(raw)) || strings.HasPrefix(string(raw), bytesPrefix)) {
			return bytesPrefix + hex.EncodeToString(raw), nil
		}
	}
	text, err := v.ID()
	if err != nil {
		return "", fmt.Errorf("%w: key of a row: %w", keyring.ErrID, err)
	}
	return text, nil
}

var (
	escapeKey   = strings.NewReplacer("%", "%25", "/", "%2F")
	unescapeKey = strings.NewReplacer("%25", "%", "%2F", "/")
)

func joinKey(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = escapeKey.Replace(part)
	}
	return strings.Join(escaped, "/")
}

// splitKey is the way back; false says that the text has another number of parts.
func splitKey(text string, n int) ([]string, bool) {
	if n == 1 {
		return []string{text}, true
	}
	parts := strings.Split(text, "/")
	for i := range parts {
		parts[i] = unescapeKey.Replace(parts[i])
	}
	return parts, len(parts) == n
}

// placeText writes a value of a cursor so that placeOf gives it back: text and
// integers as they are, the rest behind a backslash. It differs from the text of
// the row where the database orders values by something else than their text.
func placeText(v any) string {
	switch k := v.(type) {
	case string:
		if strings.HasPrefix(k, `\`) {
			return `\t` + k
		}
		return k
	case []byte:
		return bytesPrefix + hex.EncodeToString(k)
	case float64:
		return `\f` + strconv.FormatFloat(k, 'g', -1, 64)
	}
	return fmt.Sprint(v) // int64, uint64
}

// placeOf reads a value of a cursor. Where values have classes of their own
// (SQLite), digits are an integer: integers come before all text, so that a text
// of digits is at worst read again.
func placeOf(text string, classes bool) (any, error) {
	refused := fmt.Errorf("%w: After is no place of this table", keyring.ErrDefinition)
	switch {
	case strings.HasPrefix(text, bytesPrefix):
		raw, err := hex.DecodeString(text[len(bytesPrefix):])
		if err != nil {
			return nil, refused
		}
		return raw, nil
	case strings.HasPrefix(text, `\t`):
		return text[len(`\t`):], nil
	case strings.HasPrefix(text, `\f`):
		f, err := strconv.ParseFloat(text[len(`\f`):], 64)
		if err != nil {
			return nil, refused
		}
		return f, nil
	}
	if n, ok := integerOf(text); ok && classes {
		return n, nil
	}
	return text, nil
}

// integerOf reads the one spelling of an integer.
func integerOf(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == text
}
