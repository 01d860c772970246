package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// ErrOpening is wrapped by the refusals of an order to open the gate.
var ErrOpening = errors.New("privacy: order to open the gate")

// openingMost bounds how long the gate may be open by order.
const openingMost = 7 * 24 * time.Hour

const labelOpening = "crmguard/privacy/opening/v1"

// Opening is an order to serve although the boot gate refuses: somebody answers
// for it, somebody else agrees, and it ends by itself.
type Opening struct {
	By       string    // the principal who orders it
	Approved string    // another principal, who agrees
	Because  string    // a code such as "incident:2026-0113", never free text
	Until    time.Time // at most 7 days ahead
	Tenant   string    // in whose audit trail it stands; empty is that of the map
}

// openingBody is what stands in the database under a keyed tag. It is good for
// the refusal that it was made for: another one, or a database with another
// mark, needs another order.
type openingBody struct {
	Approved string `json:"approved"`
	Because  string `json:"because"`
	By       string `json:"by"`
	Mark     int64  `json:"mark"`
	Refusal  string `json:"refusal"`
	Tenant   string `json:"tenant"`
	Until    string `json:"until"`
	V        int    `json:"v"`
}

// refusalOf is the code of what the gate can be opened against by order; "" of
// anything else: a database that cannot be asked or is a standby, ledger keys
// that do not answer.
func refusalOf(err error) string {
	codes := []struct {
		err  error
		code string
	}{
		{ErrUnderWay, "under way"}, // what a restore lacks it does not cover
		{ErrBehind, "behind"},      // also where a head kept elsewhere says so, and the ledger cannot be read
		{erasurelog.ErrUnreachable, "ledger unreachable"},
		{erasurelog.ErrRewound, "ledger rewound"},
		{erasurelog.ErrForged, "ledger forged"},
		{erasurelog.ErrForeign, "ledger foreign"},
		{erasurelog.ErrNewer, "ledger newer"},
		{ErrMarkForged, "mark forged"},
		{ErrUndecided, "rows undecided"},
		{ErrNumbers, "numbers behind"},
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ""
}

// OpenAnyway lets [Desk.Ready] answer nil until a stated time although it
// refuses now: for an emergency in which serving persons who may have been
// erased is the lesser evil. Nothing is carried out by it. The order stands in
// the audit trail ("privacy.open_anyway") and under a keyed tag in the database;
// Gate and Status show it for as long as it lasts. It covers what the gate says
// now, and the database as it is now: where the mark moves, as after a restore,
// or the gate says something else, it is over. A copy of this very database that
// is brought back within its time has it, too.
//
// Where the gate does not refuse, the order is [ErrOpening].
func (d *Desk) OpenAnyway(ctx context.Context, o Opening) error {
	now := d.now()
	o.Tenant = cmp.Or(o.Tenant, d.cfg.Map.Tenant)
	switch err := errors.Join(validPrincipal(o.By), validPrincipal(o.Approved), validID("tenant", o.Tenant)); {
	case err != nil:
		return err
	case samePrincipal(o.By, o.Approved):
		return ErrSelfApproval
	case !reasonCode.MatchString(o.Because):
		return ErrReason
	case !o.Until.After(now) || o.Until.Sub(now) > openingMost:
		return fmt.Errorf("%w: Until is in the future, and at most 7 days", ErrOpening)
	}
	if err := d.allow(ctx, "privacy.open_anyway", "privacy"); err != nil {
		return err
	}
	if err := d.db.Primary(ctx, d.db); err != nil {
		return mute("asking the database", err)
	}
	_, refused := d.look(ctx)
	code := refusalOf(refused)
	switch {
	case refused == nil:
		return fmt.Errorf("%w: the gate is open", ErrOpening)
	case code == "":
		return refused
	}
	m, err := d.readMark(ctx, d.db, false)
	if err != nil {
		return err
	}
	body, err := canon.Marshal(openingBody{
		Approved: o.Approved, Because: o.Because, By: o.By, Mark: m.head.N, Refusal: code, Tenant: o.Tenant, Until: canon.FormatTime(o.Until), V: 1,
	})
	if err != nil {
		return mute("encoding the order", err)
	}
	tag, err := d.cfg.Ledger.Tag(ctx, labelOpening, body)
	if err != nil {
		return err
	}
	return d.recorded(ctx, []string{o.Tenant}, func(tx *sql.Tx) error {
		in := sqldb.Insert{Table: "crmguard_privacy_opening", Columns: []string{"id", "body", "tag"}, Key: []string{"id"}}
		if err := d.db.Insert(ctx, tx, in, [][]any{{1, []byte{}, []byte{}}}); err != nil {
			return mute("storing the order", err)
		}
		if err := d.exec(ctx, tx, "storing the order", `UPDATE crmguard_privacy_opening SET body = ?, tag = ? WHERE id = 1`, body, tag); err != nil {
			return err
		}
		return d.record(ctx, tx, o.Tenant, "privacy.open_anyway", slog.String("reason", o.Because), slog.String("outcome", code))
	})
}

// opened returns the order that covers a refusal of the gate; nil is none. One
// that is forged is none.
func (d *Desk) opened(ctx context.Context, refused error) (*Opening, error) {
	code := refusalOf(refused)
	if code == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	o, b, err := d.loadOpening(ctx)
	if err != nil || o == nil {
		return nil, err
	}
	m, err := d.readMark(ctx, d.db, false)
	if err != nil || b.Refusal != code || b.Mark != m.head.N || !d.now().Before(o.Until) {
		return nil, err
	}
	return o, nil
}

func (d *Desk) loadOpening(ctx context.Context) (*Opening, openingBody, error) {
	var body, tag []byte
	err := sqldb.One(ctx, d.db, []any{&body, &tag}, `SELECT body, tag FROM crmguard_privacy_opening WHERE id = 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, openingBody{}, nil
	}
	if err != nil {
		return nil, openingBody{}, mute("reading the order", err)
	}
	genuine, err := d.cfg.Ledger.VerifyTag(ctx, labelOpening, body, tag)
	if err != nil || !genuine {
		return nil, openingBody{}, err
	}
	var b openingBody
	if err := canon.Unmarshal(body, &b); err != nil || b.V != 1 {
		return nil, openingBody{}, nil //nolint:nilerr // of another version
	}
	until, err := canon.ParseTime(b.Until)
	if err != nil || until.Sub(d.now()) > openingMost {
		return nil, openingBody{}, nil //nolint:nilerr // made while a clock was ahead
	}
	return &Opening{By: b.By, Approved: b.Approved, Because: b.Because, Until: until, Tenant: b.Tenant}, b, nil
}
