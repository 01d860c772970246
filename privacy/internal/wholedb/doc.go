// Package wholedb looks at a database as somebody does who has stolen it: at
// every cell of every table, whoever made the table, and on SQLite at the bytes
// of the files. Tests prove with it that something is there, and that it is not
// there any more.
//
// [DB.Search] finds a [Needle] however it is spelt: in any case, in both Unicode
// forms, as UTF-16, base64, hexadecimal, escaped for JSON, HTML or a URL, as its
// SHA-256, and a phone number however its digits are grouped. It does not see
// what was compressed or encrypted, or the files of a server. A search that finds
// nothing proves nothing unless the same search has found it before.
//
// [DB.Backup] and [DB.Restore] put the whole back to an earlier state, the
// numbers that its sequences give out next among it, under handles that stay
// open.
//
// An [Expectation] is written down while a test fills the database: what has to be
// gone, and what has to stay, when one of its persons is erased.
//
// For tests only.
package wholedb
