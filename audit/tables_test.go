package audit_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
)

// key is an event id as the tables have it.
func key(id string) []byte {
	u := uuid.MustParse(id)
	return u[:]
}

// only leaves the error of a call that names its event, too.
func only[T any](_ T, err error) error { return err }

// rewrite changes bytes of a row that waits, as somebody may who writes the tables.
func (b *bench) rewrite(id, from, to string) {
	b.t.Helper()
	body := b.blob(`SELECT body FROM crmguard_audit_events WHERE id = ?`, key(id))
	changed := bytes.ReplaceAll(body, []byte(from), []byte(to))
	require.NotEqual(b.t, body, changed)
	b.exec(`UPDATE crmguard_audit_events SET body = ? WHERE id = ?`, changed, key(id))
}

// rewriteEntry changes bytes of an entry of the database.
func (b *bench) rewriteEntry(index int64, from, to string) {
	b.t.Helper()
	leaf := b.blob(`SELECT leaf FROM crmguard_audit_entries WHERE idx = ?`, index)
	changed := bytes.ReplaceAll(leaf, []byte(from), []byte(to))
	require.NotEqual(b.t, leaf, changed)
	b.exec(`UPDATE crmguard_audit_entries SET leaf = ? WHERE idx = ?`, changed, index)
}

// wait puts a row into the queue, as somebody may who writes the tables.
func (b *bench) wait(id string, tag []byte, leaf, sealed string) {
	b.t.Helper()
	body, err := auditlog.AppendRowBody(nil, auditlog.RowBody{Tag: tag, Leaf: []byte(leaf), Sealed: []byte(sealed)})
	require.NoError(b.t, err)
	b.exec(`INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, 1, x'', ?)`, key(id), body)
}

// waits is the body of a row that waits, taken apart.
func (b *bench) waits(id string) auditlog.RowBody {
	b.t.Helper()
	body, err := auditlog.ParseRowBody(b.blob(`SELECT body FROM crmguard_audit_events WHERE id = ?`, key(id)))
	require.NoError(b.t, err)
	return body
}

// queueTag is the tag of a row that waits, as formats.md has it.
func (b *bench) queueTag(tenant, leaf, sealed string) []byte {
	b.t.Helper()
	ids, keys, err := b.keys.MACKeys(b.t.Context(), tenant, frame.Join("crmguard/audit/queue-key/v2", b.config.Name))
	require.NoError(b.t, err)
	digest := sha256.Sum256([]byte(sealed))
	mac := hmac.New(sha256.New, keys[0])
	mac.Write(frame.Join("crmguard/audit/queue/v2", b.config.Name, tenant, string(digest[:])))
	mac.Write([]byte(leaf))
	return mac.Sum(binary.BigEndian.AppendUint32([]byte{1}, ids[0]))
}

// surrogate is a person's, as the tables have it.
func (b *bench) surrogate(person string) []byte {
	b.t.Helper()
	return b.blob(`SELECT surrogate FROM crmguard_audit_surrogates WHERE person = ?`, person)
}

// takenAway are the rows of entries that a database does not have any more.
func (b *bench) takeAway(where string, args ...any) {
	b.t.Helper()
	for _, table := range []string{"entries", "found", "persons", "openings"} {
		b.exec(`DELETE FROM crmguard_audit_`+table+` WHERE `+where, args...)
	}
	b.exec(`DELETE FROM crmguard_audit_events WHERE `+where, args...)
}

// content is the content key of a person.
func (b *bench) content(person string) [32]byte {
	b.t.Helper()
	ad := frame.Join([]byte("crmguard/surrogate/v1"), []byte(b.config.Name), b.surrogate(person))
	plain, err := b.keys.Open(b.t.Context(), "main", person, b.blob(`SELECT head FROM crmguard_audit_surrogates WHERE person = ?`, person), ad)
	require.NoError(b.t, err)
	return [32]byte(plain[1:])
}

// recordPrepared records what was prepared before.
func (b *bench) recordPrepared(e audit.Event) (id string) {
	b.t.Helper()
	require.NoError(b.t, b.in(func(tx *sql.Tx) (err error) {
		id, err = b.trail.Record(b.t.Context(), tx, e)
		return err
	}))
	return id
}
