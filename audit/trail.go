package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/internal/frame"
)

// Trail records events and keeps their log. It is safe for concurrent use, in
// several processes over the same database and sink.
type Trail struct {
	store  Store
	config Config
	origin string
	policy torchwood.Policy
	fields map[string]map[string]bool
	random func([]byte) error

	anchored atomic.Bool // the log was compared with the kept checkpoint
}

// Open checks the tables and the configuration and claims the log: the first
// Open over empty tables writes the origin into them, later ones compare it.
func Open(ctx context.Context, store Store, config Config) (*Trail, error) {
	t := &Trail{store: store, config: config, random: readRandom}
	if err := t.configure(); err != nil {
		return nil, err
	}
	if err := store.Check(ctx); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	if err := t.claim(ctx); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	return t, nil
}

func readRandom(b []byte) error {
	_, err := rand.Read(b)
	return err
}

func (t *Trail) configure() error {
	c := &t.config
	switch {
	case t.store == nil, c.Sign == nil, c.Sink == nil, c.Seal == nil, c.Tag == nil:
		return invalid("open: store, Sign, Sink, Seal and Tag are needed")
	case c.Name == "" || c.Recoveries < 0:
		return invalid("open: Name is needed, Recoveries is never negative")
	case !validID(c.Tenant):
		return invalid("open: Tenant is needed")
	}
	t.origin = Origin(c.Name, c.Recoveries)
	verifier, err := note.NewVerifier(c.Key)
	if err != nil {
		return invalid("open: Key: %w", err)
	}
	if verifier.Name() != t.origin || c.Sign.Name() != t.origin || c.Sign.KeyHash() != verifier.KeyHash() {
		return fmt.Errorf("%w: the key belongs to %q, this log is %q", ErrOrigin, verifier.Name(), t.origin)
	}
	t.policy = policyOf(verifier)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Interval <= 0 {
		c.Interval = time.Second
	}
	if c.BeatEvery <= 0 {
		c.BeatEvery = time.Minute
	}
	return t.declare()
}

func (t *Trail) declare() error {
	t.fields = make(map[string]map[string]bool)
	for kind, names := range t.config.Fields {
		t.fields[kind] = make(map[string]bool)
		for _, name := range names {
			if !fields.MatchString(name) {
				return invalid("open: a declared field name of %q has a form that the log cannot show", kind)
			}
			t.fields[kind][name] = true
		}
	}
	return nil
}

// declared reports whether the path may stand in the log; the recorder's own
// fields always may.
func (t *Trail) declared(kind, path string) bool {
	return t.fields[kind][path] || path == "digest" || path == "count"
}

// Origin is the name of a log in its checkpoints: name/recoveries.
func Origin(name string, recoveries int) string { return name + "/" + strconv.Itoa(recoveries) }

// GenerateKey makes the signing key of a log and its verifier key, both in the
// text form of golang.org/x/mod/sumdb/note. A key in a KMS is a [note.Signer]
// of the same name instead.
func GenerateKey(name string, recoveries int) (signer, verifier string, err error) {
	return note.GenerateKey(rand.Reader, Origin(name, recoveries))
}

// Origin returns the name of this log in its checkpoints.
func (t *Trail) Origin() string { return t.origin }

// Prepare fetches what recording about these persons needs, so that [Trail.Record]
// finds it without a connection. Call it before the transaction begins.
func (t *Trail) Prepare(ctx context.Context, tenant string, persons ...string) error {
	if !validID(tenant) {
		return invalid("prepare: no tenant")
	}
	if t.config.Prepare != nil {
		if err := t.config.Prepare(ctx, tenant, persons...); err != nil {
			return fmt.Errorf("audit: prepare: %w", err)
		}
	}
	if _, err := t.config.Tag.Tag(ctx, tenant, frame.Join("crmguard/audit/prepare/v1")); err != nil {
		return fmt.Errorf("audit: prepare: %w", err)
	}
	return nil
}

func (t *Trail) now() time.Time { return t.config.Now().UTC().Truncate(time.Microsecond) }

func (t *Trail) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if t.config.Observe != nil {
		t.config.Observe(ctx, name, value, attrs...)
	}
}

// within runs fn in a transaction of the trail's own.
func (t *Trail) within(ctx context.Context, fn func(tx Tx) error) error {
	tx, err := t.store.Begin(ctx)
	if err != nil {
		return fmt.Errorf("audit: begin: %w", err)
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("audit: commit: %w", err)
	}
	return nil
}

func policyOf(v note.Verifier) torchwood.Policy {
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(v.Name()), torchwood.SingleVerifierPolicy(v))
}
