// Package jobs has what goes into the jobs over the tables of an application, and
// what comes out of them: options, reports, and the rows that a job left as they
// are. The jobs themselves are methods of encryption.SealedTable and
// encryption.Vault (Reseal, Rebuild, Redact, Census, Undeclared, FindRows, …), which
// say what is promised.
//
// It needs no keys and no database: who shows, keeps or judges reports imports
// nothing else.
package jobs
