package privacy_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// A desk ends up in a log sooner or later; its signing key does not.
func TestFormattingDoesNotReachTheSigningKey(t *testing.T) {
	s := newSystem(t)
	key := ed25519.NewKeyFromSeed(seqKey(0xa1))
	s.cfg.Sign = key
	s.reopen()
	part := key[:8] // of the seed; a part is enough to tell
	spellings := []string{
		strings.Trim(fmt.Sprintf("%d", part), "[]"),
		hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		fmt.Sprintf("% x", part), fmt.Sprintf("%# x", part),
		base64.StdEncoding.EncodeToString(part[:6]), string(part), strings.Trim(fmt.Sprintf("%q", part), `"`),
	}
	bytewise := func(format, separator string) string {
		var list []string
		for _, b := range part {
			list = append(list, fmt.Sprintf(format, b))
		}
		return strings.Join(list, separator)
	}
	spellings = append(spellings, bytewise("%#x", ", "), bytewise("%o", " "), bytewise("%b", " "), bytewise("%c", " "), bytewise("%q", " "), bytewise("%U", " "))

	found := func(text string) bool {
		for _, spelling := range spellings {
			if strings.Contains(text, spelling) {
				return true
			}
		}
		return false
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U"} {
		require.True(t, found(fmt.Sprintf(verb, key)), "the search finds %s of the key", verb)
		for name, value := range map[string]any{
			"desk": s.desk, "config": s.cfg, "pointer to a config": &s.cfg,
			"around them":         struct{ D, C any }{s.desk, s.cfg},
			"hidden in a struct":  struct{ d *privacy.Desk }{s.desk},
			"the desk's own bits": reflect.ValueOf(s.desk).Elem(), // no method keeps formatting out here
		} {
			require.False(t, found(fmt.Sprintf(verb, value)), "%s of %s", verb, name)
		}
	}
	require.Equal(t, "privacy.Desk privacy.Config", fmt.Sprintf("%+v %#v", s.desk, s.cfg), "nor anything else that they hold")
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		slog.New(handler(&out)).Info("open", slog.Any("desk", s.desk), slog.Any("config", s.cfg))
		require.Contains(t, out.String(), "privacy.Desk")
		require.Contains(t, out.String(), "privacy.Config")
		require.False(t, found(out.String()))
	}
}
