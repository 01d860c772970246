package privacy

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strconv"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// ErrNoRow says that no replay has listed that row: decide about those of
// Replayed.Undated.
var ErrNoRow = errors.New("privacy: no replay lists that row as undated")

const labelDecision = "crmguard/privacy/decision/v1"

// Decision says of a row of an erased person, of which nothing says when it was
// created and which the ledger does not name, whether it is older than the
// erasure. It came back with a restore, or was made since.
type Decision struct {
	Tenant, Person string // Row.Person of Replayed.Undated, and its tenant
	Table, Key     string
	Erase          bool   // it is older; otherwise it stays
	By             string // the principal who decides, from the session
	Because        string // a code, never free text
}

// Decide records what is to become of an undated row, in the audit trail and
// under a keyed tag in the database. The next [Desk.Replay] carries it out, and
// opens the gate when it was the last one. Whoever decides again overrules.
func (d *Desk) Decide(ctx context.Context, c Decision) error {
	if err := errors.Join(validID("tenant", c.Tenant), validPerson(c.Person), validPrincipal(c.By)); err != nil {
		return err
	}
	if !reasonCode.MatchString(c.Because) {
		return ErrReason
	}
	if err := d.allow(ctx, "privacy.decide", c.Person); err != nil {
		return err
	}
	open, err := d.unfinished(ctx)
	if err != nil {
		return err
	}
	if !open.asks(c) {
		return ErrNoRow
	}
	keys, err := d.rowKeys(ctx, c.Tenant, datastore.Row{Table: c.Table, Key: c.Key})
	if err != nil {
		return err
	}
	at := d.now().UnixMicro()
	erase := 0
	outcome := "keep"
	if c.Erase {
		erase, outcome = 1, "erase"
	}
	tag, err := d.cfg.Ledger.Tag(ctx, labelDecision, decisionInput(keys[0], erase, c.By, c.Because, at))
	if err != nil {
		return err
	}
	return d.recorded(ctx, []string{c.Tenant}, func(tx *sql.Tx) error {
		in := sqldb.Insert{Table: "crmguard_privacy_decision", Columns: []string{"row_key", "erase", "by_whom", "because", "at", "tag"}, Key: []string{"row_key"}}
		if err := d.db.Insert(ctx, tx, in, [][]any{{keys[0], erase, c.By, c.Because, at, tag}}); err != nil {
			return mute("storing the decision", err)
		}
		err := d.exec(ctx, tx, "storing the decision", `UPDATE crmguard_privacy_decision SET erase = ?, by_whom = ?, because = ?, at = ?, tag = ? WHERE row_key = ?`,
			erase, c.By, c.Because, at, tag, keys[0])
		if err != nil {
			return err
		}
		return d.record(ctx, tx, c.Tenant, "privacy.decide", slog.String("reason", c.Because), slog.String("outcome", outcome))
	})
}

// asks says whether a replay has listed the row of a decision.
func (u unfinishedReplays) asks(c Decision) bool {
	for _, p := range u.persons() {
		for _, row := range p.Undated {
			if p.Tenant == c.Tenant && p.Person == c.Person && row.Table == c.Table && row.Key == c.Key {
				return true
			}
		}
	}
	return false
}

func decisionInput(key string, erase int, by, because string, at int64) []byte {
	return frame.Join([]byte(key), strconv.AppendInt(nil, int64(erase), 10), []byte(by), []byte(because), strconv.AppendInt(nil, at, 10))
}

// decided is what was decided about the row of these keys; one that is forged
// was not made.
func (d *Desk) decided(ctx context.Context, keys []string) (erase, ok bool, err error) {
	for _, key := range keys {
		var by, because string
		var number int
		var at int64
		var tag []byte
		err := sqldb.One(ctx, d.db, []any{&number, &by, &because, &at, &tag},
			d.db.Bind(`SELECT erase, by_whom, because, at, tag FROM crmguard_privacy_decision WHERE row_key = ?`), key)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return false, false, mute("reading the decision", err)
		}
		genuine, err := d.cfg.Ledger.VerifyTag(ctx, labelDecision, decisionInput(key, number, by, because, at), tag)
		if err != nil || genuine {
			return number == 1, genuine, err
		}
	}
	return false, false, nil
}
