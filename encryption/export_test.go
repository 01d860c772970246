package encryption

import (
	"path"

	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

// FailDisk makes the vault's key copies go to a disk that asks first: an error
// of ask is the outcome of that step, which is not carried out.
func (v *Vault) FailDisk(ask func(step string) error) {
	v.over = durabletest.Ask(func(step, name string) error {
		switch {
		case step == "open" || step == "stat" || step == "close" && name == ".": // reading
			return nil
		case step == "remove" && isCopyFile(path.Base(name)):
			step = "remove older"
		case step == "remove":
			step = "remove unfinished"
		}
		return ask(step)
	})
}
