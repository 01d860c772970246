package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// Manifest is .crmguard/manifest.json of a snapshot: what was read, what it
// must equal, and which keys it needs.
type Manifest struct {
	V               int               `json:"v"`
	Job             string            `json:"job"`
	Started         string            `json:"started"` // RFC 3339, six digits, Z
	Sources         []ManifestSource  `json:"sources"`
	KeyVersions     []KeyVersionCount `json:"generations"`                // sorted by tenant and key version
	KeyPosition     string            `json:"key_position,omitempty"`     // the bytes that Positions.Keys gave
	LedgerHead      string            `json:"ledger_head,omitempty"`      // the bytes that Positions.Ledger gave, before anything was read
	AuditCheckpoint string            `json:"audit_checkpoint,omitempty"` // the whole note
	Chunker         ManifestChunker   `json:"chunker"`
	App             string            `json:"app,omitempty"`
	Schema          string            `json:"schema,omitempty"`
	MAC             string            `json:"mac,omitempty"` // base64url, tag over everything else
}

// ManifestSource is one source, or one table inside a source.
type ManifestSource struct {
	Name      string            `json:"name"`                // "crm", or "crm/contacts" for a table
	Kind      string            `json:"kind"`                // "folder", "sqlite", "table"
	Rows      int64             `json:"rows"`                // files of a source, rows of a table
	Digest    string            `json:"digest"`              // base64url, tag of formats.md 9
	Stripped  []string          `json:"stripped,omitempty"`  // columns of a table that were emptied and are not in the digest
	Versions  map[string]string `json:"versions,omitempty"`  // of the engine and its schema
	Positions map[string]string `json:"positions,omitempty"` // where the source stood
}

// KeyVersionCount says how many sealed values of a key version the
// snapshot holds.
type KeyVersionCount struct {
	Tenant     string `json:"tenant"`
	KeyVersion uint32 `json:"generation"`
	Count      int64  `json:"count"`
}

// ManifestChunker names the chunker and its sizes in bytes.
type ManifestChunker struct {
	Name   string `json:"name"`
	Min    int    `json:"min"`
	Normal int    `json:"normal"`
	Max    int    `json:"max"`
}

// KindTable is the kind of the entry of one table inside a source.
const KindTable = "table"

const (
	ownFolder    = ".crmguard"
	manifestFile = "manifest.json"
)

// What no repository can verify that tags with its own key (Config.ofKey).
var (
	errOtherTagger = fmt.Errorf("%w: it was tagged under another key", ErrManifest)
	errNoManifest  = fmt.Errorf("%w: there is none", ErrManifest)
)

// tagDigest tags the SHA-256 of rows or files.
func tagDigest(ctx context.Context, tagger Tagger, sum [32]byte) (string, error) {
	tag, err := tagger.Tag(ctx, digestInput(sum))
	if err != nil {
		return "", fmt.Errorf("tag a digest: %w", err)
	}
	return canon.FormatBytes(tag), nil
}

func digestInput(sum [32]byte) []byte {
	return append(frame.Append(nil, "crmguard/manifest/rows/v1"), sum[:]...)
}

// VerifyDigest compares the SHA-256 of a source's or table's content with its
// entry in the manifest. It returns nil or ErrManifest.
func (s ManifestSource) VerifyDigest(ctx context.Context, tagger Tagger, sum [32]byte) error {
	tag, err := canon.ParseBytes(s.Digest)
	if err != nil || tagger.Verify(ctx, digestInput(sum), tag) != nil {
		return fmt.Errorf("%w: the content of %q is not what was backed up", ErrManifest, s.Name)
	}
	return nil
}

func manifestInput(canonical []byte) []byte {
	return append(frame.Append(nil, "crmguard/manifest/v1"), canonical...)
}

// encode tags the manifest and returns its canonical bytes.
func (m *Manifest) encode(ctx context.Context, tagger Tagger) ([]byte, error) {
	m.MAC = ""
	plain, err := canon.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	tag, err := tagger.Tag(ctx, manifestInput(plain))
	if err != nil {
		return nil, fmt.Errorf("tag the manifest: %w", err)
	}
	m.MAC = canon.FormatBytes(tag)
	data, err := canon.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if len(data) > maxManifest {
		return nil, tooLarge("a manifest", len(data), maxManifest, "bytes")
	}
	return data, nil
}

// DecodeManifest reads .crmguard/manifest.json and verifies its mac over the
// received bytes; nil as tagger leaves the mac unverified. Members that this
// version does not know are kept out of the way but verified.
func DecodeManifest(ctx context.Context, data []byte, tagger Tagger) (*Manifest, error) {
	m, err := parseManifest(data)
	if err != nil || tagger == nil {
		return m, err
	}
	plain, err := withoutMAC(data)
	if err != nil {
		return nil, err
	}
	tag, err := canon.ParseBytes(m.MAC)
	if err == nil {
		err = tagger.Verify(ctx, manifestInput(plain), tag)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errOtherTagger
	}
	if err != nil {
		return nil, fmt.Errorf("%w: its mac does not verify", ErrManifest)
	}
	return m, nil
}

// parseManifest reads a manifest that nothing vouches for.
func parseManifest(data []byte) (*Manifest, error) {
	var m Manifest
	if err := canon.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%w: not canonical JSON", ErrManifest)
	}
	if m.V != 1 {
		return nil, fmt.Errorf("%w: version %d", ErrManifest, m.V)
	}
	if _, err := canon.ParseTime(m.Started); err != nil {
		return nil, fmt.Errorf("%w: start time", ErrManifest)
	}
	return &m, nil
}

// withoutMAC returns the canonical bytes that the mac covers.
func withoutMAC(data []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("%w: not canonical JSON", ErrManifest)
	}
	delete(members, "mac")
	// Members are canonical already; put together without re-encoding any.
	names := slices.Sorted(maps.Keys(members))
	out := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		quoted, err := canon.Marshal(name)
		if err != nil {
			return nil, fmt.Errorf("%w: not canonical JSON", ErrManifest)
		}
		out = append(append(append(out, quoted...), ':'), members[name]...)
	}
	return append(out, '}'), nil
}
