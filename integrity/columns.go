package integrity

import (
	"strings"
	"unicode"
)

// Columns says which headings of a file mean which field.
type Columns struct {
	// Known maps the name of a field to the headings it goes by. Headings are
	// compared by their letters and digits alone, case apart, so that "E-mail
	// Address" and "email_address" are one. The name itself is a heading too.
	// When it is empty, each heading is taken as it stands, and none is
	// unknown.
	Known map[string][]string
	// Drop lists headings whose values must not enter at all, such as
	// passwords. They are counted and never leave the reader.
	Drop []string
}

// KnownHeaders returns the headings of contact exports of FakeNameGenerator,
// HubSpot and Salesforce, with Password and CVV2 among those to drop. Every
// call returns a copy of its own to change. The field names are first_name,
// last_name, email, phone, mobile_phone, street, city, state, postal_code,
// country, language, company, job_title, title, middle_initial, gender,
// birthday, website, domain, username, national_id, card_number, card_type,
// card_expires, owner and created.
func KnownHeaders() Columns {
	return Columns{
		Known: map[string][]string{
			"first_name":     {"First Name", "GivenName", "Forename", "名"},
			"last_name":      {"Last Name", "Surname", "Family Name", "姓"},
			"email":          {"Email", "E-mail", "EmailAddress", "Email Address", "邮箱", "电子邮件"},
			"phone":          {"Phone", "Phone Number", "TelephoneNumber", "Telephone", "Business Phone", "电话"},
			"mobile_phone":   {"Mobile", "MobilePhone", "Mobile Phone Number", "手机"},
			"street":         {"Street", "StreetAddress", "Street Address", "MailingStreet", "Mailing Address Line 1", "Address", "地址"},
			"city":           {"City", "MailingCity", "城市"},
			"state":          {"State", "State/Region", "MailingState", "Mailing State/Province", "省"},
			"postal_code":    {"Postal Code", "ZipCode", "Zip", "MailingPostalCode", "Mailing Zip/Postal Code", "邮编"},
			"country":        {"Country", "Country/Region", "Country/Region Code", "CountryCode", "MailingCountry", "MailingCountryCode", "国家"},
			"language":       {"Language", "Preferred Language", "HubSpot Language", "语言"},
			"company":        {"Company", "Company Name", "Account Name", "AccountName", "Associated Company", "公司"},
			"job_title":      {"Job Title", "Occupation", "职位"},
			"title":          {"Title", "Salutation"},
			"middle_initial": {"MiddleInitial", "Middle Name"},
			"gender":         {"Gender", "性别"},
			"birthday":       {"Birthday", "Birthdate", "Date of Birth", "生日"},
			"website":        {"Website", "Website URL"},
			"domain":         {"Domain", "Company Domain Name"},
			"username":       {"Username", "User Name"},
			"national_id":    {"NationalID"},
			"card_number":    {"CCNumber", "Card Number", "Credit Card Number"},
			"card_type":      {"CCType"},
			"card_expires":   {"CCExpires"},
			"owner":          {"Contact Owner", "Owner", "Owner Name", "OwnerId"},
			"created":        {"Create Date", "Created Date", "CreatedDate"},
		},
		Drop: []string{"Password", "CVV2", "CVV", "CVC"},
	}
}

// heading reduces a heading to its letters and digits.
func heading(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// names turns the table around: heading to field, and heading to the declared
// name of a dropped column.
func (c Columns) names() (known, drop map[string]string, err error) {
	known, drop = map[string]string{}, map[string]string{}
	add := func(m map[string]string, text, name string) error {
		key := heading(text)
		if key == "" {
			return configErr("columns: a heading of %q has neither letters nor digits", name)
		}
		if other, taken := m[key]; taken && other != name {
			return configErr("columns: one heading stands for %q and %q", other, name)
		}
		m[key] = name
		return nil
	}
	for name, headings := range c.Known {
		for _, text := range append([]string{name}, headings...) {
			if err := add(known, text, name); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, text := range c.Drop {
		key := heading(text)
		if _, taken := known[key]; taken || key == "" {
			return nil, nil, configErr("columns: dropped heading %q is a known one, or empty", text)
		}
		if _, taken := drop[key]; !taken {
			drop[key] = text
		}
	}
	return known, drop, nil
}
