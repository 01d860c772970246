package integrity_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

type stage string

type names struct {
	First string `json:"first_name"`
	Last  string `json:"last_name,omitempty"`
}

type contactStruct struct {
	names2
	Email      string     `json:"email"`
	Phone      *string    `json:"phone"`
	Country    string     `json:"country"`
	Language   string     `json:"language"`
	Website    string     `json:"website"`
	Card       string     `json:"card_number"`
	Stage      stage      `json:"stage"`
	Code       any        `json:"code"`
	Employees  uint16     `json:"employees"`
	Revenue    string     `json:"revenue"`
	Newsletter bool       `json:"newsletter"`
	Born       *time.Time `json:"born"`
	Seen       time.Time  `json:"seen"`
	Internal   int        `json:"-"`
	private    int
}

type names2 = names

func TestAStructIsJudgedLikeAMap(t *testing.T) {
	typed, err := integrity.For[contactStruct](contactSchema(t))
	require.NoError(t, err)
	phone := "12345"
	c := contactStruct{names2: names{First: "Ann"}, Email: "a@b.example", Phone: &phone, Country: "CH", Stage: "won", Employees: 5, Code: "AB123", private: 1}
	require.Empty(t, typed.Validate(&c))
	c.Stage, phone, c.Email = "x", "x", ""
	require.Equal(t, integrity.Violations{
		{Code: integrity.CodeRequired, Path: "/email"},
		{Code: integrity.CodePhone, Path: "/phone"},
		{Code: integrity.CodeOneOf, Path: "/stage", Params: []integrity.Param{{Name: "choices", Value: "lead, won, lost"}}},
	}, typed.Validate(&c))
	require.Equal(t, integrity.Violations{{Code: integrity.CodeRequired}}, typed.Validate(nil), "no struct is no valid one")
}

func TestAStructThatDoesNotMatchIsAnError(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "a"}, integrity.Field{Name: "b"})
	require.NoError(t, err)
	type ab struct {
		A string `json:"a"`
		B string `json:"b"`
	}
	_, err = integrity.For[ab](schema)
	require.NoError(t, err)
	type missing struct {
		A string `json:"a"`
	}
	_, err = integrity.For[missing](schema)
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, err = integrity.For[struct {
		ab
		C string
	}](schema)
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, err = integrity.For[struct{ *Embedded }](schema)
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, err = integrity.For[int](schema)
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, err = integrity.For[ab](nil)
	require.ErrorIs(t, err, integrity.ErrConfig)
}

// Embedded is embedded by a pointer that may be nil.
type Embedded struct {
	A string `json:"a"`
	B string `json:"b"`
}

func ExampleFor() {
	type contact struct {
		Email   string  `json:"email"`
		Country *string `json:"country"`
	}
	schema, _ := integrity.NewSchema("contact", integrity.Field{Name: "email", Type: integrity.Email, Required: true}, integrity.Field{Name: "country", Type: integrity.Country})
	contacts, err := integrity.For[contact](schema)
	fmt.Println(contacts.Validate(&contact{Email: "ann at shop"}).Err(), err)
	// Output:
	// integrity: record breaks its schema: /email email <nil>
}
