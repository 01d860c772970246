package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"github.com/crmguard/crmguard/integrity"
)

// contact is the record as a Go struct, for those who validate structs.
type contact struct {
	FirstName string `name:"first_name" validate:"required,max=80"`
	LastName  string `name:"last_name"  validate:"required,max=80"`
	Email     string `name:"email"      validate:"required,email"`
	Phone     string `name:"phone"      validate:"omitempty,e164"`
	Street    string `name:"street"     validate:"max=120"`
	Country   string `name:"country"    validate:"required,iso3166_1_alpha2"`
	Language  string `name:"language"   validate:"omitempty,bcp47_language_tag"`
	Stage     string `name:"stage"      validate:"required,oneof=lead open won lost"`
	Website   string `name:"website"    validate:"omitempty,http_url"`
	Birthday  string `name:"birthday"   validate:"omitempty,datetime=2006-01-02"`
}

func (c *contact) record() map[string]any {
	return map[string]any{
		"first_name": c.FirstName, "last_name": c.LastName, "email": c.Email, "phone": c.Phone, "street": c.Street,
		"country": c.Country, "language": c.Language, "stage": c.Stage, "website": c.Website, "birthday": c.Birthday,
	}
}

func goodContact() contact {
	return contact{
		FirstName: "Zoë", LastName: "Müller-Lüdenscheidt", Email: "zoe.mueller@crm.example", Phone: "+41445550123",
		Street: "Bahnhofstrasse 17", Country: "CH", Language: "de-CH", Stage: "open", Website: "https://crm.example/people/zoe", Birthday: "1984-02-29",
	}
}

// badContact breaks three rules.
func badContact() contact {
	c := goodContact()
	c.LastName, c.Email, c.Stage = "", "zoe.crm.example", "maybe"
	return c
}

// contactCases are records on whose verdict all contestants must agree.
func contactCases() []contact {
	cases := []contact{goodContact(), badContact()}
	breakers := []func(*contact){
		func(c *contact) { c.FirstName = "" },
		func(c *contact) { c.LastName = strings.Repeat("ü", 81) },
		func(c *contact) { c.Email = "a..b@crm.example" },
		func(c *contact) { c.Email = "Zoë <zoe@crm.example>" },
		func(c *contact) { c.Phone = "call me" },
		func(c *contact) { c.Street = strings.Repeat("s", 121) },
		func(c *contact) { c.Country = "XX" },
		func(c *contact) { c.Country = "" },
		func(c *contact) { c.Language = "12-34" },
		func(c *contact) { c.Stage = "Lead" },
		func(c *contact) { c.Website = "ftp://crm.example" },
		func(c *contact) { c.Birthday = "1985-02-29" },
		func(c *contact) { c.Phone, c.Language, c.Website, c.Birthday = "", "", "", "" },
		func(c *contact) { c.LastName = strings.Repeat("ü", 80) },
	}
	for _, spoil := range breakers {
		c := goodContact()
		spoil(&c)
		cases = append(cases, c)
	}
	return cases
}

func contactSchema() (*integrity.Schema, error) {
	return integrity.NewSchema("contact",
		integrity.Field{Name: "first_name", Required: true, MaxLen: 80},
		integrity.Field{Name: "last_name", Required: true, MaxLen: 80},
		integrity.Field{Name: "email", Type: integrity.Email, Required: true},
		integrity.Field{Name: "phone", Type: integrity.Phone},
		integrity.Field{Name: "street", MaxLen: 120},
		integrity.Field{Name: "country", Type: integrity.Country, Required: true},
		integrity.Field{Name: "language", Type: integrity.Language},
		integrity.Field{Name: "stage", Required: true, OneOf: []string{"lead", "open", "won", "lost"}},
		integrity.Field{Name: "website", Type: integrity.URL},
		integrity.Field{Name: "birthday", Type: integrity.Date},
	)
}

// A judge validates one of the prepared records and counts the broken fields.
type judge struct {
	name   string
	role   role
	broken func(c *contact) []string       // names, sorted
	count  func(prepared any) int          // the hot path
	ready  func(c *contact) (prepared any) // what the hot path is given
}

func integrityContests(_ context.Context, _ *bench) ([]contest, error) {
	judges, err := contactJudges()
	if err != nil {
		return nil, err
	}
	note := "Every contestant judges 16 records and must name the same broken fields. Ours takes a map, as an import or a form delivers it; Struct is validator's fastest way, ValidateMap its way for the same input. The hand-written code knows ASCII e-mail and a dozen countries only and answers with names, not with codes."
	good, bad := goodContact(), badContact()
	return []contest{
		validation("validate a contact of 10 fields", note, &good, judges),
		validation("refuse a contact with 3 faults in 10 fields", note, &bad, judges),
	}, nil
}

func validation(what, note string, c *contact, judges []judge) contest {
	out := contest{Package: "integrity", What: what, Note: note}
	for _, j := range judges {
		want := len(j.broken(c))
		prepared := j.ready(c)
		out.Contestants = append(out.Contestants, contestant{
			Name: j.name, Role: j.role,
			Answer: func() (string, error) { return verdicts(j), nil },
			Run: func(n int) error {
				for range n {
					if got := j.count(prepared); got != want {
						return fmt.Errorf("found %d broken fields, not %d", got, want)
					}
				}
				return nil
			},
		})
	}
	return out
}

func verdicts(j judge) string {
	var b strings.Builder
	for i, c := range contactCases() {
		fmt.Fprintf(&b, "%d:%s ", i, strings.Join(j.broken(&c), "+"))
	}
	return b.String()
}

func contactJudges() ([]judge, error) {
	schema, err := contactSchema()
	if err != nil {
		return nil, err
	}
	structs, rules := playground()
	asMap := func(c *contact) any { return c.record() }
	asStruct := func(c *contact) any { return c }
	return []judge{
		{
			"Schema.Validate", ours,
			func(c *contact) []string { return violated(schema.Validate(c.record())) },
			func(v any) int { return len(schema.Validate(v.(map[string]any))) }, asMap,
		},
		{
			"go-playground/validator, Struct", peer,
			func(c *contact) []string { return fieldErrors(structs.Struct(c)) },
			func(v any) int { return countErrors(structs.Struct(v)) }, asStruct,
		},
		{
			"go-playground/validator, ValidateMap", peer,
			func(c *contact) []string { return sortedKeys(structs.ValidateMap(c.record(), rules)) },
			func(v any) int { return len(structs.ValidateMap(v.(map[string]any), rules)) }, asMap,
		},
		{"hand-written Go", floor, byHand, func(v any) int { return len(byHand(v.(*contact))) }, asStruct},
	}, nil
}

func violated(violations integrity.Violations) []string {
	var names []string
	for _, v := range violations {
		names = append(names, strings.TrimPrefix(v.Path, "/"))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func playground() (*validator.Validate, map[string]any) {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(nameTag)
	return v, rulesOf(contact{})
}

func countErrors(err error) int {
	var list validator.ValidationErrors
	errors.As(err, &list)
	return len(list)
}

func fieldErrors(err error) []string {
	var list validator.ValidationErrors
	errors.As(err, &list)
	var names []string
	for _, one := range list {
		names = append(names, one.Field())
	}
	slices.Sort(names)
	return names
}

func sortedKeys(m map[string]any) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// byHand is what a careful person writes without a library, rule by rule.
func byHand(c *contact) []string {
	var broken []string
	fail := func(bad bool, name string) {
		if bad {
			broken = append(broken, name)
		}
	}
	_, dateErr := time.Parse(time.DateOnly, c.Birthday)
	fail(c.Birthday != "" && dateErr != nil, "birthday")
	fail(!handCountry(c.Country), "country")
	fail(!handEmail(c.Email), "email")
	fail(c.FirstName == "" || utf8.RuneCountInString(c.FirstName) > 80, "first_name")
	fail(c.Language != "" && !handLanguage(c.Language), "language")
	fail(c.LastName == "" || utf8.RuneCountInString(c.LastName) > 80, "last_name")
	fail(c.Phone != "" && !handPhone(c.Phone), "phone")
	fail(c.Stage != "lead" && c.Stage != "open" && c.Stage != "won" && c.Stage != "lost", "stage")
	fail(utf8.RuneCountInString(c.Street) > 120, "street")
	fail(c.Website != "" && !strings.HasPrefix(c.Website, "https://") && !strings.HasPrefix(c.Website, "http://"), "website")
	return broken
}

func handCountry(s string) bool {
	switch s {
	case "AT", "CH", "CN", "DE", "ES", "FR", "GB", "IT", "JP", "LI", "PL", "US":
		return true
	}
	return false
}

func handLanguage(s string) bool {
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' }
	upper := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	return (len(s) == 2 || len(s) == 5 && s[2] == '-' && upper(s[3]) && upper(s[4])) && lower(s[0]) && lower(s[1])
}

func handPhone(s string) bool {
	if len(s) < 3 || len(s) > 16 || s[0] != '+' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func handEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 || !strings.Contains(s[at+1:], ".") {
		return false
	}
	return handAtoms(s[:at], "!#$%&'*+-/=?^_`{|}~") && handAtoms(s[at+1:], "-")
}

// handAtoms checks ASCII words with single dots between them.
func handAtoms(s, marks string) bool {
	dot := true
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(marks, c) >= 0:
		default:
			return false
		}
		dot = false
	}
	return !dot
}
