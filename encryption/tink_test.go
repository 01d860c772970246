package encryption

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/streamingaead/aesctrhmac"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/tinktest"
	"github.com/crmguard/crmguard/internal/frame"
)

func TestPlainTinkReadsAStream(t *testing.T) {
	personKey := tinktest.Counting(32)
	primitive, err := streamPrimitive(personKey)
	require.NoError(t, err)
	ad := format.StreamAD("t1", "files", "content", "p1", "r1")
	var sealed bytes.Buffer
	w, err := primitive.NewEncryptingWriter(&sealed, ad)
	require.NoError(t, err)
	content := bytes.Repeat([]byte("content "), 20_000)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())

	params, err := aesctrhmac.NewParameters(aesctrhmac.ParametersOpts{
		KeySizeInBytes: 32, DerivedKeySizeInBytes: 32, HkdfHashType: aesctrhmac.SHA256, HmacHashType: aesctrhmac.SHA256, HmacTagSizeInBytes: 32, SegmentSizeInBytes: 64 << 10,
	})
	require.NoError(t, err)
	derived, err := format.Derive(personKey, frame.Join(format.StreamKeyDomain))
	require.NoError(t, err)
	k, err := aesctrhmac.NewKey(params, tinktest.Secret(derived))
	require.NoError(t, err)
	plain, err := streamingaead.New(tinktest.Handle(t, k))
	require.NoError(t, err)
	r, err := plain.NewDecryptingReader(bytes.NewReader(sealed.Bytes()), append(frame.Join("crmguard/streamad/v1"), tinktest.FieldAD(3, "t1", "files", "content", "p1", "r1")...))
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, content, got)
}
