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
// HubSpot and Salesforce, and those usual in Chinese and German files, with
// Password and CVV2 among those to drop. Every call returns a copy of its own
// to change. The field names are first_name, last_name, full_name, email,
// phone, mobile_phone, street, city, state, postal_code, country, language,
// company, job_title, title, middle_initial, gender, birthday, website,
// domain, username, national_id, card_number, card_type, card_expires, note,
// owner and created. A heading of "Name" is not among them: it is a whole name
// here and a family name there, which only the application can tell.
func KnownHeaders() Columns {
	return Columns{
		Known: map[string][]string{
			"first_name":     {"First Name", "GivenName", "Forename", "名", "Vorname"},
			"last_name":      {"Last Name", "Surname", "Family Name", "姓", "姓氏", "Nachname", "Familienname"},
			"full_name":      {"Full Name", "Contact Name", "Display Name", "姓名", "全名", "联系人", "联系人姓名", "客户姓名", "聯絡人", "Ansprechpartner"},
			"email":          {"Email", "E-mail", "EmailAddress", "Email Address", "邮箱", "邮箱地址", "电子邮件", "电子邮箱", "邮件", "邮件地址", "电邮", "電子郵件", "Mail", "E-Mail-Adresse", "Mailadresse"},
			"phone":          {"Phone", "Phone Number", "TelephoneNumber", "Telephone", "Business Phone", "电话", "电话号码", "联系电话", "联系方式", "座机", "固定电话", "電話", "Telefon", "Telefonnummer", "Tel", "Rufnummer"},
			"mobile_phone":   {"Mobile", "MobilePhone", "Mobile Phone Number", "手机", "手机号", "手机号码", "移动电话", "手機", "Handy", "Handynummer", "Mobil", "Mobilnummer", "Mobiltelefon"},
			"street":         {"Street", "StreetAddress", "Street Address", "MailingStreet", "Mailing Address Line 1", "Address", "地址", "联系地址", "通讯地址", "详细地址", "住址", "街道", "Straße", "Strasse", "Straße und Hausnummer", "Adresse", "Anschrift"},
			"city":           {"City", "MailingCity", "城市", "所在城市", "Ort", "Stadt", "Wohnort"},
			"state":          {"State", "State/Region", "MailingState", "Mailing State/Province", "省", "省份", "Bundesland"},
			"postal_code":    {"Postal Code", "ZipCode", "Zip", "MailingPostalCode", "Mailing Zip/Postal Code", "邮编", "邮政编码", "PLZ", "Postleitzahl"},
			"country":        {"Country", "Country/Region", "Country/Region Code", "CountryCode", "MailingCountry", "MailingCountryCode", "国家", "Land"},
			"language":       {"Language", "Preferred Language", "HubSpot Language", "语言", "Sprache"},
			"company":        {"Company", "Company Name", "Account Name", "AccountName", "Associated Company", "公司", "公司名称", "单位", "单位名称", "工作单位", "企业名称", "公司名稱", "Firma", "Firmenname", "Unternehmen"},
			"job_title":      {"Job Title", "Occupation", "职位", "职务", "岗位", "Beruf", "Position", "Funktion"},
			"title":          {"Title", "Salutation", "称谓", "称呼", "Anrede", "Titel"},
			"middle_initial": {"MiddleInitial", "Middle Name"},
			"gender":         {"Gender", "性别", "Geschlecht"},
			"birthday":       {"Birthday", "Birthdate", "Date of Birth", "生日", "出生日期", "Geburtstag", "Geburtsdatum"},
			"website":        {"Website", "Website URL", "网站", "网址", "Webseite", "Homepage"},
			"domain":         {"Domain", "Company Domain Name"},
			"username":       {"Username", "User Name", "用户名", "Benutzername"},
			"national_id":    {"NationalID", "身份证", "身份证号", "身份证号码"},
			"card_number":    {"CCNumber", "Card Number", "Credit Card Number"},
			"card_type":      {"CCType"},
			"card_expires":   {"CCExpires"},
			"note":           {"Note", "Notes", "Remark", "Remarks", "Comment", "Comments", "备注", "备注信息", "说明", "備註", "Bemerkung", "Bemerkungen", "Notiz", "Notizen", "Kommentar", "Anmerkung"},
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
