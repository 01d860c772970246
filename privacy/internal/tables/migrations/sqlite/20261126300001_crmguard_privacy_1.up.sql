-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_privacy_plan (
	id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	state TEXT NOT NULL,
	person TEXT NOT NULL,
	intent INTEGER NOT NULL,
	body BLOB,
	approval BLOB,
	erased INTEGER,
	outcome BLOB,
	certificate BLOB,
	mac BLOB NOT NULL,
	changed INTEGER NOT NULL,
	PRIMARY KEY (id)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS crmguard_privacy_plan_state ON crmguard_privacy_plan (state);
CREATE INDEX IF NOT EXISTS crmguard_privacy_plan_person ON crmguard_privacy_plan (person);
CREATE TABLE IF NOT EXISTS crmguard_privacy_mark (
	id INTEGER NOT NULL,
	n INTEGER NOT NULL,
	hash TEXT NOT NULL,
	seen INTEGER NOT NULL,
	replayed INTEGER NOT NULL,
	trace TEXT NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (id)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_privacy_retired (
	tenant TEXT NOT NULL,
	owner TEXT NOT NULL,
	PRIMARY KEY (tenant, owner)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_privacy_opening (
	id INTEGER NOT NULL,
	body BLOB NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (id)) STRICT, WITHOUT ROWID;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
