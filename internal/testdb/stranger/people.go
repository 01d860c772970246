package stranger

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// people is how many contacts there are.
const people = 3000

// A person is a contact before it has a key.
type person struct {
	first, last, email, phone, street, city, country, birthday, company, domain, job string
}

// readPeople reads the contacts of others, or makes up as many.
func readPeople(tb testing.TB) []person {
	tb.Helper()
	dir := os.Getenv("CRMGUARD_TESTDATA")
	if dir == "" {
		return madeUp()
	}
	data, err := fs.ReadFile(os.DirFS(dir), "contacts/fake_name_generator_3000.csv")
	if err != nil {
		tb.Fatalf("stranger: CRMGUARD_TESTDATA: %v", err)
	}
	records, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))).ReadAll()
	if err != nil {
		tb.Fatalf("stranger: the contacts of others: %v", err)
	}
	column := func(record []string, name string) string { return record[slices.Index(records[0], name)] }
	var out []person
	for _, r := range records[1:] {
		out = append(out, person{
			first: column(r, "GivenName"), last: column(r, "Surname"), email: column(r, "EmailAddress"), phone: column(r, "TelephoneNumber"),
			street: column(r, "StreetAddress"), city: column(r, "City"), country: column(r, "Country"), birthday: column(r, "Birthday"),
			company: column(r, "Company"), domain: column(r, "Domain"), job: column(r, "Occupation"),
		})
	}
	if len(out) != people {
		tb.Fatalf("stranger: %d contacts of others, want %d", len(out), people)
	}
	return out
}

// madeUp are contacts of nobody.
func madeUp() []person {
	places, countries := []string{"Zürich", "Malmö", "Łódź", "São Paulo", "東京", "Cork"}, []string{"CH", "SE", "PL", "BR", "JP", "IE"}
	out := make([]person, people)
	for i := range out {
		n := i % len(places)
		out[i] = person{
			first: fmt.Sprintf("Given %d", i%211), last: fmt.Sprintf("Sürname %d", i%1009), email: fmt.Sprintf("Person%d@Mail%d.example", i, i%17),
			phone: fmt.Sprintf("0%d %03d %04d", i%9+1, i%1000, i*7%10000), street: fmt.Sprintf("%d, Street %d", i%99+1, i%389),
			city: places[n], country: countries[n], birthday: fmt.Sprintf("%d/%d/%d", i%12+1, i%28+1, 1940+i%60),
			company: fmt.Sprintf("Company %d", i%700), domain: fmt.Sprintf("Firm-%d.example", i), job: "job",
		}
	}
	return out
}

// specialIDs are different to whoever compares bytes. The first is no id of
// every collation's own order: languages order them in another way.
func specialIDs() []string {
	return []string{
		"7", "07", "007", "0", "00", "7.0", "1e3", "+7", "-7",
		"p1", "P1", "p1 ", " p1", "p1  ", "p\u00a01", "p-1", "p_1", "p.1", "p\u200b1", "p1\t",
		"caf\u00e9", "cafe\u0301", "CAF\u00c9", "cafe", "CAFE", "\u212b", "\u00c5", "A\u030a", "a\u030a",
		"stra\u00dfe", "strasse", "STRASSE", "I", "i", "\u0131", "\u0130", "\u01c6", "\ufb01", "fi",
		"a", "A", "b", "B", "\u00e4", "_x", "Z", "z", "1-2", "12", "1 2", "%", "_", "'", `"`, `\`, "`", "--", "?", "$1", "NULL", "null",
		"\U0001f600", "\U0001f600\ufe0f", "\u5ba2\u6237", "true", strings.Repeat("x", 64), strings.Repeat("\u00fc", 64),
	}
}

// contactID gives each contact its key: the special ones first, then forms
// that applications have had over the years.
func contactID(i int) string {
	special := specialIDs()
	switch {
	case i < len(special):
		return special[i]
	case i%3 == 0:
		return fmt.Sprintf("%06d", i) // begins with a zero
	case i%3 == 1:
		return fmt.Sprintf("C-%d", i)
	}
	return fmt.Sprintf("Key%dx", i*7919%100000)
}
