package differ

import (
	"reflect"
	"strings"
	"unicode"
)

// fieldTag is what the tags of a field say about its column.
type fieldTag struct {
	name     string
	skip     bool
	embedded bool   // its fields are fields of the whole although it has a name
	prefix   string // before the names of its fields
}

// readTag takes the first tag that names the column.
func readTag(f reflect.StructField) (out fieldTag) {
	for _, key := range []string{"audit", "db"} {
		name, _, _ := strings.Cut(f.Tag.Get(key), ",")
		if name = strings.TrimSpace(name); name != "" {
			return fieldTag{name: name, skip: name == "-", prefix: name + "."}
		}
	}
	gorm, bun := gormTag(f.Tag.Get("gorm")), bunTag(f.Tag.Get("bun"))
	if gorm != (fieldTag{}) {
		return gorm
	}
	return bun
}

// gormTag reads "column:name;embedded;embeddedPrefix:home_": keys in any case.
func gormTag(tag string) (out fieldTag) {
	for part := range strings.SplitSeq(tag, ";") {
		key, setting, _ := strings.Cut(part, ":")
		setting = strings.TrimSpace(setting)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "-":
			out.skip = setting == "" || strings.EqualFold(setting, "all") // "-:migration" is a column
		case "column":
			out.name = setting
		case "embedded":
			out.embedded = true
		case "embeddedprefix":
			out.prefix = setting
		}
	}
	return out
}

// bunTag reads "name,pk" and "embed:home_".
func bunTag(tag string) (out fieldTag) {
	for i, part := range strings.Split(tag, ",") {
		prefix, embeds := strings.CutPrefix(part, "embed:")
		switch {
		case embeds:
			out.embedded, out.prefix = true, prefix
		case i == 0 && part == "-":
			out.skip = true
		case i == 0 && !strings.Contains(part, ":"):
			out.name = part
		}
	}
	return out
}

// snakeCase is the column of a field: CreatedAt is created_at, ID is id and
// HTTPServer http_server.
func snakeCase(name string) string {
	in := []rune(name)
	var out strings.Builder
	for i, c := range in {
		if i > 0 && unicode.IsUpper(c) && in[i-1] != '_' {
			endsWord := unicode.IsLower(in[i-1]) || unicode.IsDigit(in[i-1])
			startsWord := i+1 < len(in) && unicode.IsLower(in[i+1])
			if endsWord || startsWord {
				out.WriteByte('_')
			}
		}
		out.WriteRune(unicode.ToLower(c))
	}
	return out.String()
}
