package audit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// Whatever stands in the clear is refused where it says who somebody is, in
// every member that an application fills, and before anything is written.
func TestNothingThatNamesSomebodyEntersTheLog(t *testing.T) {
	b := newBench(t)
	telling := []string{
		"Ann Smith <ann@b.example>\n", "ann@b.example", "Ann Smith", "Ann\u00a0Smith", "Ann\u200bSmith", "Ann\u3164Smith", "\ufeffann", "ann\u202e",
		"ann\uff20b.example", "ann\ufe6bb.example", "ann%40b.example", "\uff1cann\uff1e", "mailto:ann@b.example",
		"+442079460958", "+44(0)20-7946-0958", "tel:+442079460958", "TEL:+44.20.7946.0958",
		"192.168.0.7", "192.168.0.7:443", "10.0.0.0/8", "2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:443", "fe80::1%eth0", "::ffff:192.0.2.1", "203.0.113.7,10.0.0.1", "for=203.0.113.7",
		"+49/170/1234567", "+49_170_1234567", "\uff0b49170123456", "\uff0b\uff14\uff19\uff11\uff17\uff10\uff11\uff12\uff13", "+\u0664\u0669\u0661\u0667\u0660\u0661\u0662\u0663", "\u207a491701234567",
		"tel:+491701234567;ext=2", "tel:0170-1234567", "sms:+491701234567", "sms:+491701234567?body=x", "callto:+491701234567", "callto://+491701234567", "whatsapp:+491701234567", "q:+4917012345678", "%2B491701234567", "%252B491701234567", "(0170)1234567", "+(49)170123456",
		"ip:203.0.113.7", "host:2001:db8::1", "203.0.113.7:http", "203.0.113.7-web", "ip-203.0.113.7", "client_203.0.113.7", "session+203.0.113.7", "203.0.113.7.", "203.0.113.007", "http://203.0.113.7", "203%2E0%2E113%2E7", "2001:db8::1:http", "\uff12\uff10\uff13.0.113.7", "\u0662\u0660\u0663.0.113.7", "10.0.0.1_2001",
		"ann%2540b.example", "ann%252540b.example", "ann&#64;b.example", "ann&#x40;b.example", "ann&commat;b.example", "ann&amp;#64;b.example", "ann%EF%BC%A0b.example", "ann(at)b.example", "ann[AT]b.example", "ann{at}b.example",
		"Ann%20Smith", "Ann%C2%A0Smith", "Ann%E2%80%8BSmith", "Ann&nbsp;Smith", "Ann&#32;Smith", "Ann+Smith", "Ann+Marie+Smith", "%41nn+Smith", "%00", "a%0Ab",
	}
	members := map[string]func(e *audit.Event, text string){
		"tenant":    func(e *audit.Event, text string) { e.Tenant = text },
		"Actor":     func(e *audit.Event, text string) { e.Actor = text },
		"Request":   func(e *audit.Event, text string) { e.Request = text },
		"Object.ID": func(e *audit.Event, text string) { e.Object = audit.Ref("deal", text) },
	}
	for name, set := range members {
		for _, text := range telling {
			e := update("p1", 1)
			set(&e, text)
			recorded := b.sale(e)
			for _, err := range []error{recorded, only(b.trail.Note(t.Context(), e))} {
				require.ErrorIs(t, err, audit.ErrInvalid, "%s %q", name, text)
				require.Regexp(t, "(?i)"+name+" is (an opaque id, never a name or an address|reserved)", err.Error())
				require.NotContains(t, err.Error(), text)
			}
		}
	}
	for _, text := range telling {
		b.config.From = func(context.Context) audit.Caller { return audit.Caller{Request: text} }
		b.open()
		err := only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b"}))
		require.ErrorContains(t, err, "what Config.From returned is an opaque id", "%q", text)
		require.ErrorIs(t, b.trail.Prepare(t.Context(), text), audit.ErrInvalid, "found before the transaction: %q", text)
		c := b.config
		c.Tenant = text
		store, err := sqltrail.Open(t.Context(), b.db)
		require.NoError(t, err)
		_, err = audit.Open(t.Context(), store, c)
		require.ErrorIs(t, err, audit.ErrInvalid)
	}
	for _, table := range []string{"events", "entries", "openings", "persons"} {
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_`+table), table)
	}
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person <> ''`), "prepared, and no more")
}

// What services call requests, tenants and rows is an id.
func TestIdsOfTheFieldAreIds(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{
		"req-7", "4bf92f3577b34da6a3ce929d0e0e4736", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1", "88f2c3d41b2f9abc-FRA", "aGVsbG8+/w==", "+aGVsbG8==",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV", "V1StGXR8_Z5jdHi6B-myT", "0195d2c0-0000-7000-8000-00000000000a", "442079460958", "2026-11-27", "INV-2026/0017",
		"acme", "acme.example", "team:7", "system:serviceaccount:default:billing", "spiffe://acme.example/billing", "CORP\\jane", "smtp.host", "员工-7", "1.2.3", "12:30:05",
		"100%", "50%25", "a%zz", "%ff%fe", "x=1&y=2", "R&D", "a+b", "AB+cd", "+12345", "Ab+12/49170==", "2026.11.27.1", "1.2.3.4.5", "1.2.3.400", "v1.2.3.4", "1.3.6.1.4.1.311", "00:1b:44:11:3a:b7",
		"16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "Foo::Bar", "team::add", "urn:uuid:0195d2c0-0000-7000-8000-00000000000a", "arn:aws:iam::123456789012:role/billing", "sip:7", "f(x)", "fn(12345)", "(7)", "\u0664\u0669", "\u00b4a", "日本+語",
	} {
		require.NoError(t, only(b.trail.Note(t.Context(), audit.Event{Tenant: id, Actor: id, Action: "a.b", Request: id, Object: audit.Ref("thing", id)})), id)
	}
}
