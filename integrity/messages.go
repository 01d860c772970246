package integrity

import (
	"cmp"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

// languages are those that messages exist in; the first is the default.
var (
	languages = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese})
	labels    = [...]string{"en", "zh-Hans"}
)

// messages are sentences by code, in the order of languages. {label} is the
// field, other names in braces are parameters.
var messages = map[Code][2]string{
	CodeRequired:        {"{label} is missing.", "缺少{label}。"},
	CodeRequiredAny:     {"At least one of these is needed: {fields}.", "以下各项至少填写一项：{fields}。"},
	CodeUnknownField:    {"There are {count} fields that this form does not have.", "有 {count} 个字段不属于此表单。"},
	CodeType:            {"{label} is not of the kind {type}.", "{label}的类型应为 {type}。"},
	CodeMinLength:       {"{label} is shorter than {min} characters.", "{label}少于 {min} 个字符。"},
	CodeMaxLength:       {"{label} is longer than {max} characters.", "{label}超过 {max} 个字符。"},
	CodeOneOf:           {"{label} must be one of: {choices}.", "{label}必须是以下之一：{choices}。"},
	CodePattern:         {"{label} does not have the expected form.", "{label}的格式不符合要求。"},
	CodeEmail:           {"{label} is not an e-mail address.", "{label}不是有效的电子邮件地址。"},
	CodePhone:           {"{label} is not a phone number.", "{label}不是有效的电话号码。"},
	CodeURL:             {"{label} is not a web address (http or https).", "{label}不是有效的网址（http 或 https）。"},
	CodeInteger:         {"{label} is not a whole number.", "{label}不是整数。"},
	CodeDecimal:         {"{label} is not a number with at most {scale} digits after the point.", "{label}不是小数位不超过 {scale} 位的数字。"},
	CodeBoolean:         {"{label} is neither yes nor no.", "{label}应为“是”或“否”。"},
	CodeDate:            {"{label} is not a date.", "{label}不是有效的日期。"},
	CodeTime:            {"{label} is not a date and time.", "{label}不是有效的日期时间。"},
	CodeCountry:         {"{label} is not a two-letter country code.", "{label}不是两个字母的国家或地区代码。"},
	CodeLanguage:        {"{label} is not a language code.", "{label}不是有效的语言代码。"},
	CodeCard:            {"{label} is not a card number.", "{label}不是有效的卡号。"},
	CodeUTF8:            {"{label} holds bytes that are not text (UTF-8).", "{label}包含不是 UTF-8 文本的字节。"},
	CodeNUL:             {"{label} holds a NUL character.", "{label}包含 NUL 字符。"},
	CodeControl:         {"{label} holds a line break, a control or a direction character that may not stand there.", "{label}包含不允许的换行符、控制字符或文字方向字符。"},
	CodeNoSchema:        {"There are no rules to judge this by.", "没有可用于检验的规则。"},
	CodeTooFewColumns:   {"The line has {have} cells, the header {want}.", "该行有 {have} 列，表头有 {want} 列。"},
	CodeTooManyColumns:  {"The line has {have} cells, the header {want}.", "该行有 {have} 列，表头有 {want} 列。"},
	CodeQuote:           {"A quote mark stands where none may stand.", "引号出现在不允许的位置。"},
	CodeQuoteOpen:       {"A quote is never closed.", "引号没有闭合。"},
	CodeLineEnd:         {"The line holds a line end of another kind than the file's.", "该行包含与文件不同的换行符。"},
	CodeFieldTooLarge:   {"{label} is larger than the limit.", "{label}超过大小限制。"},
	CodeRecordTooLarge:  {"The record is larger than the limit.", "该记录超过大小限制。"},
	CodeDuplicate:       {"{label} stands in line {line} already.", "{label}已在第 {line} 行出现。"},
	CodeHeaderDuplicate: {"Two columns have the same heading; the later one was renamed.", "两列的标题相同，后一列已改名。"},
	CodeHeaderUnknown:   {"No column heading of the file is known.", "文件中没有可识别的列标题。"},
	CodeHeaderInvalid:   {"The header line cannot be read.", "无法读取表头行。"},
	CodeEmptyFile:       {"The file is empty.", "文件为空。"},
	CodeEncoding:        {"The file is UTF-16; save it as UTF-8.", "文件编码为 UTF-16，请另存为 UTF-8。"},
	CodeRead:            {"The file could not be read to its end.", "文件未能读取完毕。"},
	"":                  {"{label} is not accepted ({code}).", "{label}不被接受（{code}）。"},
}

// commaHints follow the sentence about a header in one piece, by language.
var commaHints = [2]string{
	" The headings seem to be separated by {comma}; read the file with that as its Comma.",
	"表头似乎以 {comma} 分隔，请将其设为分隔符（Comma）后重新读取。",
}

// Explain returns a sentence for people about a violation, in the language
// that fits best of English and simplified Chinese, with the label of the
// field. It holds no value of the record.
func (s *Schema) Explain(lang string, v Violation) string {
	name := strings.NewReplacer("~1", "/", "~0", "~").Replace(strings.TrimPrefix(v.Path, "/"))
	return s.sentence(lang, name, v.Code, v.Params)
}

// ExplainFault returns the same for a fault of an import.
func (s *Schema) ExplainFault(lang string, f Fault) string {
	return s.sentence(lang, f.Place(), f.Code, f.Params)
}

// Explain returns a sentence for people about a file that cannot be read.
func (e *SourceError) Explain(lang string) string {
	at := pick(lang)
	sentence := fill(template(at, e.Code), nil)
	if e.Comma != 0 {
		sentence += fill(commaHints[at], []Param{{"comma", strconv.QuoteRune(rune(e.Comma))}})
	}
	return sentence
}

// wholes name a record that has no field to blame, by language.
var wholes = [2]string{"The record", "记录"}

func (s *Schema) sentence(lang, name string, code Code, params []Param) string {
	at := pick(lang)
	values := append([]Param{{"label", cmp.Or(s.label(labels[at], name), wholes[at])}, {"code", string(code)}}, params...)
	for i, p := range values {
		if p.Name == "fields" {
			values[i].Value = s.labelList(labels[at], p.Value)
		}
	}
	return fill(template(at, code), values)
}

func template(at int, code Code) string {
	sentence, known := messages[code]
	if !known {
		sentence = messages[""]
	}
	return sentence[at]
}

func fill(sentence string, params []Param) string {
	pairs := make([]string, 0, 2*len(params))
	for _, p := range params {
		pairs = append(pairs, "{"+p.Name+"}", p.Value)
	}
	return strings.NewReplacer(pairs...).Replace(sentence)
}

func pick(lang string) int {
	_, at := language.MatchStrings(languages, lang)
	return at
}

func (s *Schema) label(lang, name string) string {
	if i, known := s.at(name); known {
		base, _, _ := strings.Cut(lang, "-")
		if label := cmp.Or(s.fields[i].Label[lang], s.fields[i].Label[base]); label != "" {
			return label
		}
	}
	return name
}

func (s *Schema) labelList(lang, names string) string {
	list := strings.Split(names, ", ")
	for i := range list {
		list[i] = s.label(lang, list[i])
	}
	return strings.Join(list, ", ")
}
