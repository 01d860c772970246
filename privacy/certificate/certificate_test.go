package certificate_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/certificate"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 123456789, time.UTC)

func newKey(t *testing.T) (ed25519.PrivateKey, ed25519.PublicKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return key, public
}

// statement has a line of every class.
func statement(t testing.TB, salt []byte) certificate.Statement {
	t.Helper()
	person, err := certificate.Commit(salt, "main", "p1")
	require.NoError(t, err)
	return certificate.Statement{
		Intent: 7, Person: person, UnreadableLiveAt: noon, FinalAt: noon.Add(time.Hour),
		AuditEvent: "0195d2c0-0000-7000-8000-00000000000a", NotCovered: []string{"mail already sent"},
		Records: []certificate.Records{
			{Store: "crm", Table: "contacts", Class: certificate.Deleted, Count: 1},
			{Store: "crm", Table: "activities", Class: certificate.Redacted, Count: 2},
			{Store: "crm", Table: "visits", Class: certificate.Pseudonymised, Count: 3},
			{Store: "crm", Table: "invoices", Class: certificate.Kept, Count: 4, Until: noon.AddDate(10, 0, 0), Because: "de-hgb-257"},
			{Store: "crm", Table: "letters", Class: certificate.Kept, Count: 5, Because: "hold"},
			{Store: "vault", Table: "person keys", Class: certificate.Shredded, Count: 6},
		},
	}
}

func sign(t testing.TB, key crypto.Signer, s certificate.Statement) *certificate.Certificate {
	t.Helper()
	made, err := certificate.Sign(t.Context(), key, s)
	require.NoError(t, err)
	return made
}

// envelope is the outer form, to be spoilt.
type envelope struct {
	PayloadType string            `json:"payloadType"`
	Payload     string            `json:"payload"`
	Signatures  []json.RawMessage `json:"signatures"`
}

func open(t testing.TB, data []byte) (e envelope) {
	t.Helper()
	require.NoError(t, json.Unmarshal(data, &e))
	return e
}

func (e envelope) bytes(t testing.TB) []byte {
	t.Helper()
	data, err := json.Marshal(e)
	require.NoError(t, err)
	return data
}

func (e envelope) payload(t testing.TB) string {
	t.Helper()
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	require.NoError(t, err)
	return string(payload)
}

func TestACertificateSaysWhatWasStated(t *testing.T) {
	key, public := newKey(t)
	salt := certificate.NewSalt()
	want := statement(t, salt)
	made := sign(t, key, want)
	read, err := certificate.Verify(made.Envelope, public)
	require.NoError(t, err)
	require.Equal(t, made, read)

	micro := func(at time.Time) time.Time { return at.Truncate(time.Microsecond) }
	want.UnreadableLiveAt, want.FinalAt, want.Records[3].Until = micro(want.UnreadableLiveAt), micro(want.FinalAt), micro(want.Records[3].Until)
	require.Equal(t, want, read.Statement)

	e := open(t, made.Envelope)
	sum := sha256.Sum256([]byte(e.payload(t)))
	require.Equal(t, sum[:], read.Digest)
	require.Equal(t, "application/vnd.in-toto+json", e.PayloadType)
	spki, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	sum = sha256.Sum256(spki)
	require.Equal(t, hex.EncodeToString(sum[:]), read.KeyID)
	require.Contains(t, string(e.Signatures[0]), `"keyid":"`+read.KeyID+`"`)
	require.NotContains(t, e.payload(t), "p1", "the person")
	require.NotContains(t, e.payload(t), "main", "the tenant")
}

// What is not gone is never counted as erased, and what is kept says why.
func TestOnlyWhatIsGoneIsErased(t *testing.T) {
	key, public := newKey(t)
	read, err := certificate.Verify(sign(t, key, statement(t, certificate.NewSalt())).Envelope, public)
	require.NoError(t, err)
	var erased, left []certificate.Class
	for _, r := range read.Statement.Records {
		if r.Class.Erased() {
			erased = append(erased, r.Class)
		} else {
			left = append(left, r.Class)
		}
		require.Equal(t, r.Class == certificate.Kept, r.Because != "")
	}
	require.Equal(t, []certificate.Class{certificate.Deleted, certificate.Redacted, certificate.Shredded}, erased)
	require.Equal(t, []certificate.Class{certificate.Pseudonymised, certificate.Kept, certificate.Kept}, left)
	require.False(t, certificate.Class("").Erased())
	require.False(t, certificate.Class("hashed").Erased())
}

func TestTheSaltShowsWhoseItIs(t *testing.T) {
	salt := certificate.NewSalt()
	s := statement(t, salt)
	require.True(t, s.Concerns(salt, "main", "p1"))
	for _, no := range []struct {
		salt           []byte
		tenant, person string
	}{{salt, "main", "p2"}, {salt, "t2", "p1"}, {salt, "mai", "np1"}, {certificate.NewSalt(), "main", "p1"}, {nil, "main", "p1"}, {salt[1:], "main", "p1"}, {salt, "", "p1"}, {salt, "main", ""}} {
		require.False(t, s.Concerns(no.salt, no.tenant, no.person))
		_, err := certificate.Commit(no.salt, no.tenant, no.person)
		require.Equal(t, len(no.salt) != 32 || no.tenant == "" || no.person == "", errors.Is(err, certificate.ErrStatement))
	}
	require.False(t, certificate.Statement{}.Concerns(salt, "", ""))
	require.NotEqual(t, certificate.NewSalt(), certificate.NewSalt())
	person, err := certificate.Commit(seed(0), "main", "p1")
	require.NoError(t, err)
	require.Equal(t, "0cb0b939de2d545329dcd41fba49bb43bf27288b4500c1ad8bbcbfff3e676347", hex.EncodeToString(person), "the vector of formats.md")
}

// seed is 32 bytes, counted up.
func seed(first byte) []byte {
	data := make([]byte, 32)
	for i := range data {
		data[i] = first + byte(i)
	}
	return data
}

func TestStatementsThatMustNotBeMade(t *testing.T) {
	key, _ := newKey(t)
	for name, spoil := range map[string]func(*certificate.Statement){
		"no intent":              func(s *certificate.Statement) { s.Intent = 0 },
		"intent beyond JSON":     func(s *certificate.Statement) { s.Intent, s.Records[0].Count = 1<<53, 1<<53 },
		"no person":              func(s *certificate.Statement) { s.Person = nil },
		"a person in the clear":  func(s *certificate.Statement) { s.Person = []byte("p1") },
		"no date":                func(s *certificate.Statement) { s.UnreadableLiveAt = time.Time{} },
		"no last date":           func(s *certificate.Statement) { s.FinalAt = time.Time{} },
		"final too early":        func(s *certificate.Statement) { s.FinalAt = noon.Add(-time.Second) },
		"final beyond all years": func(s *certificate.Statement) { s.FinalAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"kept beyond all years":  func(s *certificate.Statement) { s.Records[3].Until = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"an empty line":          func(s *certificate.Statement) { s.NotCovered = []string{""} },
		"no UTF-8":               func(s *certificate.Statement) { s.NotCovered = []string{"\xff"} },
		"no class":               func(s *certificate.Statement) { s.Records[0].Class = "" },
		"a class of its own":     func(s *certificate.Statement) { s.Records[0].Class = "anonymised" },
		"no store":               func(s *certificate.Statement) { s.Records[0].Store = "" },
		"no table":               func(s *certificate.Statement) { s.Records[0].Table = "" },
		"fewer than none":        func(s *certificate.Statement) { s.Records[0].Count = -1 },
		"kept for no reason":     func(s *certificate.Statement) { s.Records[3].Because = "" },
		"deleted until":          func(s *certificate.Statement) { s.Records[0].Until = noon },
		"deleted because":        func(s *certificate.Statement) { s.Records[0].Because = "gdpr-17" },
		"pseudonymised because":  func(s *certificate.Statement) { s.Records[2].Because = "statistics" },
	} {
		s := statement(t, certificate.NewSalt())
		spoil(&s)
		_, err := certificate.Sign(t.Context(), key, s)
		require.ErrorIs(t, err, certificate.ErrStatement, name)
	}
}

func TestALineOfNoneIsLeftOut(t *testing.T) {
	key, public := newKey(t)
	s := statement(t, certificate.NewSalt())
	s.Records[0].Count = 0
	require.Len(t, sign(t, key, s).Statement.Records, len(s.Records)-1)
	s.Records, s.NotCovered, s.AuditEvent = nil, nil, ""
	made := sign(t, key, s)
	require.Contains(t, open(t, made.Envelope).payload(t), `"classes":[]`)
	read, err := certificate.Verify(made.Envelope, public)
	require.NoError(t, err, "a certificate of a person about whom nothing was found")
	require.Empty(t, read.Statement.Records)
}

// One good signature is enough, whatever stands beside it and in which order.
func TestASignatureBesideOthers(t *testing.T) {
	key, public := newKey(t)
	other, otherPublic := newKey(t)
	s := statement(t, certificate.NewSalt())
	mine, theirs := open(t, sign(t, key, s).Envelope), open(t, sign(t, other, s).Envelope)
	for _, garbage := range []string{
		`{"sig":"%%%"}`, `{"keyid":"","sig":"%%%"}`, `{"keyid":7,"sig":7}`, `7`, `null`, `{}`, `{"sig":""}`, `{"sig":"AAAA"}`, `[]`,
		`{"keyid":"` + strings.Repeat("0", 64) + `","sig":"` + base64.StdEncoding.EncodeToString(make([]byte, 64)) + `"}`,
		string(theirs.Signatures[0]),
	} {
		for _, list := range [][]json.RawMessage{{mine.Signatures[0], json.RawMessage(garbage)}, {json.RawMessage(garbage), mine.Signatures[0]}} {
			e := mine
			e.Signatures = list
			read, err := certificate.Verify(e.bytes(t), public)
			require.NoError(t, err, garbage)
			require.Equal(t, s.Records[0], read.Statement.Records[0])
			_, newest := newKey(t)
			_, err = certificate.Verify(e.bytes(t), newest, public)
			require.NoError(t, err, "the key is one of a history")
		}
		e := mine
		e.Signatures = []json.RawMessage{json.RawMessage(garbage)}
		_, err := certificate.Verify(e.bytes(t), public)
		require.ErrorIs(t, err, certificate.ErrNotSigned, garbage)
	}
	both := mine
	both.Signatures = append(both.Signatures, theirs.Signatures[0])
	read, err := certificate.Verify(both.bytes(t), otherPublic)
	require.NoError(t, err)
	require.Equal(t, sign(t, other, s).KeyID, read.KeyID)

	many := mine
	for len(many.Signatures) <= 100 {
		many.Signatures = append(many.Signatures, json.RawMessage(`{}`))
	}
	_, err = certificate.Verify(many.bytes(t), public)
	require.ErrorIs(t, err, certificate.ErrMalformed, "more signatures than anybody makes")
}

func TestACertificateThatWasTouched(t *testing.T) {
	key, public := newKey(t)
	made := sign(t, key, statement(t, certificate.NewSalt()))
	e := open(t, made.Envelope)
	_, stranger := newKey(t)
	refused := func(want error, data []byte, keys ...ed25519.PublicKey) {
		t.Helper()
		read, err := certificate.Verify(data, keys...)
		require.ErrorIs(t, err, want)
		require.Nil(t, read)
	}
	refused(certificate.ErrNotSigned, made.Envelope)
	refused(certificate.ErrNotSigned, made.Envelope, stranger)
	refused(certificate.ErrKeys, made.Envelope, public[1:])
	refused(certificate.ErrKeys, made.Envelope, public, nil)
	refused(certificate.ErrMalformed, []byte("{}"), public)
	refused(certificate.ErrMalformed, nil, public)
	refused(certificate.ErrMalformed, []byte(strings.Replace(string(made.Envelope), "in-toto", "in-dodo", 1)), public)
	changed := e
	changed.Payload = "%"
	refused(certificate.ErrMalformed, changed.bytes(t), public)
	changed.Payload = base64.StdEncoding.EncodeToString([]byte(strings.Replace(e.payload(t), `"count":1`, `"count":2`, 1)))
	refused(certificate.ErrNotSigned, changed.bytes(t), public)
	changed = e
	changed.Signatures = nil
	refused(certificate.ErrNotSigned, changed.bytes(t), public)
	_, err := certificate.Verify([]byte(strings.Replace(string(made.Envelope), `"keyid":"`, `"keyid":"00`, 1)), public)
	require.NoError(t, err, "the key id is a hint")
}

// A trusted key that signs other things makes no certificates of them.
func TestSignedAndNoCertificate(t *testing.T) {
	key, public := newKey(t)
	payload := open(t, sign(t, key, statement(t, certificate.NewSalt())).Envelope).payload(t)
	for _, change := range [][2]string{
		{`erasure/v1`, `drill/v1`},
		{`in-toto.io/Statement/v1`, `in-toto.io/Statement/v2`},
		{`{"_type"`, `{ "_type"`},
		{`"name":"erasure/7"`, `"name":"erasure/07"`},
		{`"name":"erasure/7"`, `"name":"7"`},
		{`"name":"erasure/7"`, `"name":"erasure/0"`},
		{`"class":"deleted"`, `"class":"hashed"`},
		{`"because":"hold",`, ``},
		{`"count":1,`, `"count":-1,`},
		{`123456Z"`, `123456+01:00"`},
		{`"sha256":"`, `"sha512":"`},
		{`"subject":[`, `"subject":[{"digest":{},"name":"erasure/7"},`},
	} {
		changed := strings.Replace(payload, change[0], change[1], 1)
		require.NotEqual(t, payload, changed, change[0])
		_, err := certificate.Verify(signAnything(t, key, changed), public)
		require.ErrorIs(t, err, certificate.ErrMalformed, change[1])
	}
	_, err := certificate.Verify(signAnything(t, key, payload), public)
	require.NoError(t, err)
	upper := strings.ToUpper(hex.EncodeToString(statement(t, seed(0)).Person))
	s := sign(t, key, statement(t, seed(0)))
	_, err = certificate.Verify(signAnything(t, key, strings.Replace(open(t, s.Envelope).payload(t), strings.ToLower(upper), upper, 1)), public)
	require.ErrorIs(t, err, certificate.ErrMalformed, "one spelling")
}

func signAnything(t testing.TB, key ed25519.PrivateKey, payload string) []byte {
	t.Helper()
	kind := "application/vnd.in-toto+json"
	pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(pae)))
	return envelope{kind, base64.StdEncoding.EncodeToString([]byte(payload)), []json.RawMessage{json.RawMessage(`{"sig":"` + sig + `"}`)}}.bytes(t)
}

// service is a signer that is somewhere else.
type service struct {
	public crypto.PublicKey
	sign   func(data []byte) ([]byte, error)
}

func (s service) Public() crypto.PublicKey { return s.public }

func (s service) Sign(_ io.Reader, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != 0 {
		return nil, errors.New("asked to sign a digest")
	}
	return s.sign(data)
}

func TestSignersThatAreElsewhere(t *testing.T) {
	key, public := newKey(t)
	s := statement(t, certificate.NewSalt())
	good := func(data []byte) ([]byte, error) { return ed25519.Sign(key, data), nil }
	read, err := certificate.Verify(sign(t, service{public, good}, s).Envelope, public)
	require.NoError(t, err)
	require.True(t, read.Statement.Records[0].Class.Erased())

	denied := errors.New("denied")
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, stranger := newKey(t)
	for name, signer := range map[string]crypto.Signer{
		"none":            nil,
		"another kind":    curve,
		"a short key":     service{public[:31], good},
		"another's key":   service{stranger, good},
		"denied":          service{public, func([]byte) ([]byte, error) { return nil, denied }},
		"an empty answer": service{public, func([]byte) ([]byte, error) { return nil, nil }},
	} {
		_, err := certificate.Sign(t.Context(), signer, s)
		require.ErrorIs(t, err, certificate.ErrSigner, name)
		require.Equal(t, name == "denied", errors.Is(err, denied))
	}
}

// A key service that hangs holds nobody beyond the deadline.
func TestASignerThatHangs(t *testing.T) {
	_, public := newKey(t)
	asked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := certificate.Sign(ctx, service{public, func([]byte) ([]byte, error) {
		close(asked)
		<-release
		return nil, nil
	}}, statement(t, certificate.NewSalt()))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, certificate.ErrSigner)
}

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestParseKeys(t *testing.T) {
	_, one := newKey(t)
	_, two := newKey(t)
	text := append(append(publicPEM(t, one), "since 2026\n"...), publicPEM(t, two)...)
	keys, err := certificate.ParseKeys(text)
	require.NoError(t, err)
	require.Equal(t, []ed25519.PublicKey{one, two}, keys)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"nothing":       nil,
		"another kind":  publicPEM(t, curve.Public()),
		"a damaged one": []byte(strings.Replace(string(text), "MC", "%%", 1)),
		"no key":        pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		_, err := certificate.ParseKeys(bad)
		require.ErrorIs(t, err, certificate.ErrKeys, name)
	}
}
