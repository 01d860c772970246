package liveschema

import (
	"slices"
	"strings"
	"unicode"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// guess is a category with the words that say so.
type guess struct {
	category string
	words    []string
}

// guesses are categories by the words of a column's name, in English, German and
// Chinese; the first that fits counts.
func guesses() []guess {
	return []guess{
		{"account.secret", []string{"password", "passwd", "pwd", "passwort", "kennwort", "token", "secret", "salt", "otp", "密码"}},
		{"device.ip", []string{"ip", "ipaddress", "inet", "useragent"}},
		{"contact.email", mailWords()},
		{"contact.phone", []string{"phone", "telephone", "tel", "mobile", "cell", "cellphone", "fax", "telefon", "handy", "telefonnummer", "电话", "手机"}},
		{"contact.birthday", []string{"birthday", "birthdate", "birth", "dob", "born", "geburtsdatum", "geburtstag", "geboren", "生日", "出生"}},
		{"finance.account", []string{"iban", "bic", "swift", "creditcard", "cardnumber", "kontonummer", "konto", "银行", "卡号"}},
		{"identity.number", []string{"ssn", "passport", "taxid", "nationalid", "ausweis", "steuernummer", "svnr", "身份证", "护照"}},
		{"finance.income", []string{"income", "salary", "wage", "gehalt", "einkommen", "收入", "工资"}},
		{"contact.address", []string{"address", "addr", "street", "city", "town", "zip", "zipcode", "postcode", "postal", "adresse", "anschrift", "strasse", "straße", "plz", "ort", "wohnort", "地址", "街道", "城市", "邮编"}},
		{"location", []string{"latitude", "longitude", "lat", "lng", "lon", "geo", "位置"}},
		{"contact.gender", []string{"gender", "sex", "salutation", "geschlecht", "anrede", "性别", "称呼"}},
		{"account.login", []string{"login", "username", "nick", "nickname", "benutzername", "wechat", "linkedin", "twitter", "skype", "微信", "用户名"}},
		{"contact.photo", []string{"photo", "avatar", "picture", "portrait", "bild", "foto", "头像", "照片"}},
		{"contact.job", []string{"job", "jobtitle", "position", "occupation", "beruf", "职位", "职业"}},
		{"contact.name", []string{"name", "names", "firstname", "lastname", "surname", "fullname", "displayname", "vorname", "nachname", "familienname", "姓名", "名字", "姓"}},
		{"text", []string{"note", "notes", "comment", "comments", "remark", "remarks", "body", "bio", "description", "summary", "text", "message", "content", "reminder", "notiz", "notizen", "bemerkung", "beschreibung", "kommentar", "备注", "内容", "描述"}},
	}
}

// Words of tables and columns that say what they are.

func peopleWords() []string {
	return []string{
		"contact", "person", "customer", "client", "lead", "patient", "member", "subscriber", "applicant", "candidate", "individual", "guest", "student", "donor", "prospect",
		"kontakt", "kunde", "interessent", "mitglied", "客户", "联系人", "会员", "顾客",
	}
}

func staffWords() []string {
	return []string{"user", "employee", "staff", "agent", "admin", "operator", "benutzer", "mitarbeiter", "用户", "员工"}
}

func tenantWords() []string {
	return []string{"tenant", "tenantid", "org", "orgid", "organizationid", "organisationid", "workspace", "workspaceid", "mandant", "mandantid", "租户"}
}

func createdWords() []string {
	return []string{"created", "createdat", "createdon", "creationtime", "creationdate", "insertedat", "dateentered", "datecreated", "ctime", "erstellt", "erstelltam", "angelegt", "angelegtam", "创建时间"}
}

func pointingWords() []string {
	return []string{
		"by", "owner", "author", "assigned", "assignee", "mentioned", "mentions", "reports", "manager", "supervisor", "boss", "approver", "creator", "editor", "referrer", "referred", "parent", "sponsor", "besitzer", "vorgesetzter", "负责人",
	}
}

func mergedWords() []string {
	return []string{"mergedinto", "mergedintoid", "mergedto", "mergedtoid", "duplicateof", "duplicateofid", "survivor", "survivorid", "masterid"}
}

func keptWords() []string {
	return []string{"invoice", "bill", "receipt", "order", "payment", "contract", "rechnung", "beleg", "vertrag", "auftrag", "发票", "合同", "订单"}
}

func mailWords() []string {
	return []string{"email", "emails", "mail", "mails", "mailing", "emailaddress", "emailadresse", "newsletter", "邮箱", "电子邮件", "邮件"}
}

// words parts a name: first_name, firstName and "first name" are first and name.
func words(name string) (out []string) {
	start, runes := 0, []rune(name)
	flush := func(end int) {
		if end > start {
			out = append(out, strings.ToLower(string(runes[start:end])))
		}
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush(i)
			start = i + 1
		case i > start && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]):
			flush(i)
			start = i
		}
	}
	flush(len(runes))
	return out
}

// speaksOf reports whether a name has one of the words: as a word of its own, as
// the whole without what parts them, or, where a script parts none, in it.
func speaksOf(name string, list []string) bool {
	parts := words(name)
	whole := strings.Join(parts, "")
	return slices.ContainsFunc(list, func(word string) bool {
		return whole == word || slices.Contains(parts, word) || word[0] >= 0x80 && strings.Contains(whole, word)
	})
}

// isOne reports whether a name is one of the words as a whole.
func isOne(name string, list []string) bool {
	return slices.Contains(list, strings.Join(words(name), ""))
}

// singular is what the last word of a table's name calls one row.
func singular(table string) string {
	_, name, behind := strings.Cut(table, ".")
	if !behind {
		name = table
	}
	parts := words(name)
	if len(parts) == 0 {
		return ""
	}
	last := parts[len(parts)-1]
	switch {
	case last == "people", last == "personen":
		return "person"
	case last == "kunden", last == "kontakte", last == "interessenten", last == "mitglieder":
		return map[string]string{"kunden": "kunde", "kontakte": "kontakt", "interessenten": "interessent", "mitglieder": "mitglied"}[last]
	case strings.HasSuffix(last, "ies"):
		return strings.TrimSuffix(last, "ies") + "y"
	case strings.HasSuffix(last, "s") && !strings.HasSuffix(last, "ss"):
		return strings.TrimSuffix(last, "s")
	}
	return last
}

// tableIs reports whether the rows of a table are what one of the words says.
func tableIs(table string, list []string) bool {
	one := singular(table)
	return slices.ContainsFunc(list, func(word string) bool { return one == word || word[0] >= 0x80 && strings.Contains(one, word) })
}

// category guesses what a column holds, "" where its name says nothing.
func category(table string, column catalog.Column) string {
	if column.Type == "inet" || column.Type == "inet4" || column.Type == "inet6" {
		return "device.ip"
	}
	for _, g := range guesses() {
		if speaksOf(column.Name, g.words) {
			if g.category == "contact.address" && speaksOf(table, mailWords()) {
				return "contact.email" // the address of an e-mail
			}
			return g.category
		}
	}
	return ""
}

// holdsText reports whether a column may hold any text or bytes.
func holdsText(column catalog.Column) bool {
	switch column.Class {
	case catalog.Text, catalog.Bytes, catalog.JSON, catalog.Other, catalog.Compound, catalog.Large:
		return true
	case catalog.Any: // SQLite's types only say what is meant
		return column.Type == "" || slices.ContainsFunc([]string{"char", "text", "clob", "blob", "json"}, func(word string) bool { return strings.Contains(column.Type, word) })
	case catalog.Integer, catalog.Number, catalog.Bool, catalog.Date, catalog.Instant, catalog.UUID, catalog.Enum:
	}
	return false
}

// dated reports whether a column can hold a creation time.
func dated(column catalog.Column) bool {
	switch column.Class {
	case catalog.Instant, catalog.Text:
		return true
	case catalog.Any:
		return strings.Contains(column.Type, "time") || strings.Contains(column.Type, "int") || strings.Contains(column.Type, "text") || strings.Contains(column.Type, "char")
	default:
		return column.Type == "int8" || column.Type == "bigint" // microseconds
	}
}

// writable reports whether a map can name the table and all of its columns.
func writable(t *catalog.Table) bool {
	return datamap.IsTableName(t.Path()) && !strings.Contains(t.Name, ".") && !slices.ContainsFunc(t.Columns, func(c catalog.Column) bool { return !datamap.IsColumnName(c.Name) })
}
