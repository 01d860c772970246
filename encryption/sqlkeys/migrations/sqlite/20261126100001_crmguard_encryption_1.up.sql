-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_store (
	one INTEGER NOT NULL CHECK (one = 1),
	store TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	sequence INTEGER NOT NULL,
	mark TEXT NOT NULL,
	barrier INTEGER NOT NULL,
	taken INTEGER NOT NULL,
	returned INTEGER NOT NULL,
	kek TEXT NOT NULL,
	retiring TEXT NOT NULL,
	lease INTEGER NOT NULL,
	lease_wait INTEGER NOT NULL,
	lease_since INTEGER NOT NULL,
	longest INTEGER NOT NULL,
	PRIMARY KEY (one)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_keyset (
	tenant TEXT NOT NULL,
	purpose TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	kek TEXT NOT NULL,
	version INTEGER NOT NULL,
	former BLOB NOT NULL,
	wrapped BLOB NOT NULL,
	PRIMARY KEY (tenant, purpose)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_generation (
	tenant TEXT NOT NULL,
	generation INTEGER NOT NULL,
	state TEXT NOT NULL,
	created INTEGER NOT NULL,
	PRIMARY KEY (tenant, generation)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_owner (
	tenant TEXT NOT NULL,
	owner TEXT NOT NULL,
	state TEXT NOT NULL,
	sequence INTEGER NOT NULL,
	PRIMARY KEY (tenant, owner)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_key (
	tenant TEXT NOT NULL,
	owner TEXT NOT NULL,
	generation INTEGER NOT NULL,
	wrapped BLOB NOT NULL,
	seals INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, owner, generation)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_alias (
	tenant TEXT NOT NULL,
	alias TEXT NOT NULL,
	owner TEXT NOT NULL,
	PRIMARY KEY (tenant, alias)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_index (
	tenant TEXT NOT NULL,
	tab TEXT NOT NULL,
	idx TEXT NOT NULL,
	version INTEGER NOT NULL,
	root INTEGER NOT NULL,
	normaliser TEXT NOT NULL,
	bits INTEGER NOT NULL,
	state TEXT NOT NULL,
	PRIMARY KEY (tenant, tab, idx, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_encryption_mark (
	sequence INTEGER NOT NULL,
	mark TEXT NOT NULL,
	created INTEGER NOT NULL,
	position INTEGER NOT NULL,
	narrows TEXT NOT NULL,
	PRIMARY KEY (sequence)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS crmguard_encryption_alias_owner ON crmguard_encryption_alias (tenant, owner);
INSERT INTO crmguard_encryption_store (one, store, epoch, sequence, mark, barrier, taken, returned, kek, retiring, lease, lease_wait, lease_since, longest) VALUES (1, '', 0, 0, '', 0, 0, 0, '', '', 0, 0, 0, 0) ON CONFLICT DO NOTHING;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
