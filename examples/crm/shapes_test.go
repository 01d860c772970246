package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// shape is a kind of file that people bring. The same seed gives the same
// file; nobody in it exists.
type shape struct {
	name     string
	rows     int      // that the file has
	accepted int      // of them; 0 means all
	notShown []string // what the tour cannot show with it, see notShown
	write    func(r *rand.Rand, rows int) []byte
}

// invented is one made-up person.
type invented struct {
	first, last, email, phone, street, zip, city, company, note string
}

var syllables = []string{"ba", "dor", "lin", "ves", "mi", "kel", "tra", "so", "nu", "fey", "gor", "wen", "pi", "zal", "hu", "rem"}

func word(r *rand.Rand, n int) string {
	var out strings.Builder
	for range n {
		out.WriteString(syllables[r.IntN(len(syllables))])
	}
	text := out.String()
	return strings.ToUpper(text[:1]) + text[1:]
}

func invent(r *rand.Rand, i int) invented {
	first, last := word(r, 2), word(r, 3)
	return invented{
		first: first, last: last, email: fmt.Sprintf("%s.%s%d@post.example", strings.ToLower(first), strings.ToLower(last), i),
		phone: fmt.Sprintf("+49 30 %07d", r.IntN(1e7)), street: fmt.Sprintf("%s street %d", word(r, 3), 1+r.IntN(400)),
		zip: fmt.Sprintf("%05d", r.IntN(1e5)), city: word(r, 3), company: word(r, 2) + " Ltd", note: "met at " + word(r, 4),
	}
}

var (
	hanSurnames = []rune("王李张刘陈杨赵黄周吴")
	hanGiven    = []rune("伟芳娜敏静丽强磊军洋勇艳杰涛明")
)

func han(r *rand.Rand, from []rune, n int) string {
	out := make([]rune, n)
	for i := range out {
		out[i] = from[r.IntN(len(from))]
	}
	return string(out)
}

// table writes headings and one row for each person.
func table(comma rune, headings []string, cells func(r *rand.Rand, p invented, i int) []string) func(*rand.Rand, int) []byte {
	return func(r *rand.Rand, rows int) []byte {
		var out bytes.Buffer
		w := csv.NewWriter(&out)
		w.Comma = comma
		_ = w.Write(headings)
		for i := range rows {
			_ = w.Write(cells(r, invent(r, i), i))
		}
		w.Flush()
		return out.Bytes()
	}
}

func list(headings string) []string { return strings.Split(headings, "|") }

// usual is a file with the headings and cells that most exports have.
func usual(comma rune, headings string) func(*rand.Rand, int) []byte {
	return table(comma, list(headings), func(_ *rand.Rand, p invented, _ int) []string {
		return []string{p.first, p.last, p.email, p.phone, p.company, p.street, p.zip, p.city, p.note}
	})
}

const (
	english = "First Name|Last Name|Email|Phone|Company|Street|Zip|City|Notes"
	german  = "Vorname|Nachname|E-Mail|Telefon|Firma|Straße|PLZ|Ort|Bemerkung"
)

// after changes the bytes of a file.
func after(write func(*rand.Rand, int) []byte, change func([]byte) []byte) func(*rand.Rand, int) []byte {
	return func(r *rand.Rand, rows int) []byte { return change(write(r, rows)) }
}

func withMark(file []byte) []byte { return append([]byte("\ufeff"), file...) }

func withCRLF(file []byte) []byte { return bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")) }

// withCR ends lines as the oldest Macs did, and some spreadsheets still do.
func withCR(file []byte) []byte { return bytes.ReplaceAll(file, []byte("\n"), []byte("\r")) }

func quoteAll(file []byte) []byte {
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		panic(err)
	}
	var out bytes.Buffer
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteString(`"` + strings.ReplaceAll(cell, `"`, `""`) + `"`)
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}

func inUTF16(order binary.AppendByteOrder) func([]byte) []byte {
	return func(file []byte) []byte {
		out := order.AppendUint16(nil, 0xfeff)
		for _, unit := range utf16.Encode([]rune(string(file))) {
			out = order.AppendUint16(out, unit)
		}
		return out
	}
}

// Codes of what cannot be shown; see notShown.
var (
	noEmail   = []string{"disaster.index", "find", "rotation.search"}
	noCountry = []string{"filter.country"}
)

func without(parts ...[]string) []string {
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all
}

// shapes are the files that the tour must go through.
func shapes() []shape {
	return slices.Concat(shapesOfColumns(), shapesOfFiles(), shapesOfLanguages(), shapesOfValues())
}

// shapesOfColumns have few columns, or many, or unknown ones.
func shapesOfColumns() []shape {
	return []shape{
		{"e-mails alone", 24, 0, noCountry, table(',', list("Email"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.email} })},
		{"first name and e-mail", 24, 0, noCountry, table(',', list("First Name|Email"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.first, p.email} })},
		{"names alone", 24, 0, without(noCountry, noEmail), table(',', list("First Name|Last Name"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.first, p.last} })},
		{"last names alone", 24, 0, without(noCountry, noEmail), table(',', list("Surname"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.last} })},
		{"one column of whole names", 24, 0, without(noCountry, noEmail), table(',', list("Name"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.first + " " + p.last} })},
		{"two rows", 2, 0, without(noCountry, twoPeople), usual(',', english)},
		{"two e-mails", 2, 0, without(noCountry, twoPeople), table(',', list("Email"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.email} })},
		{"two names", 2, 0, without(noCountry, noEmail, twoPeople), table(',', list("Name"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.first + " " + p.last} })},
		{"three rows", 3, 0, noCountry, usual(',', english)},
		{"four rows", 4, 0, noCountry, usual(',', english)},
		{"eleven rows", 11, 0, noCountry, usual(',', english)},
		{"a country each", 24, 0, nil, table(',', list("Email|First Name|Country"), func(r *rand.Rand, p invented, _ int) []string {
			return []string{p.email, p.first, []string{"DE", "US", "fr", "CN"}[r.IntN(4)]}
		})},
		{"sixty unknown columns", 12, 0, noCountry, func(r *rand.Rand, rows int) []byte {
			headings := []string{"Email"}
			for i := range 60 {
				headings = append(headings, fmt.Sprintf("Our own field %d", i))
			}
			return table(',', headings, func(r *rand.Rand, p invented, _ int) []string {
				cells := []string{p.email}
				for range 60 {
					cells = append(cells, word(r, 1+r.IntN(5)))
				}
				return cells
			})(r, rows)
		}},
		{"odd headings", 12, 0, noCountry, table(',', []string{"E-Mail Address", "a, b", "say \"x\"", "two\nlines", "", "Phone", "phone", "custom", "id", "'; DROP TABLE contacts; --"}, func(r *rand.Rand, p invented, _ int) []string {
			cells := []string{p.email}
			for range 9 {
				cells = append(cells, word(r, 4))
			}
			return cells
		})},
		{"a card, a birthday, a password", 12, 0, noCountry, table(',', list("Full Name|Email|Password|CCNumber|Birthday|Website|Username"), func(r *rand.Rand, p invented, i int) []string {
			return []string{p.first + " " + p.last, p.email, word(r, 4), "4111 1111 1111 1111", "31.12.1970", "https://post.example/" + p.first, fmt.Sprint(p.last, i)}
		})},
		{"no e-mail in the column of e-mails", 12, 0, without(noCountry, noEmail), table(',', list("Name|Email|Phone"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.first + " " + p.last, "", p.phone} })},
		{"no name in the columns of names", 12, 0, noCountry, table(',', list("First Name|Last Name|Email"), func(_ *rand.Rand, p invented, _ int) []string { return []string{"", " ", p.email} })},
		{"an e-mail here and there", 24, 0, noCountry, table(',', list("Name|Email|Phone"), func(_ *rand.Rand, p invented, i int) []string {
			if i%7 != 3 {
				p.email = ""
			}
			return []string{p.first + " " + p.last, p.email, p.phone}
		})},
		{"faulty e-mails", 12, 0, without(noCountry, noEmail), table(',', list("Name|Email"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.first + " " + p.last, "at home"} })},
	}
}

// twoPeople is what needs a third person.
var twoPeople = []string{"erasure.note"}

// shapesOfFiles are written by other programs.
func shapesOfFiles() []shape {
	return []shape{
		{"tabs", 12, 0, noCountry, usual('\t', english)},
		{"bars", 12, 0, noCountry, usual('|', english)},
		{"quoted headings and cells", 12, 0, noCountry, after(usual(',', english), quoteAll)},
		{"byte-order mark and CRLF", 12, 0, noCountry, after(usual(',', english), func(file []byte) []byte { return withMark(withCRLF(file)) })},
		{"UTF-16 little endian, tabs", 12, 0, noCountry, after(usual('\t', german), inUTF16(binary.LittleEndian))},
		{"UTF-16 big endian", 12, 0, noCountry, after(usual(',', english), inUTF16(binary.BigEndian))},
		{"sep= line", 12, 0, noCountry, after(usual(';', english), func(file []byte) []byte { return append([]byte("sep=;\r\n"), withCRLF(file)...) })},
		{"sep= line after a byte-order mark", 12, 0, noCountry, after(usual(',', english), func(file []byte) []byte { return withMark(append([]byte("sep=,\n"), file...)) })},
		{"sep= line with another separator", 12, 0, noCountry, after(usual('^', english), func(file []byte) []byte { return append([]byte("\"sep=^\"\n"), file...) })},
		{"lone carriage returns", 12, 0, noCountry, after(usual(';', german), withCR)},
		{"lone carriage returns, mark and sep= line", 12, 0, noCountry, after(usual('\t', english), func(file []byte) []byte { return withMark(withCR(append([]byte("sep=\t\n"), file...))) })},
		{"lone carriage returns, quoted headings and cells", 12, 0, noCountry, after(usual(',', english), func(file []byte) []byte { return withCR(quoteAll(file)) })},
		{"lone carriage returns, one column", 12, 0, noCountry, after(table(',', list("Email"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.email} }), withCR)},
		{"no line end at the end", 12, 0, noCountry, after(usual(',', english), bytes.TrimSpace)},
		{"empty lines and rows of commas", 12, 0, noCountry, after(usual(',', english), func(file []byte) []byte {
			return append(append([]byte("\n\n"), file...), []byte(strings.Repeat("\n,,,,,,,,\n", 4))...)
		})},
		{"commas in a file of semicolons", 12, 0, noCountry, table(';', list("E-Mail|Name, Vorname|Adresse"), func(_ *rand.Rand, p invented, _ int) []string {
			return []string{p.email, p.last + ", " + p.first, p.street + ", " + p.city}
		})},
		{"cells over several lines", 12, 0, noCountry, table(',', list("Email|Address|Notes"), func(r *rand.Rand, p invented, _ int) []string {
			return []string{p.email, p.street + "\n" + p.zip + " " + p.city + "\r\nfourth \"floor\"", strings.Repeat(word(r, 4)+",\n", 30)}
		})},
		{"rows all too short", 12, 0, noCountry, func(r *rand.Rand, rows int) []byte {
			file := []byte("Email,Name,Phone\n")
			for i := range rows {
				file = fmt.Appendf(file, "%s\n", invent(r, i).email)
			}
			return file
		}},
		{"short rows", 24, 0, noCountry, func(r *rand.Rand, rows int) []byte {
			lines := bytes.SplitAfter(usual(',', english)(r, rows), []byte("\n"))
			for i := 4; i < len(lines); i += 4 {
				lines[i] = fmt.Appendf(nil, "Short,Row,short%d@post.example\n", i)
			}
			return bytes.Join(lines, nil)
		}},
		{"large cells", 6, 0, noCountry, table(',', list("Email|Notes|Minutes"), func(r *rand.Rand, p invented, _ int) []string {
			return []string{p.email, strings.Repeat(word(r, 5)+" ", 6000), strings.Repeat(word(r, 3), 9000)}
		})},
		{"a log of a hundred and more", 70, 0, noCountry, usual(',', english)},
		{"three hundred rows", 300, 0, noCountry, table(',', list("Email|Phone"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.email, p.phone} })},
	}
}

// shapesOfLanguages have headings that are not English.
func shapesOfLanguages() []shape {
	chinese := func(headings string) func(*rand.Rand, int) []byte {
		return table(',', list(headings), func(r *rand.Rand, p invented, _ int) []string {
			return []string{
				han(r, hanSurnames, 1) + han(r, hanGiven, 2), p.email, fmt.Sprintf("13%09d", r.IntN(1e9)),
				"上海市" + han(r, hanGiven, 3) + "路" + fmt.Sprint(1+r.IntN(900)) + "号", han(r, hanGiven, 3) + "有限公司", "客户" + han(r, hanGiven, 6),
			}
		})
	}
	return []shape{
		{"Chinese", 24, 0, noCountry, chinese("姓名|邮箱|电话|地址|公司|备注")},
		{"Chinese, other words", 24, 0, noCountry, after(chinese("联系人|电子邮件|手机号码|联系地址|单位|说明"), withMark)},
		{"Chinese, more words", 12, 0, noCountry, chinese("客户姓名|电子邮箱|联系电话|通讯地址|公司名称|备注信息")},
		{"Chinese names alone", 24, 0, without(noCountry, noEmail, []string{"search.values", "seal.values"}), table(',', list("姓名"), func(r *rand.Rand, _ invented, _ int) []string {
			return []string{han(r, hanSurnames, 1) + han(r, hanGiven, 1)}
		})},
		{"Chinese, names apart", 12, 0, without(noCountry, noEmail), table(',', list("姓|名|手机"), func(r *rand.Rand, _ invented, _ int) []string {
			return []string{han(r, hanSurnames, 1), han(r, hanGiven, 2), fmt.Sprintf("13%09d", r.IntN(1e9))}
		})},
		{"German", 24, 0, noCountry, after(usual(';', german), func(file []byte) []byte { return withMark(withCRLF(file)) })},
		{"German, name and first name", 12, 0, noCountry, table(';', list("Name|Vorname|Mailadresse|Handy|Anschrift|Postleitzahl|Stadt|Land"), func(r *rand.Rand, p invented, _ int) []string {
			return []string{p.last + "ß", p.first, p.email, fmt.Sprintf("0171/%07d", r.IntN(1e7)), "Straße der " + p.street, p.zip, p.city, "Österreich"}
		})},
		{"German, for want of more", 12, 0, without(noCountry, noEmail), table(';', list("Ansprechpartner|Telefonnummer|Firmenname"), func(r *rand.Rand, p invented, _ int) []string {
			return []string{p.first + " Müller-" + p.last, p.phone, p.company}
		})},
	}
}

// shapesOfValues have values that are alike, or like what the machinery writes.
func shapesOfValues() []shape {
	today := time.Now().Format(time.DateOnly)
	return []shape{
		{"one city, company, name and phone for all", 24, 0, noCountry, table(',', list("First Name|Last Name|Email|Phone|Company|City|Street|Username"), func(_ *rand.Rand, p invented, _ int) []string {
			return []string{"Christopher", "Montgomery", p.email, "+49 30 5550100", "Montgomery Ltd", "Christopherville", "Montgomery street 1", "montgomery1"}
		})},
		{"one name for all, and nothing else", 12, 0, without(noCountry, noEmail, []string{"search.values"}), table(',', list("Name"), func(_ *rand.Rand, _ invented, _ int) []string { return []string{"Christopher Montgomery"} })},
		{"each e-mail twice", 24, 12, noCountry, table(',', list("Email|Name"), func(_ *rand.Rand, p invented, i int) []string {
			return []string{fmt.Sprintf("person%d@post.example", i/2), p.first + " " + p.last}
		})},
		{"e-mails beyond ASCII", 12, 0, noCountry, table(',', list("Email|Name"), func(_ *rand.Rand, p invented, i int) []string {
			return []string{fmt.Sprintf([]string{"straße%d@post.example", "Zoë.%d@bücher.example", "用户%d@post.example", "MÜLLER%d@post.example"}[i%4], i), p.first}
		})},
		{"e-mails that differ in capitals alone", 12, 0, noCountry, table(',', list("Email|Name"), func(_ *rand.Rand, p invented, i int) []string {
			return []string{fmt.Sprintf([]string{"Ä%d@post.example", "ä%d@post.example"}[i%2], i/2), p.first}
		})},
		{"one number in two columns", 12, 0, without(noCountry, noEmail), table(',', list("Name|Phone|Mobile"), func(_ *rand.Rand, p invented, _ int) []string { return []string{p.last, p.phone, p.phone} })},
		{"names in two normal forms", 3, 0, noCountry, table(',', list("Last Name|First Name|Email"), func(_ *rand.Rand, p invented, i int) []string {
			return []string{[]string{"Mu\u0308ller-Lu\u0308denscheidt", "M\u00fcller-L\u00fcdenscheidt", "Strau\u00df"}[i], []string{"Ju\u0308rgen", "J\u00fcrgen", "Rene\u0301"}[i], p.email}
		})},
		{"one e-mail for all", 12, 0, noCountry, table(',', list("Email|Name"), func(_ *rand.Rand, p invented, _ int) []string {
			return []string{"office@post.example", p.first + " " + p.last}
		})},
		{"numbered people", 60, 0, noCountry, table(',', list("Email|Phone|Street Address|Username|Customer"), func(_ *rand.Rand, _ invented, i int) []string {
			return []string{fmt.Sprintf("contact%05d@post.example", i), fmt.Sprintf("+49 30 10000%04d", i), fmt.Sprintf("Long Street %05d", i), fmt.Sprintf("user%05d", i), fmt.Sprintf("C-2024-%05d", i)}
		})},
		{"numbers at the end", 60, 0, without(noCountry, noEmail), table(',', list("Name|Customer|Contract"), func(_ *rand.Rand, _ invented, i int) []string {
			return []string{fmt.Sprintf("Person %05d", i), fmt.Sprintf("K%09d", i), fmt.Sprintf("V-%07d", i)}
		})},
		{"words of the machinery", 12, 0, noCountry, table(',', list("Email|Type|State|Job Title|Source|Group"), func(_ *rand.Rand, p invented, i int) []string {
			words := []string{"contact.update", "contact.create", "crmguard_audit_events", "crmguard_audit_openings", "created INTEGER NOT NULL", "u-sales-1", "sqlite_autoindex_contacts_1"}
			return []string{p.email, "contacts", words[i%len(words)], "Retired person", words[(i+1)%len(words)], "outsider crmguard_audit_events"}
		})},
		{"a word of the machinery in one row", 3, 0, without(noCountry, noEmail, []string{"search.values"}), table(',', list("Name|Group"), func(_ *rand.Rand, _ invented, i int) []string {
			return []string{"Christopher Montgomery", []string{"", "contact.update", ""}[i]}
		})},
		{"a date of today in one row", 3, 0, without(noCountry, noEmail, []string{"search.values"}), table(',', list("Name|Last Activity"), func(_ *rand.Rand, _ invented, i int) []string {
			return []string{"Christopher Montgomery", []string{"", "", today}[i]}
		})},
		{"dates of today", 12, 0, noCountry, table(',', list("Email|Create Date|Last Activity|Birthday"), func(_ *rand.Rand, p invented, i int) []string {
			return []string{p.email, today, strings.ReplaceAll(today, "-", ""), fmt.Sprintf("19%02d-01-02", 50+i)}
		})},
		{"what is sealed here is clear there", 12, 0, noCountry, table(',', list("Email|Company|Street|Phone|Account"), func(_ *rand.Rand, p invented, _ int) []string {
			return []string{p.email, p.company + ", " + p.street + ", " + p.email, p.street, p.phone, p.company}
		})},
		{"the same in capitals", 12, 0, without(noCountry, noEmail, []string{"search.values"}), table(',', list("Name|Street|Remark"), func(_ *rand.Rand, _ invented, i int) []string {
			spell := []func(string) string{strings.ToUpper, strings.ToLower, strings.Clone}[i%3]
			return []string{spell("Zoë Müller-Lüdenscheidt"), spell("Große Straße 12"), spell("Zoe\u0308 aus Köln")}
		})},
		{"short telephone numbers", 24, 0, without(noCountry, noEmail), table(',', list("Name|Phone"), func(_ *rand.Rand, p invented, i int) []string {
			return []string{p.first + " " + p.last, fmt.Sprintf("%08d", 20000000+i)}
		})},
		{"quotes, tags, percent and backslash", 12, 0, noCountry, table(',', list("Email|Company|Street|Remark"), func(r *rand.Rand, p invented, i int) []string {
			return []string{p.email, `A "B" & <C> ` + word(r, 2), `C:\` + word(r, 3) + `\%41%` + fmt.Sprint(i), "=cmd|'/c calc'!" + word(r, 2) + "\u2028x\U0001F600"}
		})},
		{"one letter over and over", 12, 0, without(noCountry, noEmail), table(',', list("Name|Street|Remark"), func(_ *rand.Rand, _ invented, i int) []string {
			return []string{strings.Repeat("a", 8+i), strings.Repeat("3", 9+i), strings.Repeat("Xy", 5+i)}
		})},
		{"each value is part of the next", 12, 0, without(noCountry, noEmail), table(',', list("Name|Street"), func(_ *rand.Rand, _ invented, i int) []string {
			return []string{strings.Repeat("Anna Maria ", i+1) + "Z", "Street of " + strings.Repeat("Peace ", i+1)}
		})},
		{"invisible characters", 12, 0, noCountry, table(',', list("Email|Name|Phone"), func(_ *rand.Rand, p invented, _ int) []string {
			return []string{"\u00a0" + p.email + " ", "\u200b" + p.first + "\u00a0" + p.last, "\u202a" + p.phone + "\u202c"}
		})},
	}
}
