package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/durable"
)

// Step is work on a restored folder before it may serve: rebuild lookup
// indexes, catch up the audit trail, replay the erasure ledger.
type Step struct {
	// Name stands in reports and errors.
	Name string
	// Meets says which need of the manifest the step meets, "" none.
	Meets Need
	// Run does the work; an error leaves the folder closed.
	Run func(ctx context.Context, dir string) error
}

// Need is work that a manifest asks of whoever restores it, before anybody
// may read what came back.
type Need string

// The needs. Each follows from what the manifest names.
const (
	// NeedKeys: the manifest names a key position. The step proves that the
	// keys at hand stand at that position or after it.
	NeedKeys Need = "keys"
	// NeedIndexes: columns were stripped. The step rebuilds blind indexes.
	NeedIndexes Need = "indexes"
	// NeedTrail: the manifest names an audit checkpoint. The step brings the
	// restored trail up to what was published since.
	NeedTrail Need = "trail"
	// NeedLedger: the manifest names a ledger head. The step erases again
	// whoever was erased since.
	NeedLedger Need = "ledger"
)

// Needs says what a restore of the snapshot must do besides bringing back the
// files. A [Step] meets one.
func (m *Manifest) Needs() []Need {
	var needs []Need
	if m.KeyPosition != "" {
		needs = append(needs, NeedKeys)
	}
	if slices.ContainsFunc(m.Sources, func(s ManifestSource) bool { return len(s.Stripped) > 0 }) {
		needs = append(needs, NeedIndexes)
	}
	if m.AuditCheckpoint != "" {
		needs = append(needs, NeedTrail)
	}
	if m.LedgerHead != "" {
		needs = append(needs, NeedLedger)
	}
	return needs
}

// unmet returns a NeedError when something is missing from met.
func (m *Manifest) unmet(met []Need) error {
	missing := slices.DeleteFunc(m.Needs(), func(n Need) bool { return slices.Contains(met, n) })
	if len(missing) > 0 {
		return &NeedError{Needs: missing}
	}
	return nil
}

func metBy(steps []Step) []Need {
	var met []Need
	for _, s := range steps {
		if s.Meets != "" {
			met = append(met, s.Meets)
		}
	}
	return met
}

// NeedError says which needs of its manifest a restore does not meet. Nothing
// was restored.
type NeedError struct{ Needs []Need }

// Error names the needs and what to do.
func (e *NeedError) Error() string {
	return fmt.Sprintf("backup: the manifest needs restore steps that were not handed in (%s): give each a Step with that Need in Meets, in a repository opened with Config.Manifests; to look without them, copy what Files gives",
		needText(e.Needs))
}

// Unwrap returns ErrStep.
func (e *NeedError) Unwrap() error { return ErrStep }

func needText(needs []Need) string {
	texts := make([]string, 0, len(needs))
	for _, n := range needs {
		texts = append(texts, string(n))
	}
	return strings.Join(texts, ", ")
}

func (s Step) validate() error {
	if s.Name == "" || s.Run == nil {
		return badConfig("a step without Name or Run")
	}
	if !slices.Contains([]Need{"", NeedKeys, NeedIndexes, NeedTrail, NeedLedger}, s.Meets) {
		return badConfig("a step that meets an unknown need")
	}
	return nil
}

// StepReport is one step that ran to its end.
type StepReport struct {
	Name string
	Took time.Duration
}

const (
	openedFile    = "opened.json"
	markPrefix    = ".opened-" // while it is written
	restoreRemedy = "the target stays closed: remove the cause, then restore again into an empty folder"
)

// opened is .crmguard/opened.json of a restored folder.
type opened struct {
	Snapshot string `json:"snapshot"`
	Opened   string `json:"opened"`
	Verified bool   `json:"verified"`
	Met      []Need `json:"met,omitempty"`
}

// markOpened is the last word of a restore.
func markOpened(out *durable.Folder, mark opened) error {
	data, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	if err := out.MkdirAll(ownFolder, 0o700); err != nil {
		return withoutPath(err)
	}
	if err := out.Create(ownFolder+"/"+openedFile, data, 0o600); err != nil {
		_ = out.Remove(ownFolder + "/" + openedFile) // it may have come so far
		return withoutPath(err)
	}
	return nil
}

// Opened returns nil when dir is a restore that went through all its steps,
// those that its manifest needs among them, and an error that wraps ErrClosed
// otherwise.
func Opened(dir string) error {
	f, err := durable.Open(dir, markPrefix)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, withoutPath(err))
	}
	defer f.Close()
	data, err := f.ReadFile(ownFolder + "/" + openedFile)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, withoutPath(err))
	}
	var mark opened
	if err := json.Unmarshal(data, &mark); err != nil || len(mark.Snapshot) != 2*sha256.Size {
		return fmt.Errorf("%w: its mark is damaged", ErrClosed)
	}
	data, err = f.ReadFile(ownFolder + "/" + manifestFile)
	if errors.Is(err, fs.ErrNotExist) && !mark.Verified {
		return nil // another program's snapshot
	} else if err != nil {
		return fmt.Errorf("%w: its manifest: %w", ErrClosed, withoutPath(err))
	}
	m, err := parseManifest(data)
	if err == nil {
		err = m.unmet(mark.Met)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}
