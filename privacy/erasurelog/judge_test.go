package erasurelog_test

import (
	"path/filepath"
	"testing"

	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/erasurelog/erasurelogtest"
)

func TestAFolderIsAMedium(t *testing.T) {
	erasurelogtest.Run(t, func(t *testing.T) (one, other erasurelog.Medium) {
		dir := filepath.Join(t.TempDir(), "ledger")
		return erasurelog.Folder(dir), erasurelog.Folder(dir)
	})
}
