-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));
CREATE TABLE IF NOT EXISTS crmguard_ledger_line (
	n bigint NOT NULL,
	line bytea NOT NULL,
	PRIMARY KEY (n));
CREATE TABLE IF NOT EXISTS crmguard_ledger_note (
	name text COLLATE "C" NOT NULL,
	sealed bytea NOT NULL,
	PRIMARY KEY (name));
INSERT INTO crmguard_schema (package, version, installed) VALUES ('ledger', 1, (extract(epoch FROM now()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
