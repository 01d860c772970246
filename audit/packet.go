package audit

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// MariaDB and MySQL take no statement that is larger than max_allowed_packet: they end
// the connection, with the caller's transaction, and say nothing that tells why. So
// a row that is too large is not sent.

// packetOver is what a row has in a packet beside its body.
const packetOver = 4096

// askPacket asks for the limit as it is when the trail is opened.
func (t *Trail) askPacket(ctx context.Context) error {
	if t.db.Kind != sqldb.MariaDB && t.db.Kind != sqldb.MySQL {
		return nil
	}
	_, err := t.one(ctx, t.db, []any{&t.packet}, `SELECT @@max_allowed_packet`)
	return err
}

// fits refuses a row that the server would not take.
func (t *Trail) fits(row *queuedRow) error {
	if t.packet > 0 && int64(len(row.body)+packetOver) > t.packet {
		return fmt.Errorf("%w: its row has %d bytes, and max_allowed_packet of the server is %d: raise that, or record several events that share For", ErrTooLarge, len(row.body), t.packet)
	}
	return nil
}
