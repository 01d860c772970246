-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_ledger_line (
	n INTEGER NOT NULL,
	line BLOB NOT NULL,
	PRIMARY KEY (n)) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_ledger_note (
	name TEXT NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (name)) STRICT, WITHOUT ROWID;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('ledger', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
