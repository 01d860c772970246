// Package auditlog is the form of the log that package audit keeps: its bytes,
// and how they are read and checked. It knows no database and holds no keys, so
// that an auditor can take it alone.
package auditlog
