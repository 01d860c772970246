// Package bundle writes what is stored about one person into one file that
// people and programs read: the answer to a request for access or portability. It
// knows no database and no desk; it takes records as stores hand them out
// (package datastore) and writes a ZIP, which the caller encrypts.
//
//	var out bytes.Buffer // in earnest a writer of package age over a file
//	made, err := bundle.Write(ctx, &out, bundle.Config{
//		Tenant: "main", Made: now, Map: dataMap,
//		Controller: bundle.Controller{Name: "Example Ltd", Contact: "privacy@crm.example", Authority: "EDPB"},
//	}, records)
//	check(err)
//	read, err := bundle.Verify(bytes.NewReader(out.Bytes()), int64(out.Len()))
//	check(err)
//	fmt.Println(read.Tables[0].Rows, read.Omissions[0].Reason, len(made.Files))
//
// A bundle holds, for each table with rows of the person:
//
//	data/<table>.ndjson   one JSON object a row: everything, exactly
//	data/<table>.csv      the same for spreadsheets
//	schema/<table>.json   JSON Schema of the rows
//
// and besides files/<table>/… (attachments), index.html (the same for reading, in
// English and Chinese) and manifest.json ([Manifest]): rows and SHA-256 of each
// file, what was left out and why, and what Article 15(1) GDPR asks for, as far
// as the data map and the [Controller] say it.
//
// # Values
//
// In NDJSON a NULL is null, text is text, bytes that are no text are
// {"base64url": "…"}, times are RFC 3339 in UTC, and numbers are exact: those
// that JSON readers would change are texts. A column of which the map names
// members (Column.Path), and a json.RawMessage, are the JSON that they hold; an
// integer in a column that the map calls a date is that date. What has no form in JSON (NaN, broken documents) is shown as text. Attachments of a
// row stand in its member _files, what was left out of it in _withheld.
//
// CSV is UTF-8 with a byte order mark (without it Excel reads Chinese names as
// something else; Python calls it utf-8-sig), comma, line feed, one header line.
// Texts stand in quotation marks, so that an empty one differs from NULL. A text
// that a spreadsheet could take for a formula (it begins with = + - @, their wide,
// small or raised forms, a tab or a line end, or with blanks and invisible
// characters in front of these) has a quote mark in front; a sign with digits,
// blanks, brackets and points behind it, as in +49 (0)30 901820, has none.
//
// # Promises
//
//   - A person's rows are never all in memory, however many they are: about 150
//     bytes a row, one row at a time, and the names of columns and attachments.
//     100,000 rows take less than 64 MB.
//   - Rows wait in a temporary file that is sealed under a key which only this
//     call has, readable by its owner alone and without a name on unix; it is gone
//     when Write returns, also with an error, and what a disk keeps of it nobody
//     opens.
//   - Nothing is written before the last record was read and opened, so that a
//     store that fails leaves no bundle that lacks something.
//   - What is left out is said: in the row, in the manifest and on the page; also
//     a value whose key an erasure has destroyed (datastore.ErrShredded).
//   - Nothing in a value runs: no markup, no formula, no attachment with the
//     extension of a page or a program (their names stand in the row, the file is
//     .bin), no path that leads out of the folder. The page loads nothing.
//   - Equal records make equal bytes.
//
// # Does not promise
//
//   - To know what is somebody else's: a store withholds it ([datastore.Field]).
//     Of a JSON column the whole document is shown as the store hands it out.
//   - That CSV and page are exact: they show control characters by their pictures,
//     and the page the first 1,000 rows of a table and 4,000 bytes of a value. NDJSON
//     is.
//   - To keep a formula from a spreadsheet that is told to split at something else
//     than commas, or a telephone number with hyphens from getting a quote mark.
//   - To encrypt or to sign, or to take less memory than several times what one
//     record with its attachments takes.
//
// # First call
//
// [Write]; whoever gets a bundle calls [Verify] after decryption.
//
// # Concurrency
//
// All functions are safe for concurrent use. Write reads the records, and calls
// Config.Open, in the goroutine of its caller.
//
// # Errors
//
//	sentinel      lasts      what the caller does
//	ErrConfig     permanent  name tenant and time; mend text in the map that is not UTF-8
//	ErrRecord     permanent  (a *RecordError) see table and column: the store hands out what cannot be shown, or Open failed; Unwrap has the cause
//	ErrSpool      temporary  make room in Config.Dir, or name another folder
//	ErrManifest   permanent  do not trust the file
//
// Errors of the records, of the writer and of the context come back as they are,
// or wrapped.
//
// # Format and compatibility
//
// Section 14 of the formats; a sample is frozen in testdata. unzip and Python
// read it. Bytes and Go API may change until v0.1.0.
// Stability: settling.
package bundle
