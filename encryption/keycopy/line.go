package keycopy

import (
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
)

// copyHeader is the first line of a key copy.
type copyHeader struct {
	V        int      `json:"v"`
	Store    string   `json:"store"`
	Epoch    int64    `json:"epoch"`
	Sequence int64    `json:"sequence"`
	Written  string   `json:"written"`
	KEK      string   `json:"kek"`                // for new keysets
	Lease    int64    `json:"lease"`              // microseconds, the longest that a process could have
	Retiring []string `json:"retiring,omitempty"` // while an epoch is being closed
}

// copyRow is a line between the first and the last.
type copyRow struct {
	Kind       keystore.Kind `json:"kind"`
	Tenant     string        `json:"tenant"`
	Purpose    string        `json:"purpose,omitempty"`
	Epoch      int64         `json:"epoch,omitzero"`
	KEK        string        `json:"kek,omitempty"`
	Version    int64         `json:"version,omitzero"`
	Former     []uint32      `json:"former,omitempty"`
	Wrapped    string        `json:"wrapped,omitempty"`
	KeyVersion uint32        `json:"generation,omitzero"`
	Seals      int64         `json:"seals,omitzero"`
	State      string        `json:"state,omitempty"`
	Created    string        `json:"created,omitempty"`
	Owner      string        `json:"owner,omitempty"`
	Sequence   int64         `json:"sequence,omitzero"`
	Alias      string        `json:"alias,omitempty"`
	Table      string        `json:"table,omitempty"`
	Index      string        `json:"index,omitempty"`
	Root       uint32        `json:"root,omitzero"`
	Normaliser string        `json:"normaliser,omitempty"`
	Bits       int           `json:"bits,omitzero"`
	Mark       string        `json:"mark,omitempty"`
	Position   bool          `json:"position,omitzero"`
}

// copyEnd is the last line; its mac is over the line without it.
type copyEnd struct {
	Count  int    `json:"count"`
	Holes  int    `json:"holes,omitzero"` // rows that it lacks because they were damaged
	SHA256 string `json:"sha256"`
	MAC    string `json:"mac,omitempty"`
}

func encode64(b []byte) string { return canon.FormatBytes(b) }

func decode64(s string) ([]byte, error) { return canon.ParseBytes(s) }

// copyRows turns rows into lines.
func copyRows(rows keystore.Rows) []copyRow {
	var out []copyRow
	for _, r := range rows.Keysets {
		out = append(out, copyRow{Kind: keystore.KindKeyset, Tenant: r.Tenant, Purpose: r.Purpose, Epoch: r.Epoch, KEK: r.KEK, Version: r.Version, Former: r.Former, Wrapped: encode64(r.Wrapped)})
	}
	for _, r := range rows.KeyVersions {
		out = append(out, copyRow{Kind: keystore.KindKeyVersion, Tenant: r.Tenant, KeyVersion: r.KeyVersion, State: string(r.State), Created: canon.FormatTime(r.Created)})
	}
	for _, r := range rows.Owners {
		out = append(out, copyRow{Kind: keystore.KindOwner, Tenant: r.Tenant, Owner: r.Owner, State: string(r.State), Sequence: r.Sequence})
	}
	for _, r := range rows.Keys {
		out = append(out, copyRow{Kind: keystore.KindKey, Tenant: r.Tenant, Owner: r.Owner, KeyVersion: r.KeyVersion, Seals: r.Seals, Wrapped: encode64(r.Wrapped)})
	}
	for _, r := range rows.Aliases {
		out = append(out, copyRow{Kind: keystore.KindAlias, Tenant: r.Tenant, Alias: r.Alias, Owner: r.Owner})
	}
	for _, r := range rows.Indexes {
		out = append(out, copyRow{Kind: keystore.KindIndex, Tenant: r.Tenant, Table: r.Table, Index: r.Index, Version: int64(r.Version), Root: r.Root, Normaliser: r.Normaliser, Bits: r.Bits, State: string(r.State)})
	}
	for _, r := range rows.Marks {
		out = append(out, copyRow{Kind: keystore.KindMark, Sequence: r.Sequence, Mark: r.Mark, Created: canon.FormatTime(r.Created), Position: r.Position})
	}
	return out
}
