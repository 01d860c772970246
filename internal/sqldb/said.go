package sqldb

import (
	"regexp"
	"strings"
)

// words says what a code means. What is not listed is told by its code alone.
func words(code string) string {
	if said, ok := map[string]string{
		"42501": lacksRight, "mysql 1044": lacksRight, "mysql 1142": lacksRight, "mysql 1143": lacksRight,
		"mysql 1227": lacksRight, "mysql 1370": lacksRight, "sqlite 23": lacksRight,
		"25006": readOnly, "mysql 1290": readOnly, "mysql 1792": readOnly, "mysql 1836": readOnly, "sqlite 8": readOnly,
		"sqlite 264": readOnly, "sqlite 520": readOnly, "sqlite 776": readOnly, "sqlite 1032": readOnly, "sqlite 1288": readOnly, "sqlite 1544": readOnly,
		"28000": noLogin, "28P01": noLogin, "mysql 1045": noLogin, "mysql 1698": noLogin,
		"3D000": noDatabase, "mysql 1049": noDatabase, "mysql 1046": "the connection has chosen no database",
		"42P01": noTable, "mysql 1146": noTable, "3F000": "there is no such schema",
		"42703": noColumn, "mysql 1054": noColumn,
		"42P07": "a table of this name is there already", "mysql 1050": "a table of this name is there already",
		"23505": taken, "mysql 1062": taken, "mysql 1586": taken, "sqlite 1555": taken, "sqlite 2067": taken,
		"23502": missing, "mysql 1048": missing, "mysql 1364": missing, "sqlite 1299": missing,
		"23503": reference, "mysql 1451": reference, "mysql 1452": reference, "sqlite 787": reference,
		"23514": refused, "mysql 3819": refused, "mysql 4025": refused, "sqlite 275": refused,
		"22001": "a value is too long", "mysql 1406": "a value is too long",
		"sqlite 3091": "a value is of another type than its column", "22P02": "a value is of another type than its column", "mysql 1366": "a value is of another type than its column",
		"40001": "another transaction was in the way", "40P01": "another transaction was in the way", "55P03": "another transaction holds a lock",
		"mysql 1213": "another transaction was in the way", "mysql 1205": "another transaction holds a lock",
		"sqlite 5": "another connection is writing", "sqlite 6": "another connection is writing", "sqlite 261": "another connection is writing",
		"sqlite 517": "another connection is writing", "sqlite 773": "another connection is writing",
		"57014": "the statement was cancelled", "mysql 1317": "the statement was cancelled", "sqlite 9": "the statement was cancelled",
		"57P01": "an administrator ended the connection", "mysql 1927": "an administrator ended the connection",
		"25P03": "the server ended a transaction in which nothing was said for too long (idle_in_transaction_session_timeout)",
		"57P03": notNow, "mysql 1053": notNow, "53300": tooMany, "mysql 1040": tooMany,
		"53100": full, "mysql 1021": full, "mysql 1114": full, "sqlite 13": full,
		"sqlite 14": "the database file cannot be opened", "sqlite 26": "the file is no SQLite database", "sqlite 11": "the database file is damaged",
		"0A000": "the database does not offer this",
		"42601": notUnderstood, "mysql 1064": notUnderstood,
	}[code]; ok {
		return said
	}
	if strings.HasPrefix(code, "28") {
		return noLogin
	}
	return "the database refused"
}

// What several codes mean.
const (
	lacksRight    = "this role lacks a right"
	readOnly      = "the database is read-only"
	noLogin       = "the login was refused"
	noDatabase    = "there is no such database"
	notNow        = "the server is starting or stopping"
	tooMany       = "the server takes no more connections"
	noTable       = "there is no such table"
	noColumn      = "there is no such column"
	taken         = "a row with this key is there already"
	missing       = "a value is missing"
	reference     = "a foreign key refuses the change"
	refused       = "a CHECK refuses a value"
	full          = "there is no space left"
	notUnderstood = "the database does not understand the statement"
)

func denied(code string) bool { return words(code) == lacksRight }

// atTheDoor says that a fault is of the connection: whatever else were asked
// would be answered in the same way, and be one more failed login.
func atTheDoor(code string) bool {
	switch words(code) {
	case noLogin, noDatabase, lacksRight, notNow, tooMany:
		return true
	}
	return false
}

// name reads the names that the fault is about. PostgreSQL gives most of them
// apart from the text; the others are cut out of texts of known forms, where
// nothing but a name can stand.
func (f *DriverError) name(from error) {
	f.Table = nameOnly(field(from, "TableName", "Table"))
	f.Column = nameOnly(field(from, "ColumnName", "Column"))
	f.Constraint = nameOnly(field(from, "ConstraintName", "Constraint"))
	text := field(from, "Message")
	if f.Code == "42501" && field(from, "Routine") == "check_enable_rls" { // in every language of the server
		f.said = hidesRows
	}
	if text == "" && strings.HasPrefix(f.Code, "sqlite ") {
		text = from.Error()
	}
	for _, written := range forms()[f.Code] {
		form := written.compile()
		match := form.FindStringSubmatch(text)
		for i, group := range form.SubexpNames() {
			if match == nil || i == 0 || match[i] == "" {
				continue
			}
			switch group {
			case "table":
				f.Table = match[i]
			case "column":
				f.Column = match[i]
			case "constraint":
				f.Constraint = match[i]
			case "right":
				f.said = lacksRight + ": " + match[i]
			}
		}
	}
	// Texts of other languages: a table of the library is known by its name.
	if f.Table == "" && (denied(f.Code) || f.said == noTable) {
		f.Table = regexp.MustCompile(`\bcrmguard_[a-z_]+\b`).FindString(text)
	}
}

func nameOnly(s string) string {
	if s != "" && len(s) <= 128 && regexp.MustCompile(`^[\pL_][\pL\d_$]*$`).MatchString(s) {
		return s
	}
	return ""
}

// forms are the texts out of which names are cut. A duplicate's key stands at
// the very end, behind the value, whatever the value contains.
func forms() map[string][]form {
	sqlite := []form{`constraint failed: {table}\.{column}\b`}
	return map[string][]form{
		"42501":       {`^permission denied for (?:(?:table|relation|view|foreign table|materialized view) "?{table}"?|(?P<right>(?:schema|sequence|database|function) {name}))$`, `^query would be affected by row-level security policy for table "{table}"$`},
		"42P01":       {`^relation "(?:{name}\.)?{table}" does not exist$`},
		"42703":       {`^column "?(?:{name}\.)?{column}"?(?: of relation "{table}")? does not exist$`},
		"mysql 1142":  {"^(?P<right>[A-Z, ]{1,80}) command denied to user .* for table [`']?(?:{name}[`']?\\.[`']?)?{table}[`']?$"},
		"mysql 1143":  {`^(?P<right>[A-Z, ]{1,80}) command denied to user .* for column '{column}' in table '{table}'$`},
		"mysql 1146":  {`^Table '(?:{name}\.)?{table}' doesn't exist$`},
		"mysql 1054":  {`^Unknown column '(?:{name}\.)?{column}' in `},
		"mysql 1062":  {`for key '(?:{table}\.)?{constraint}'$`},
		"mysql 1048":  {`^Column '{column}' cannot be null$`},
		"mysql 1364":  {`^Field '{column}' doesn't have a default value$`},
		"mysql 1406":  {`^Data too long for column '{column}' at row \d+$`},
		"mysql 1366":  {"for column (?:`?{name}`?\\.)?(?:`?{table}`?\\.)?[`']{column}[`'] at row \\d+$"},
		"mysql 1451":  {"\\((?:`{name}`\\.)?`{table}`, CONSTRAINT `{constraint}` FOREIGN KEY"},
		"mysql 1452":  {"\\((?:`{name}`\\.)?`{table}`, CONSTRAINT `{constraint}` FOREIGN KEY"},
		"mysql 3819":  {`^Check constraint '{constraint}' is violated\.$`},
		"mysql 4025":  {"^CONSTRAINT `(?:{name}\\.)?{constraint}` failed for (?:`{name}`\\.)?`{table}`$"},
		"sqlite 1555": sqlite, "sqlite 2067": sqlite, "sqlite 1299": sqlite,
		"sqlite 275":  {`CHECK constraint failed: {constraint} \(275\)$`},
		"sqlite 3091": {`in \w+ column {table}\.{column}\b`},
		"sqlite 1":    {`no such (?:table: (?:{name}\.)?{table}|column: (?:{name}\.)?{column})(?: \(1\))?$`},
	}
}

// A form is a regular expression in which {table}, {column} and {constraint} stand for
// names that are cut out, and {name} for one that is not. One is compiled when an error
// of its code has come, not all of them for each error.
type form string

func (f form) compile() *regexp.Regexp {
	const name = `[\pL_][\pL\d_$]*`
	text := string(f)
	for _, group := range []string{"table", "column", "constraint"} {
		text = strings.ReplaceAll(text, "{"+group+"}", `(?P<`+group+`>`+name+`)`)
	}
	return regexp.MustCompile(strings.ReplaceAll(text, "{name}", name))
}
