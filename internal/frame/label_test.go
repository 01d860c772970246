package frame_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

func TestALabelIsTheFirstOfWholeParts(t *testing.T) {
	const prefix = "crmguard/audit/"
	for _, data := range [][]byte{
		frame.Join("crmguard/audit/queue-key/v2"),
		frame.Join("crmguard/audit/queue-key/v2", "crm.example/audit"),
		frame.Join("crmguard/audit/queue-key/v2", "", "x"),
	} {
		require.True(t, frame.Labelled(data, prefix), "%q", data)
		for cut := 1; cut < 4; cut++ {
			require.False(t, frame.Labelled(data[:len(data)-cut], prefix), "%q without its end", data)
			require.False(t, frame.Labelled(append(data[:len(data):len(data)], make([]byte, cut)...), prefix), "%q and half a length", data)
		}
	}
	for _, data := range [][]byte{
		nil,
		{},
		{0},
		{0, 0, 0},
		{0, 0, 0, 0},
		{0xff, 0xff, 0xff, 0xff},
		{0x80, 0, 0, 0, 'c'},
		[]byte("crmguard/audit/queue-key/v2"), // no LP
		frame.Join("crmguard/audit/"),         // says no more
		frame.Join("crmguard/audit"),
		frame.Join("crmguard/ledger/digest/v1"),
		frame.Join("", "crmguard/audit/queue-key/v2"),
		append(frame.Join("crmguard/audit/queue-key/v2"), 0, 0, 0, 2, 'x'),
		append(frame.Join("crmguard/audit/queue-key/v2"), 0xff, 0xff, 0xff, 0xff),
	} {
		require.False(t, frame.Labelled(data, prefix), "%q", data)
	}
}
