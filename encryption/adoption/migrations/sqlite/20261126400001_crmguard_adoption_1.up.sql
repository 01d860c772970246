-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_adoption (
	tenant TEXT NOT NULL,
	tab TEXT NOT NULL,
	stage TEXT NOT NULL,
	settled INTEGER NOT NULL,
	revision INTEGER NOT NULL,
	digest TEXT NOT NULL,
	lease INTEGER NOT NULL,
	gone INTEGER NOT NULL,
	clean INTEGER NOT NULL,
	changed INTEGER NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (tenant, tab)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_adoption_job (
	tenant TEXT NOT NULL,
	tab TEXT NOT NULL,
	job TEXT NOT NULL,
	revision INTEGER NOT NULL,
	place TEXT NOT NULL,
	counts TEXT NOT NULL,
	began INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	PRIMARY KEY (tenant, tab, job)) STRICT, WITHOUT ROWID;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('adoption', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
