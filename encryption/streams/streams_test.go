package streams_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/internal/frame"
)

// The sealed size is checked at the end, whatever the stream itself says.
func TestTheSizeOfAStreamIsChecked(t *testing.T) {
	for size, content := range map[uint64]string{2: "hello", 10: "hello", 5: "hello", 0: ""} {
		plain := append(frame.Append(binary.BigEndian.AppendUint64(nil, size), "x.txt"), content...)
		stream, err := streams.NewReader(bytes.NewReader(plain))
		require.NoError(t, err)
		got, err := io.ReadAll(stream)
		if int(size) == len(content) {
			require.NoError(t, err)
			require.Equal(t, content, string(got))
		} else {
			require.ErrorIs(t, err, encryption.ErrStream)
		}
	}
}

func FuzzOpenStream(f *testing.F) {
	f.Add(append(frame.Append(binary.BigEndian.AppendUint64(nil, 5), "x.txt"), "hello"...))
	f.Fuzz(func(t *testing.T, plain []byte) {
		stream, err := streams.NewReader(bytes.NewReader(plain))
		if err != nil {
			return
		}
		got, err := io.ReadAll(stream)
		if err == nil {
			require.Len(t, got, int(stream.Size))
		}
	})
}
