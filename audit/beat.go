package audit

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/canon"
)

// beatDue reports whether the log needs a beat: entries came since the newest
// one, or come now, and it is older than Config.BeatEvery. A clock that went
// backwards makes one due as well.
func (t *Trail) beatDue(s state, coming int) bool {
	if coming == 0 && s.N <= s.beatSize {
		return false
	}
	age := t.now().UnixMicro() - s.beat
	return age < 0 || age >= t.config.BeatEvery.Microseconds()
}

// beat is a beat on its way into the log.
type beat struct {
	heads  auditlog.LeafHeads
	forced bool // asked for, whether one is due or not
}

// Beat adds a beat now, whether one is due or not, and publishes it: before a
// checkpoint is taken to another domain it then anchors the newest state of
// all stores.
func (t *Trail) Beat(ctx context.Context) error {
	if err := t.ready(); err != nil {
		return err
	}
	v, err := t.look(ctx, t.keptDue())
	if err != nil {
		return err
	}
	heads, err := t.heads(ctx)
	if err != nil {
		return err
	}
	var r Result
	if err := t.sequence(ctx, v.head, nil, &beat{heads: *heads, forced: true}, nil, newPassKeys(), &r); err != nil {
		return err
	}
	return t.publish(ctx, &r)
}

// heads asks the other stores for their newest state, outside any transaction.
func (t *Trail) heads(ctx context.Context) (*auditlog.LeafHeads, error) {
	var (
		out auditlog.LeafHeads
		err error
	)
	if out.Ledger, err = head(ctx, "ledger", t.config.Heads.Ledger); err != nil {
		return nil, err
	}
	if out.Keys, err = head(ctx, "keys", t.config.Heads.Keys); err != nil {
		return nil, err
	}
	if out.Seals, err = root(ctx, "seals", t.config.Heads.Seals); err != nil {
		return nil, err
	}
	if out.Snapshots, err = root(ctx, "snapshots", t.config.Heads.Snapshots); err != nil {
		return nil, err
	}
	return &out, nil
}

func head(ctx context.Context, name string, from func(context.Context) (int64, []byte, error)) (*auditlog.LeafHead, error) {
	if from == nil {
		return nil, nil
	}
	n, hash, err := from(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrHead, name, err)
	}
	if n < 0 || n > 1<<53-1 || len(hash) == 0 || len(hash) > 1024 {
		return nil, fmt.Errorf("%w: %s: out of range", ErrHead, name)
	}
	return &auditlog.LeafHead{N: n, Hash: canon.FormatBytes(hash)}, nil
}

func root(ctx context.Context, name string, from func(context.Context) ([]byte, error)) (string, error) {
	if from == nil {
		return "", nil
	}
	data, err := from(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrHead, name, err)
	}
	if len(data) > 1024 {
		return "", fmt.Errorf("%w: %s: out of range", ErrHead, name)
	}
	return canon.FormatBytes(data), nil
}

// HeadOf turns a position in canonical JSON (vault.Head; ledger.Head of package
// privacy, which needs no desk and so can stand here before it is open)
// into a head for [Heads]: n is its member n or sequence, hash its member hash
// (base64url) or, where it has none, the SHA-256 of the position.
func HeadOf(position func(ctx context.Context) ([]byte, error)) func(ctx context.Context) (n int64, hash []byte, err error) {
	return func(ctx context.Context) (int64, []byte, error) {
		data, err := position(ctx)
		if err != nil {
			return 0, nil, err
		}
		var in struct {
			N        int64  `json:"n"`
			Sequence int64  `json:"sequence"`
			Hash     string `json:"hash"`
		}
		if err := canon.Unmarshal(data, &in); err != nil {
			return 0, nil, fmt.Errorf("%w: position: %w", auditlog.ErrMalformed, err)
		}
		n := max(in.N, in.Sequence)
		if in.Hash == "" {
			sum := sha256.Sum256(data)
			return n, sum[:], nil
		}
		hash, err := canon.ParseBytes(in.Hash)
		if err != nil {
			return 0, nil, malformed("position: hash")
		}
		return n, hash, nil
	}
}
