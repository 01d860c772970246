package integritytest_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

func TestTheDoublePassesItsOwnJudge(t *testing.T) {
	integritytest.Run(t, func(*testing.T) integrity.Tagger { return &integritytest.Tagger{} })
}

func TestTheDoubleRotatesForgetsAndFails(t *testing.T) {
	tagger := &integritytest.Tagger{}
	old, err := tagger.Tag(t.Context(), "t1", []byte("row"))
	require.NoError(t, err)
	tagger.Rotate()
	require.NoError(t, tagger.Verify(t.Context(), "t1", []byte("row"), old))
	tagger.Forget()
	require.ErrorIs(t, tagger.Verify(t.Context(), "t1", []byte("row"), old), fs.ErrNotExist)

	down := errors.New("down")
	tagger.Fail(down)
	_, err = tagger.Tag(t.Context(), "t1", nil)
	require.ErrorIs(t, err, down)
	require.ErrorIs(t, tagger.Verify(t.Context(), "t1", nil, old), down)
}
