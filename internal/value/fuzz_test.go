package value_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/crmguard/crmguard/internal/value"
)

// Whatever text stands in a column, each conversion answers or refuses, and
// what it answers converts to itself.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "0", "-0", "007", "1e3", "-1.50e-2", "9223372036854775808", "0.1", "true", "2026-01-02", "2026-01-02 03:04:05.6+05:30", "2026-01-02T03:04:05Z", "\xff", "{}", "NaN", "1e400", "-", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v, err := value.Of([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		for name, ask := range asked(v) {
			got, err := ask()
			if err != nil {
				continue
			}
			var again value.Value
			if again, err = value.Of(got); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			twice, err := asked(again)[name]()
			if err != nil || fmt.Sprint(twice) != fmt.Sprint(got) {
				t.Fatalf("%s of %q is %v, and of that %v: %v", name, in, got, twice, err)
			}
		}
	})
}

// Reading what applications and drivers mostly give allocates nothing.
func TestCommonTypesCostNothing(t *testing.T) {
	text, at := "x", time.Unix(1, 0)
	for _, v := range []any{
		nil, "x", int64(1 << 40), 1 << 40, true, []byte("x"), at, 1.5, &text, (*string)(nil), sql.NullString{String: "x", Valid: true}, sql.NullInt64{Int64: 1 << 40, Valid: true}, sql.NullBool{}, int32(1 << 20), uint64(1 << 40), []string{"x"}, map[string]any{}, time.Minute,
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = value.Of(v) }); n != 0 {
			t.Errorf("reading a %T allocates %v times", v, n)
		}
	}
}
