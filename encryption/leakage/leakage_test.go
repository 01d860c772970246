package leakage_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/leakage"
	"github.com/crmguard/crmguard/internal/testdb"
)

// table declares a column c with an index of each width.
func table(t *testing.T, as encryption.Normaliser, widths ...int) *encryption.SealedTable {
	t.Helper()
	col := encryption.Column{Name: "c"}
	for _, bits := range widths {
		col.Index = append(col.Index, encryption.Index{Column: fmt.Sprintf("c_%d", bits), As: as, Bits: bits})
	}
	sealed, err := encryptiontest.Vault(t, "main").Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{col}})
	require.NoError(t, err)
	return sealed
}

func all(values []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// contacts reads a column of the 3,000 contacts.
func contacts(t *testing.T, column string) []string {
	t.Helper()
	dir := os.Getenv("CRMGUARD_TESTDATA")
	if dir == "" {
		t.Skip("CRMGUARD_TESTDATA is not set: the figures of the package comment are not reproduced on the 3,000 contacts")
	}
	file, err := os.Open(filepath.Join(dir, "contacts", "fake_name_generator_3000.csv"))
	require.NoError(t, err)
	defer file.Close()
	rows := csv.NewReader(file)
	head, err := rows.Read()
	require.NoError(t, err)
	at := slices.Index(head, column)
	require.GreaterOrEqual(t, at, 0)
	var out []string
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, row[at])
	}
}

// The figures of the package comment.
func TestTheAttackOnThreeThousandContacts(t *testing.T) {
	for _, want := range []struct {
		column   string
		values   int
		top      float64
		from, to float64
		refused  bool
	}{
		{"Gender", 2, 0.534, 1400, 1500, true},
		{"Title", 4, 0.518, 1380, 1500, true},
		{"CountryFull", 31, 0.041, 40, 66, false},
		{"Surname", 2167, 0.003, 0, 4, false},
	} {
		t.Run(want.column, func(t *testing.T) {
			reports, err := leakage.Measure(table(t, encryption.Exact, 32, 8), "c", all(contacts(t, want.column)), leakage.Options{})
			require.Len(t, reports, 2)
			for _, r := range reports {
				t.Log(r)
				require.Equal(t, 1500, r.Attacked)
				require.Equal(t, want.values, r.Distinct)
				require.InDelta(t, want.top, r.Top, 0.0005)
				for _, recovered := range []float64{r.Recovered, r.Recovered8} {
					require.GreaterOrEqual(t, recovered, want.from)
					require.LessOrEqual(t, recovered, want.to)
				}
			}
			if want.refused {
				require.ErrorIs(t, err, leakage.ErrLeakage)
				return
			}
			require.NoError(t, err)
		})
	}
}

// heap repeats each value as often as it says, spread evenly.
func heap(counts map[string]int) (out []string) {
	for {
		more := false
		for _, value := range slices.Sorted(mapKeys(counts)) {
			if counts[value] > 0 {
				counts[value] -= 2
				out = append(out, value, value) // one for each half
				more = true
			}
		}
		if !more {
			return out
		}
	}
}

func mapKeys(m map[string]int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// In which order the rows come is no matter: couples stand side by side, or a table
// was sorted.
func TestTheOrderOfTheRowsDoesNotMatter(t *testing.T) {
	turns, pairs, sorted := make([]string, 2000), make([]string, 2000), make([]string, 2000)
	for i := range turns {
		turns[i] = []string{"m", "f"}[i%2]
		pairs[i] = []string{"m", "f"}[i/2%2]
		sorted[i] = []string{"m", "f"}[i/1000]
	}
	for name, values := range map[string][]string{"they take turns": turns, "two of each": pairs, "sorted": sorted} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(6) { // 0 draws one
				reports, err := leakage.Measure(table(t, encryption.Exact, 32), "c", all(values), leakage.Options{Seed: seed})
				require.ErrorIs(t, err, leakage.ErrLeakage)
				require.Equal(t, 1000, reports[0].Attacked)
			}
		})
	}
}

// What comes out is the same where the seed is.
func TestASeedChoosesTheHalves(t *testing.T) {
	counts := map[string]int{}
	for i := range 40 {
		counts[fmt.Sprintf("v%02d", i)] = 2 * (i + 1)
	}
	values := heap(counts)
	recovered := func(seed uint64) float64 {
		reports, err := leakage.Measure(table(t, encryption.Exact, 63), "c", all(values), leakage.Options{Seed: seed, Share: 1})
		require.NoError(t, err)
		return reports[0].Recovered
	}
	seen := map[float64]bool{}
	for seed := range uint64(5) {
		require.InDelta(t, recovered(seed+1), recovered(seed+1), 1e-6)
		seen[recovered(seed+1)] = true
	}
	require.Greater(t, len(seen), 1)
}

// What the attack recovers is known where the distribution is.
func TestTheAttackOnKnownDistributions(t *testing.T) {
	different, equal := map[string]int{}, map[string]int{}
	for i := range 40 {
		different[fmt.Sprintf("v%02d", i)] = 2 * (i + 1)
		equal[fmt.Sprintf("v%02d", i)] = 20
	}
	alone := map[string]int{}
	for i := range 1000 {
		alone[fmt.Sprint(i)] = 2
	}
	for name, c := range map[string]struct {
		counts   map[string]int
		from, to float64 // recovered at 63 bits
		distinct int
		top      float64
		refused  bool
	}{
		"two values":                    {map[string]int{"f": 1600, "m": 1400}, 1500, 1500, 2, 1600. / 3000, true},
		"each frequency is another one": {different, 50, 820, 40, 80. / 1640, true},
		"all are equally frequent":      {equal, 0, 20, 40, 20. / 800, false}, // 1 of 40
		"two rows have each":            {alone, 0.5, 2, 1000, 2. / 2000, false},
	} {
		t.Run(name, func(t *testing.T) {
			reports, err := leakage.Measure(table(t, encryption.Exact, 63, 16), "c", all(heap(c.counts)), leakage.Options{Seed: 1})
			r := reports[0]
			require.GreaterOrEqual(t, r.Recovered, c.from-1e-6)
			require.LessOrEqual(t, r.Recovered, c.to+1e-6)
			require.Equal(t, c.distinct, r.Distinct)
			require.InDelta(t, c.top, r.Top, 1e-9)
			require.Less(t, r.Collisions, 1e-12)
			same := r.Collisions * 0x1p63 // what is expected at a width is so many times less
			require.InEpsilon(t, same/0x1p16, reports[1].Collisions, 1e-9)
			if !c.refused {
				require.NoError(t, err)
				return
			}
			var refused *leakage.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Len(t, refused.Reports, 2)
			require.ErrorContains(t, err, "c_63 on contacts.c")
			require.ErrorContains(t, err, "AcceptLeakage")
		})
	}
}

// At 8 bits the values of a column share 256 index values, which hides few values
// and costs rows.
func TestANarrowIndexCostsRows(t *testing.T) {
	var values []string
	for i := range 4000 {
		values = append(values, fmt.Sprint(i%1000))
	}
	reports, err := leakage.Measure(table(t, encryption.Exact, 8, 63), "c", all(values), leakage.Options{})
	require.NoError(t, err)
	require.InEpsilon(t, 4000*(1-1./1000)/256, reports[0].Collisions, 1e-9)
	require.InDelta(t, reports[0].Recovered8, reports[0].Recovered, 1e-9, "its own width is 8 bits")
}

// Each index is accepted by its name, with a reason that stands in the report.
func TestLeakageIsAcceptedForEachIndex(t *testing.T) {
	sealed := table(t, encryption.Exact, 32, 8)
	values := heap(map[string]int{"f": 60, "m": 40})
	reports, err := leakage.Measure(sealed, "c", all(values), leakage.Options{AcceptLeakage: map[string]string{"c_32": "shown to everybody anyway"}})
	var refused *leakage.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Reports, 1)
	require.Equal(t, "c_8", refused.Reports[0].Index)
	require.Equal(t, "shown to everybody anyway", reports[0].Accepted)
	require.Contains(t, reports[0].String(), "accepted: shown to everybody anyway")
	_, err = leakage.Measure(sealed, "c", all(values), leakage.Options{Share: 1})
	require.NoError(t, err, "all of it may be")
	_, err = leakage.Measure(sealed, "c", all(values), leakage.Options{AcceptLeakage: map[string]string{"c_9": "x"}})
	require.ErrorIs(t, err, encryption.ErrDefinition)
	_, err = leakage.Measure(sealed, "d", all(values), leakage.Options{})
	require.ErrorIs(t, err, encryption.ErrDefinition)
	for _, o := range []leakage.Options{{Share: 2}, {Share: -1}, {Share: math.NaN()}, {Sample: 1}} {
		_, err = leakage.Measure(sealed, "c", all(values), o)
		require.ErrorIs(t, err, encryption.ErrDefinition)
	}
}

// It is measured what the rule makes of the values, and the value itself is in no
// text.
func TestTheRuleDecidesWhatIsMeasured(t *testing.T) {
	values := []string{"Ann@canary.example", "ANN@canary.example.", "bob@canary.example", "", " ", "\u200b"}
	reports, err := leakage.Measure(table(t, encryption.Email, 32), "c", all(values), leakage.Options{Share: 1})
	require.NoError(t, err)
	r := reports[0]
	require.Equal(t, []int64{3, 3, 0}, []int64{r.Values, r.Empty, r.Refused})
	require.Equal(t, 2, r.Distinct)
	require.NotContains(t, fmt.Sprintf("%+v", r), "canary")
	down := errors.New("the database is down")
	_, err = leakage.Measure(table(t, encryption.Email, 32), "c", func(yield func(string, error) bool) {
		_ = yield("a", nil) && yield("", down)
	}, leakage.Options{})
	require.ErrorIs(t, err, down)
	reports, err = leakage.Measure(table(t, encryption.Email, 32), "c", all(nil), leakage.Options{})
	require.NoError(t, err)
	require.Zero(t, reports[0].Share(), "an empty column says nothing")
	require.Contains(t, reports[0].String(), "0 values")
}

// Of a large column a sample is kept, in which each row has the same chance.
func TestALargeColumnIsSampled(t *testing.T) {
	const rows = 200_000
	values := func(yield func(string, error) bool) {
		for i := range rows { // sorted, as a column may come
			value := "rare" + fmt.Sprint(i)
			if i < rows/4 {
				value = "frequent"
			}
			if !yield(value, nil) {
				return
			}
		}
	}
	reports, err := leakage.Measure(table(t, encryption.Exact, 32), "c", values, leakage.Options{Sample: 20_000})
	require.ErrorIs(t, err, leakage.ErrLeakage, "a quarter is named by guessing the most frequent value")
	r := reports[0]
	require.EqualValues(t, rows, r.Values)
	require.Equal(t, 20_000, r.Sampled)
	require.InDelta(t, 0.25, r.Top, 0.03) // ten standard deviations
	require.InDelta(t, 0.25, r.Share(), 0.03)
}

// A column is measured as it stands: clear on any database, or sealed and opened.
func TestColumnsAreMeasuredWhereTheyStand(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for i, driver := range d.Name.Drivers() {
			db := d.OpenWith(t, driver)
			name := fmt.Sprintf("contacts%d", i)
			bytes := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(255)"}[d.Name]
			if bytes == "" {
				bytes = "BYTEA"
			}
			_, err := db.ExecContext(t.Context(), `CREATE TABLE `+name+` (id INTEGER NOT NULL PRIMARY KEY, person VARCHAR(20) NOT NULL, email VARCHAR(100), age INTEGER, sealed `+bytes+`, email_idx BIGINT)`)
			require.NoError(t, err)
			sealed, err := encryptiontest.Vault(t, "main").Table(encryption.Table{Name: name, Columns: []encryption.Column{
				{Name: "email", SQL: "sealed", Pad: 16, Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}},
			}})
			require.NoError(t, err)
			w, err := sealed.Writer(t.Context(), "main", "p1")
			require.NoError(t, err)
			query := `INSERT INTO ` + name + ` VALUES (?, 'p1', ?, ?, ?, ?)`
			if bytes == "BYTEA" {
				query = `INSERT INTO ` + name + ` VALUES ($1, 'p1', $2, $3, $4, $5)`
			}
			for id := range 8 {
				mail := strings.Repeat("x", id/2) + "@b.example"
				_, err := db.ExecContext(t.Context(), query, id, mail, id/4, w.Text("email", mail), w.Int64("email_idx", mail))
				require.NoError(t, err)
			}
			_, err = db.ExecContext(t.Context(), `INSERT INTO `+name+` (id, person) VALUES (8, 'p1')`)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), `UPDATE `+name+` SET email_idx = NULL WHERE id = 0`)
			require.NoError(t, err)
			for how, values := range map[string]iter.Seq2[string, error]{
				"clear": leakage.Plain(t.Context(), db, name, "email"), "sealed": sealed.Opened(t.Context(), db, "main", "email"),
			} {
				reports, err := leakage.Measure(sealed, "email", values, leakage.Options{Share: 1})
				require.NoError(t, err, how)
				require.EqualValues(t, 8, reports[0].Values, how)
				require.Equal(t, 4, reports[0].Distinct, how)
			}
			reports, err := leakage.Measure(sealed, "email", leakage.Plain(t.Context(), db, name, "age"), leakage.Options{Share: 1})
			require.NoError(t, err, "a column of numbers")
			require.Equal(t, 2, reports[0].Distinct)
			_, err = leakage.Measure(sealed, "email", leakage.Plain(t.Context(), db, name, "nope"), leakage.Options{})
			require.Error(t, err)
			for value, err := range leakage.Plain(t.Context(), db, name, "email") {
				require.NoError(t, err)
				require.NotEmpty(t, value)
				break // whoever has seen enough goes
			}
			_, err = leakage.Measure(sealed, "email", sealed.Opened(t.Context(), db, "main", "nope"), leakage.Options{})
			require.ErrorIs(t, err, encryption.ErrDefinition)
		}
	})
}
