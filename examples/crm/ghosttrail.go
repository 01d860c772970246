package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// openings opens what the audit trail keeps of values, in its place and in rows
// that wait for one.
func (h *hunt) openings(ctx context.Context, db *sql.DB, where string) error {
	contents, err := h.contentKeys(ctx, db)
	if err != nil {
		return err
	}
	filed, err := db.QueryContext(ctx, `SELECT e.id, o.owner, o.sealed FROM crmguard_audit_openings AS o JOIN crmguard_audit_entries AS e ON e.idx = o.idx`)
	if err != nil {
		return err
	}
	defer filed.Close()
	for filed.Next() {
		var event, owner, sealed []byte
		if err := filed.Scan(&event, &owner, &sealed); err != nil {
			return err
		}
		if err := h.opening(contents, event, auditlog.Frame{Owner: [16]byte(owner), Body: sealed}, where); err != nil {
			return err
		}
	}
	if err := filed.Err(); err != nil {
		return err
	}
	waiting, err := db.QueryContext(ctx, `SELECT id, body FROM crmguard_audit_events WHERE body IS NOT NULL`)
	if err != nil {
		return err
	}
	defer waiting.Close()
	for waiting.Next() {
		var event, body []byte
		if err := waiting.Scan(&event, &body); err != nil {
			return err
		}
		row, err := auditlog.ParseRowBody(body)
		if err != nil {
			return err
		}
		frames, err := auditlog.ParseFrames(row.Sealed)
		if err != nil {
			return err
		}
		for _, frame := range frames {
			if err := h.opening(contents, event, frame, where); err != nil {
				return err
			}
		}
	}
	return waiting.Err()
}

// contentKeys opens the heads of surrogates. Where one leads to nobody any more,
// the forgotten person's key is tried.
func (h *hunt) contentKeys(ctx context.Context, db *sql.DB) (map[[16]byte][32]byte, error) {
	rows, err := db.QueryContext(ctx, `SELECT surrogate, COALESCE(person, ?), head FROM crmguard_audit_surrogates WHERE tenant = ? AND head IS NOT NULL`, h.c.gone.id, tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	contents := map[[16]byte][32]byte{}
	sealer := h.c.vault.PersonSealer("audit")
	for rows.Next() {
		var surrogate, head []byte
		var person string
		if err := rows.Scan(&surrogate, &person, &head); err != nil {
			return nil, err
		}
		plain, err := sealer.Open(ctx, tenant, person, head, headAD(surrogate))
		if noKeyOpens(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the head of a surrogate: %w", err)
		}
		contents[[16]byte(surrogate)] = [32]byte(plain[1:]) // behind the version
	}
	return contents, rows.Err()
}

// opening reads what one owner's values of an event open to, if their key is known.
func (h *hunt) opening(contents map[[16]byte][32]byte, event []byte, frame auditlog.Frame, where string) error {
	content, known := contents[frame.Owner]
	if !known {
		return nil
	}
	plain, err := auditlog.OpenBody(&content, [16]byte(event), frame.Owner, frame.Body)
	if err != nil {
		return fmt.Errorf("an opening in %s: %w", where, err)
	}
	h.bytes(plain, where+", change history")
	return nil
}

// headAD is the associated data of the head of a surrogate, as published.
func headAD(surrogate []byte) (out []byte) {
	for _, part := range [][]byte{[]byte("crmguard/surrogate/v1"), []byte(logName), surrogate} {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(part))), part...)
	}
	return out
}
