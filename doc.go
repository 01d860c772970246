// Package crmguard is the front page of a library that takes the risk out of
// running a CRM, or any application that holds customer data. It holds no
// code: import the package that answers the risk at hand, or all six. They
// never import each other; the application ties them together, as
// examples/crm shows.
//
//   - [github.com/crmguard/crmguard/encryption]: a copied database or a lost
//     disk gives away the customers. Fields are sealed under a key of the
//     person they are about, and are searchable and rotatable. Settling.
//   - [github.com/crmguard/crmguard/accesscontrol]: someone sees what is not
//     theirs. One Cedar policy gives the decision, its reason, the SQL filter
//     and the visible fields. Settling.
//   - [github.com/crmguard/crmguard/audit]: nobody can say who changed what,
//     or the log itself was changed. Events commit with the business change
//     and end in a Merkle log that anyone can verify. Settling.
//   - [github.com/crmguard/crmguard/backup]: the data is gone, or the backup
//     does not restore. Snapshots in the restic format, several stores, read
//     back in full, restored in checked steps. Settling.
//   - [github.com/crmguard/crmguard/integrity]: the data is wrong, or was
//     changed behind the application's back. Validation, import, row seals,
//     anchored roots, reconciliation. Settling.
//   - [github.com/crmguard/crmguard/privacy]: a person asks for their data, or
//     to be forgotten. Data map, export, erasure with a read-back and a signed
//     certificate, a ledger that every restore replays. Settling.
//
// Nothing is released yet. Settling means: formats and Go API may change until
// the tag v0.1.0, each change recorded in DESIGN.md and formats.md, and no
// reader of earlier bytes is kept. Data that must outlive that tag does not
// belong in this library before it.
package crmguard
