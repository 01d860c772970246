package auditlog

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// leaves is a file system that hangs, before a reader who goes away meanwhile.
type leaves struct {
	fs.FS
	cancel func()
	until  chan struct{}
}

func (l leaves) Open(name string) (fs.File, error) {
	l.cancel()
	<-l.until
	return l.FS.Open(name)
}

// A reading that hangs keeps its buffers for itself: whoever has stopped waiting
// goes on with none of them.
func TestAReadingThatHangsSharesNoBuffer(t *testing.T) {
	until := make(chan struct{})
	defer close(until)
	ctx, cancel := context.WithCancel(t.Context())
	f := &folder{fsys: leaves{fstest.MapFS{CheckpointFile: {Data: []byte("x")}}, cancel, until}}
	f.release(make([]byte, 0, 600))
	require.NotEmpty(t, f.spare)
	_, err := f.read(ctx, CheckpointFile)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, f.bytes)
	require.Nil(t, f.spare)
}
