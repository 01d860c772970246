package erasurelog_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

func TestTags(t *testing.T) {
	f := newFixture(t)
	tag, err := f.log.Tag(t.Context(), "crmguard/privacy/plan/v1", []byte("a plan"))
	require.NoError(t, err)
	verify := func(label, data string, tag []byte) bool {
		ok, err := f.log.VerifyTag(t.Context(), label, []byte(data), tag)
		require.NoError(t, err)
		return ok
	}
	require.True(t, verify("crmguard/privacy/plan/v1", "a plan", tag))
	require.False(t, verify("crmguard/privacy/plan/v1", "another", tag))
	require.False(t, verify("crmguard/privacy/approval/v1", "a plan", tag))
	for _, bad := range []string{"", ".", "x", "016909060." + string(tag[9:]), string(tag) + "A", "7." + string(tag[9:])} {
		require.False(t, verify("crmguard/privacy/plan/v1", "a plan", []byte(bad)), bad)
	}
	f.roots = append([]root{{99, seqKey(50)}}, f.roots...)
	f.open()
	require.True(t, verify("crmguard/privacy/plan/v1", "a plan", tag), "an older root")
	require.Equal(t, frame.Join("t", "r"), erasurelog.RowID("t", "r"))
}

// Whatever the keys answer wrongly is none of the ledger's.
func TestKeysThatDoNotAnswer(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	good := f.cfg.Digests
	for name, digests := range map[string]erasurelog.Digests{
		"an error": func(_ context.Context, _ string, _ []byte) ([]uint32, [][]byte, error) {
			return nil, nil, errors.New("a secret")
		},
		"no roots": func(_ context.Context, _ string, _ []byte) ([]uint32, [][]byte, error) { return nil, nil, nil },
		"uneven":   func(_ context.Context, _ string, _ []byte) ([]uint32, [][]byte, error) { return []uint32{1}, nil, nil },
		"short": func(_ context.Context, _ string, _ []byte) ([]uint32, [][]byte, error) {
			return []uint32{1}, [][]byte{{1}}, nil
		},
	} {
		f.cfg.Digests = digests
		log, err := erasurelog.Open(f.cfg)
		require.NoError(t, err)
		_, err = log.Read(t.Context())
		require.ErrorIs(t, err, erasurelog.ErrKeys, name)
		require.NotContains(t, err.Error(), "secret")
	}
	f.cfg.Digests = good
	require.Equal(t, int64(2), f.read().Head().N)

	var root uint32
	f.cfg.Digests = func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		_, digests, err := good(ctx, label, data)
		root++
		return []uint32{root}, digests, err
	}
	log, err := erasurelog.Open(f.cfg)
	require.NoError(t, err)
	_, err = log.NewEntry(t.Context(), erasurelog.Intent, newID(), "main", "ann")
	require.ErrorIs(t, err, erasurelog.ErrKeys, "a root that never stays")
}
