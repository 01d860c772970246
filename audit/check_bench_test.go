package audit

import (
	"testing"
	"time"
)

// BenchmarkCheck is what recording an event of twelve changes costs before its
// tickets are taken.
func BenchmarkCheck(b *testing.B) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	trail := &Trail{config: Config{Now: time.Now}, fields: map[string]map[string]bool{"contact": {"email": true}}}
	event := Event{Tenant: "main", Actor: "u-1", Action: "contact.update", Object: PersonRef("contact", "p1"), Persons: []string{"p1"}}
	for i, v := range []any{"text", "", nil, int64(7), 7, true, []byte("bytes"), at, 1.5, Decimal("1.50"), Date("2026-01-02"), Absent{}} {
		event.Changes = append(event.Changes, Change{Path: string(rune('a' + i)), Who: "p1", Old: v, New: "new"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trail.check(b.Context(), event); err != nil {
			b.Fatal(err)
		}
	}
}
