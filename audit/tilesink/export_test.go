package tilesink

import (
	"time"

	"github.com/crmguard/crmguard/internal/durable"
)

// Over puts another disk between the sink and its own.
func (d *Dir) Over(wrap func(durable.Disk) durable.Disk) { d.over = wrap }

// Patience is how long the lock is waited for.
func (d *Dir) Patience(wait time.Duration) { d.patience = wait }

// Opened is called when the folder is open and its lock not yet taken.
func (d *Dir) Opened(f func()) { d.opened = f }
