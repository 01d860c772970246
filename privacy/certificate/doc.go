// Package certificate makes and reads erasure certificates: signed statements
// of what happened to everything that was stored about one person, under its
// true name. It knows no database and no desk, so that an auditor, or the person
// whom it was handed to, takes it alone.
//
//	salt := certificate.NewSalt() // to be handed to the person with the certificate
//	person, err := certificate.Commit(salt, "main", "p1")
//	check(err)
//	made, err := certificate.Sign(ctx, key, certificate.Statement{
//		Intent: 7, Person: person, UnreadableLiveAt: done, FinalAt: done.Add(7 * 24 * time.Hour),
//		Records: []certificate.Records{
//			{Store: "crm", Table: "contacts", Class: certificate.Deleted, Count: 1},
//			{Store: "crm", Table: "invoices", Class: certificate.Kept, Count: 3, Until: until, Because: "de-hgb-257"},
//		},
//	})
//	check(err)
//	read, err := certificate.Verify(made.Envelope, keys...) // with every key that ever signed
//	check(err)
//	fmt.Println(read.Statement.Concerns(salt, "main", "p1"), read.Statement.Records[1].Because)
//
// # Promises
//
//   - What [Sign] gives out [Verify] takes: it is verified under the signer's own
//     public key, and read back, before it is returned.
//   - Only a key that the caller trusts counts. Key ids are hints and never looked
//     at; a signature that is not understood, or is another's, takes nothing from a
//     good one beside it, so that certificates of the past are verified with a list
//     of keys and countersignatures do no harm.
//   - Every line names store, table, class and count. What is pseudonymised or kept
//     is said to be so and counts as [Class.Erased] nowhere; what is kept names the
//     obligation, and the date until which it is kept where there is one.
//   - The person stands there as a commitment, and whoever lacks the salt cannot
//     try out ids.
//   - Bytes are made once: Digest is what ledger and audit trail record, and equal
//     statements have equal digests.
//
// # Does not promise
//
//   - That a statement is true: it is what the signer says.
//   - To keep personal data out of names: stores, tables, reasons and what is not
//     covered are the application's words, and stand in the clear.
//   - That the erasure came to its end. It is signed a moment before the ledger says
//     so: whoever has a copy from that moment, of an erasure that was voided then, has
//     a good signature. What was given out has its Digest in the ledger (Cert of the
//     entry Done) and in the audit trail; ask for one of them.
//   - Whose erasure it is, to who lacks the salt: neither tenant nor installation
//     stand there, and Intent counts in one ledger. Keep one key for one ledger. Nor
//     that it is the newest of the person, who may have come back.
//   - When it was signed, and whether the key was good then. A key that was lost to
//     somebody else is taken from the list, and its certificates with it.
//   - To end a call of the signer: [Sign] returns when its context ends and leaves
//     one goroutine behind until the signer answers.
//
// # First call
//
// [Commit], [Sign]; on the other side [ParseKeys] and [Verify], then
// [Statement.Concerns].
//
// # Concurrency
//
// All functions are safe for concurrent use.
//
// # Errors
//
//	sentinel      lasts      what the caller does
//	ErrStatement  permanent  mend the statement, which the text says what is wrong with
//	ErrSigner     as its cause  hand in an Ed25519 key; look at the key service
//	ErrNotSigned  permanent  do not trust the certificate, or add the key that was in use then
//	ErrMalformed  permanent  this is no erasure certificate
//	ErrKeys       permanent  hand in Ed25519 public keys
//
// # Format and compatibility
//
// An in-toto Statement v1 in a DSSE envelope, Ed25519: section 10 of the formats.
// openssl and Python's cryptography verify it; a sample is frozen in testdata.
// Bytes and Go API may change until v0.1.0.
// Stability: settling.
package certificate
