package tilesink

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/crmguard/crmguard/internal/durable"
)

// byHand says what to do about what no call replaces: a folder, a pipe or a link in
// the place of a file, a file or a link in the place of a folder. Somebody put it
// there, and what else it is for is not known here.
func byHand(err error) error {
	for _, one := range []error{durable.ErrNotPlain, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP} {
		if errors.Is(err, one) {
			return fmt.Errorf("%w: %s", err, remedyByHand)
		}
	}
	if err != nil && strings.Contains(err.Error(), escapes) {
		return fmt.Errorf("%w: %s", err, remedyByHand)
	}
	return err
}

const (
	remedyByHand = "remove what lies there by hand, then call Republish"
	escapes      = "path escapes" // os.Root has no value for it
)
