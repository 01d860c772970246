-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_audit_events (
	seq INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE,
	tenant TEXT NOT NULL,
	kind TEXT NOT NULL,
	object_kind TEXT NOT NULL,
	object_id TEXT NOT NULL,
	recorded INTEGER NOT NULL,
	leaf BLOB NOT NULL,
	tag BLOB NOT NULL,
	retry BLOB,
	idx INTEGER UNIQUE,
	sequenced INTEGER) STRICT;
CREATE INDEX IF NOT EXISTS crmguard_audit_events_queue ON crmguard_audit_events (seq) WHERE idx IS NULL;
CREATE INDEX IF NOT EXISTS crmguard_audit_events_retry ON crmguard_audit_events (sequenced) WHERE retry IS NOT NULL;
CREATE INDEX IF NOT EXISTS crmguard_audit_events_object ON crmguard_audit_events (tenant, object_kind, object_id, seq);
CREATE TABLE IF NOT EXISTS crmguard_audit_persons (
	tenant TEXT NOT NULL,
	surrogate TEXT NOT NULL,
	event TEXT NOT NULL,
	PRIMARY KEY (tenant, surrogate, event)) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_surrogates (
	tenant TEXT NOT NULL,
	person TEXT NOT NULL,
	surrogate TEXT NOT NULL,
	PRIMARY KEY (tenant, person),
	UNIQUE (tenant, surrogate)) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_openings (
	event TEXT NOT NULL,
	owner TEXT NOT NULL,
	tenant TEXT NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (event, owner)) STRICT;
CREATE INDEX IF NOT EXISTS crmguard_audit_openings_owner ON crmguard_audit_openings (tenant, owner);
CREATE TABLE IF NOT EXISTS crmguard_audit_tiles (
	level INTEGER NOT NULL,
	n INTEGER NOT NULL,
	data BLOB NOT NULL,
	PRIMARY KEY (level, n)) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_state (
	id INTEGER NOT NULL,
	origin TEXT NOT NULL,
	size INTEGER NOT NULL,
	root BLOB NOT NULL,
	published INTEGER NOT NULL,
	beat INTEGER NOT NULL,
	beat_size INTEGER NOT NULL,
	drains INTEGER NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (id)) STRICT;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
