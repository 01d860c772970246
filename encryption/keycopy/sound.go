package keycopy

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Sound makes sure that nothing in the key store is damaged: an epoch takes the
// keys away with which a damaged row could still be brought back.
func (v *Copies) Sound(ctx context.Context) (repaired int, err error) {
	before, err := v.newestKnown(ctx)
	if err != nil {
		return 0, err
	}
	found, err := v.examine(ctx, before, source{})
	if err != nil {
		return 0, err
	}
	if found.count > 0 && before.path != "" {
		report, err := v.Repair(ctx, before.path)
		if damaged := (*DamagedError)(nil); err != nil && !errors.As(err, &damaged) {
			return report.Rows(), fmt.Errorf("%w: rows are damaged and not brought back: %w", keyring.ErrRewrap, err)
		}
		repaired = report.Rows()
		if found, err = v.examine(ctx, before, source{}); err != nil {
			return repaired, err
		}
	}
	var brought RepairReport
	err = v.bringVersions(ctx, []source{before}, before, source{}, &found, &brought)
	repaired += brought.Rows()
	if err != nil {
		return repaired, err
	}
	numbers, err := v.mendNumbers(ctx, before, source{}, &found)
	if repaired += numbers; err != nil {
		return repaired, err
	}
	if err := v.removeStrays(ctx, before, source{}, &found); err != nil {
		return repaired, err
	}
	v.record.examined(found)
	if damaged := found.err(); damaged != nil {
		return repaired, fmt.Errorf("%w: %w", keyring.ErrRewrap, damaged)
	}
	return repaired, nil
}
