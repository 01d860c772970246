// Package catalog reads what a database says of its own schema, in a few
// questions for all tables, in one shape for SQLite, PostgreSQL and MariaDB:
// tables, columns, indexes, foreign keys, CHECKs and triggers.
//
// Tables of the library itself are left out, and what the account may not see
// is not there.
package catalog
