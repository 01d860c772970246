package tilesink

import "github.com/crmguard/crmguard/internal/durable"

// Over puts another disk between the sink and its own.
func (d *Dir) Over(wrap func(durable.Disk) durable.Disk) { d.over = wrap }
