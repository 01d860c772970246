package keycopy

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Sound makes sure that nothing in the key store is damaged: an epoch takes the
// keys away with which a damaged row could still be brought back. It says how many rows
// came back, and how many indexes are searched no more for that.
func (v *Copies) Sound(ctx context.Context) (repaired, fenced int, err error) {
	before, err := v.newestKnown(ctx)
	if err != nil {
		return 0, 0, err
	}
	found, err := v.examine(ctx, before, source{})
	if err != nil {
		return 0, 0, err
	}
	if found.count > 0 && before.path != "" {
		report, err := v.Repair(ctx, before.path)
		if damaged := (*DamagedError)(nil); err != nil && !errors.As(err, &damaged) {
			return report.Rows(), report.Fenced, fmt.Errorf("%w: rows are damaged and not brought back: %w", keyring.ErrRewrap, err)
		}
		repaired, fenced = report.Rows(), report.Fenced
		if found, err = v.examine(ctx, before, source{}); err != nil {
			return repaired, fenced, err
		}
	}
	var brought RepairReport
	err = v.bringVersions(ctx, []source{before}, before, source{}, &found, v.newFence(&brought))
	repaired, fenced = repaired+brought.Rows(), fenced+brought.Fenced
	if err != nil {
		return repaired, fenced, err
	}
	numbers, err := v.mendNumbers(ctx, before, source{}, &found)
	if repaired += numbers; err != nil {
		return repaired, fenced, err
	}
	if err := v.removeStrays(ctx, before, source{}, &found); err != nil {
		return repaired, fenced, err
	}
	v.record.examined(found)
	if damaged := found.err(); damaged != nil {
		return repaired, fenced, fmt.Errorf("%w: %w", keyring.ErrRewrap, damaged)
	}
	return repaired, fenced, nil
}
