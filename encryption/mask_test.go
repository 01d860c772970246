package encryption_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// forms are the ways in which bytes may show in a log.
func forms(b []byte) []string {
	numbers, hexes := make([]string, len(b)), make([]string, len(b))
	for i, c := range b {
		numbers[i], hexes[i] = strconv.Itoa(int(c)), fmt.Sprintf("%#x", c)
	}
	lower := hex.EncodeToString(b)
	return []string{
		string(b), strings.Join(numbers, " "), strings.Join(numbers, ","), strings.Join(numbers, ", "), strings.Join(hexes, ", "), lower, strings.ToUpper(lower),
		base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b), strings.Trim(strconv.Quote(string(b)), `"`),
	}
}

func formsOf(n int64) (out []string) {
	for _, verb := range []string{"%d", "%x", "%X", "%o", "%b", "%e", "%g"} {
		out = append(out, fmt.Sprintf(verb, n))
	}
	return out
}

// printed is everything that package fmt, log/slog and encoders make of a value,
// also where it stands in structs, for which fmt asks no methods.
func printed(t *testing.T, value any) map[string]string {
	t.Helper()
	type shown struct{ V any }
	type hidden struct{ v any }
	out := map[string]string{}
	for name, in := range map[string]any{
		"itself": value, "exported": shown{value}, "hidden": hidden{value}, "pointer": &hidden{value}, "slice": []any{value}, "map": map[string]any{"k": value},
	} {
		for verb := range strings.SplitSeq("v +v #v s +s q +q #q x X #x % x d o b e g t c U p w T", " ") {
			out["%"+verb+" "+name] = fmt.Sprintf("%"+verb, in)
		}
		out["Sprint "+name] = fmt.Sprint(in)
		out["Sprintln "+name] = fmt.Sprintln(in)
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", in)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", in)
		out["slog "+name] = log.String()
		if text, err := json.Marshal(in); err == nil {
			out["json "+name] = string(text)
		}
		if text, err := xml.Marshal(in); err == nil {
			out["xml "+name] = string(text)
		}
	}
	return out
}

// The value of an index says which rows are alike, in a log as well as in the
// table.
func TestAnIndexValuePrintsAMask(t *testing.T) {
	table, err := encryptiontest.Vault(t, "main").Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{
		{Column: "email_idx", As: encryption.Email, Bits: 63}, {Column: "email_wide", As: encryption.Email, Bits: 128},
	}}}})
	require.NoError(t, err)
	w, err := table.Writer(t.Context(), "main", "p1")
	require.NoError(t, err)
	narrow, wide := w.Int64("email_idx", "ann@b.example"), w.Index("email_wide", "ann@b.example")
	number, ok := narrow.Int64()
	require.True(t, ok)
	secret := append(formsOf(number), forms(wide.Bytes())...)
	probes, err := table.Lookup(t.Context(), "main", "email_idx", "ann@b.example")
	require.NoError(t, err)
	_, args := probes.Where("")
	type row struct {
		ID  string
		Idx encryption.IndexValue
		idx encryption.IndexValue
	}
	for name, value := range map[string]any{
		"narrow": narrow, "wide": wide, "to narrow": &narrow, "to wide": &wide, "probes": probes, "args": args,
		"row": row{"c1", narrow, wide}, "to row": &row{"c1", narrow, wide}, "rows": []row{{"c1", wide, narrow}},
	} {
		for how, text := range printed(t, value) {
			for _, form := range secret {
				require.NotContains(t, text, form, "%s: %s", name, how)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%08b"} {
		require.Equal(t, "index(masked)", fmt.Sprintf(verb, narrow), verb)
	}
	text, err := json.Marshal(map[string]any{"narrow": narrow, "wide": wide, "null": w.Int64("email_idx", " "), "failed": w.Int64("nope", "x")})
	require.NoError(t, err)
	require.JSONEq(t, `{"narrow":"index(masked)","wide":"index(masked)","null":"index(null)","failed":"index(failed)"}`, string(text))

	require.Equal(t, slog.StringValue("index(masked)"), slog.AnyValue(narrow).Resolve(), "a handler that looks into values itself finds none")

	// What asks for the value gets it.
	stored, err := narrow.Value()
	require.NoError(t, err)
	require.Equal(t, number, stored)
	stored, err = wide.Value()
	require.NoError(t, err)
	require.Equal(t, wide.Bytes(), stored)
	require.Len(t, wide.Bytes(), 16)
	require.Nil(t, narrow.Bytes())
	_, ok = wide.Int64()
	require.False(t, ok)
	stored, err = encryption.IndexValue{}.Value()
	require.NoError(t, err)
	require.Nil(t, stored)
	require.True(t, encryption.IndexValue{}.IsNull())
	_, err = w.Int64("nope", "x").Value()
	require.ErrorIs(t, err, encryption.ErrDefinition)
}

// Nothing that an application holds of this package prints a key or a value.
func TestNothingPrintsKeysOrValues(t *testing.T) {
	key := []byte("thirty-two bytes: a machine key!")
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return insecurekeys.KEK(key) }}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	contacts, err := vault.Table(contactsTable)
	require.NoError(t, err)
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	r, err := contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed := w.Text("email", "plaintext@canary.example")
	kek, err := insecurekeys.KEK(key)
	require.NoError(t, err)
	secret := append(forms(key), "plaintext")
	for name, value := range map[string]any{
		"vault": vault, "config": cfg, "kek": kek, "table": contacts, "writer": w, "copy of the writer": *w, "reader": r, "sealed": sealed,
		"failed": w.Text("nope", "plaintext"), "sealer": vault.PersonSealer("undo"), "tagger": vault.Tagger("seal"), "manifests": vault.ManifestTagger(), "audit keys": vault.AuditKeys(),
	} {
		for how, text := range printed(t, value) {
			for _, form := range secret {
				require.NotContains(t, text, form, "%s: %s", name, how)
			}
		}
	}
}
