package encryption_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/streams"
)

// slowSource delivers its first byte only when meanwhile has happened.
type slowSource struct {
	io.Reader
	meanwhile func()
}

func (s *slowSource) Read(p []byte) (int, error) {
	if do := s.meanwhile; do != nil {
		s.meanwhile = nil
		do()
	}
	return s.Reader.Read(p)
}

// An upload may take longer than a lease. SealStream does not call good what
// nobody opens: the key version is gone, or the owner is.
func TestASlowStreamIsSealedUnderAKeyThatIsThere(t *testing.T) {
	ref := streams.Ref{Tenant: tenant, Owner: "p1", Column: "content", Row: "f1"}
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, e *env, old uint32)
		want      error
	}{
		"nothing happens": {func(*testing.T, *env, uint32) {}, nil},
		"the key version is destroyed": {func(t *testing.T, e *env, old uint32) {
			e.rotate(t)
			e.clock.Move(time.Hour)
			none := func(context.Context, string, uint32) (int, string, error) { return 0, "files on disk", nil }
			require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, none))
		}, encryption.ErrLease},
		"the key version is retired": {func(t *testing.T, e *env, _ uint32) { e.rotate(t) }, encryption.ErrLease},
		"the owner is erased": {func(t *testing.T, e *env, _ uint32) {
			_, err := e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
		}, encryption.ErrErased},
		"the owner is merged": {func(t *testing.T, e *env, _ uint32) {
			require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p1", "p2"))
		}, encryption.ErrMerged},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4)
			files := e.table(t, e.another(t), filesTable) // the upload runs in another process
			keyVersions, err := e.vault.KeyVersions(t.Context(), tenant)
			require.NoError(t, err)
			content := bytes.Repeat([]byte("x"), 200_000)
			source := &slowSource{bytes.NewReader(content), func() { c.meanwhile(t, e, keyVersions[0].KeyVersion) }}
			var sealed bytes.Buffer
			err = files.SealStream(t.Context(), &sealed, ref, "offer.pdf", int64(len(content)), source)
			require.ErrorIs(t, err, c.want)
			if c.want != nil {
				return
			}
			stream, err := files.OpenStream(t.Context(), &sealed, ref)
			require.NoError(t, err)
			got, err := io.ReadAll(stream)
			require.NoError(t, err)
			require.Equal(t, content, got)
		})
	}
}
