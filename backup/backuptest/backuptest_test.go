package backuptest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

func TestMemory(t *testing.T) {
	backuptest.Run(t, func(*testing.T) backup.Store { return backuptest.NewMemory("memory") })
}

func TestFaultyWithoutFault(t *testing.T) {
	backuptest.Run(t, func(*testing.T) backup.Store { return &backuptest.Faulty{Store: backuptest.NewMemory("memory")} })
}

func TestFaultyFailsOnCue(t *testing.T) {
	for _, mode := range []backuptest.Mode{backuptest.Once, backuptest.Crash, backuptest.Lost} {
		memory := backuptest.NewMemory("memory")
		f := &backuptest.Faulty{Store: memory, At: 2, Mode: mode}
		require.NoError(t, f.Put(t.Context(), "index/1", []byte("a")))
		require.ErrorIs(t, f.Put(t.Context(), "index/2", []byte("b")), backuptest.ErrInjected)
		third := f.Put(t.Context(), "index/3", []byte("c"))
		require.Equal(t, mode == backuptest.Once, third == nil)
		_, second := memory.Files()["index/2"]
		require.Equal(t, mode == backuptest.Lost, second)
		_, err := f.Read(t.Context(), "index/1", 0, 1)
		require.Equal(t, mode == backuptest.Once, err == nil)
		require.Equal(t, 4, f.Operations())
	}
}
