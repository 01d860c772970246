package privacy

import (
	"slices"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

// FailDisk lets writes and flushes of the ledger's file end as ask says,
// before they happen.
func (l *Ledger) FailDisk(ask func(step string) error) {
	l.over = durabletest.Ask(func(step, _ string) error {
		if slices.Contains([]string{"write", "sync", "truncate"}, step) {
			return ask(step)
		}
		return nil
	})
}

// Over puts another disk in the place of the ledger's.
func (l *Ledger) Over(wrap func(durable.Disk) durable.Disk) { l.over = wrap }
