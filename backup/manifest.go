package backup

// Manifest is .crmguard/manifest.json of a snapshot: what was read, what it
// must equal, and which keys it needs.
type Manifest struct {
	V               int               `json:"v"`
	Job             string            `json:"job"`
	Started         string            `json:"started"` // RFC 3339, six digits, Z
	Sources         []ManifestSource  `json:"sources"`
	Generations     []GenerationCount `json:"generations"`                // sorted by tenant and generation
	KeyPosition     string            `json:"key_position,omitempty"`     // the bytes that Positions.Keys gave
	LedgerHead      string            `json:"ledger_head,omitempty"`      // the bytes that Positions.Ledger gave, before anything was read
	AuditCheckpoint string            `json:"audit_checkpoint,omitempty"` // the whole note
	Chunker         ManifestChunker   `json:"chunker"`
	App             string            `json:"app,omitempty"`
	Schema          string            `json:"schema,omitempty"`
	MAC             string            `json:"mac"` // base64url, tag over everything else
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

// GenerationCount says how many sealed values of a key generation the
// snapshot holds.
type GenerationCount struct {
	Tenant     string `json:"tenant"`
	Generation uint32 `json:"generation"`
	Count      int64  `json:"count"`
}

// ManifestChunker names the chunker and its sizes in bytes.
type ManifestChunker struct {
	Name   string `json:"name"`
	Min    int    `json:"min"`
	Normal int    `json:"normal"`
	Max    int    `json:"max"`
}
