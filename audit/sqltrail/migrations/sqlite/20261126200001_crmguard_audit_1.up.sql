-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_audit_log (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_events (
	seq INTEGER PRIMARY KEY,
	id BLOB NOT NULL UNIQUE,
	log INTEGER NOT NULL,
	retry BLOB NOT NULL,
	body BLOB,
	idx INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_entries (
	idx INTEGER PRIMARY KEY,
	id BLOB NOT NULL,
	leaf BLOB NOT NULL,
	at INTEGER NOT NULL,
	filed INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_found (
	idx INTEGER PRIMARY KEY,
	at INTEGER NOT NULL,
	tenant_k INTEGER NOT NULL,
	actor_k INTEGER NOT NULL,
	object_k INTEGER,
	action_k INTEGER NOT NULL,
	outcome_k INTEGER) STRICT;
CREATE INDEX IF NOT EXISTS crmguard_audit_found_tenant ON crmguard_audit_found (tenant_k, at);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_actor ON crmguard_audit_found (actor_k, at);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_object ON crmguard_audit_found (object_k, at);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_action ON crmguard_audit_found (action_k, at);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_outcome ON crmguard_audit_found (outcome_k, at) WHERE outcome_k IS NOT NULL;
CREATE TABLE IF NOT EXISTS crmguard_audit_persons (
	idx INTEGER NOT NULL,
	k INTEGER NOT NULL,
	at INTEGER NOT NULL,
	PRIMARY KEY (idx, k)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS crmguard_audit_persons_person ON crmguard_audit_persons (k, at, idx);
CREATE TABLE IF NOT EXISTS crmguard_audit_openings (
	idx INTEGER NOT NULL,
	owner BLOB NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (idx, owner)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_audit_surrogates (
	n INTEGER PRIMARY KEY,
	tenant TEXT NOT NULL,
	surrogate BLOB NOT NULL,
	k INTEGER NOT NULL,
	person TEXT,
	head BLOB,
	state INTEGER NOT NULL,
	into_surrogate BLOB,
	tag BLOB NOT NULL,
	UNIQUE (tenant, surrogate),
	UNIQUE (tenant, person)) STRICT;
CREATE INDEX IF NOT EXISTS crmguard_audit_surrogates_k ON crmguard_audit_surrogates (k);
CREATE INDEX IF NOT EXISTS crmguard_audit_surrogates_into ON crmguard_audit_surrogates (tenant, into_surrogate) WHERE into_surrogate IS NOT NULL;
CREATE INDEX IF NOT EXISTS crmguard_audit_surrogates_open ON crmguard_audit_surrogates (state, tenant) WHERE state >= 2;
CREATE TABLE IF NOT EXISTS crmguard_audit_heads (
	size INTEGER PRIMARY KEY,
	root BLOB NOT NULL,
	at INTEGER NOT NULL,
	note BLOB NOT NULL,
	tag BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS crmguard_audit_aside (
	n INTEGER PRIMARY KEY,
	id BLOB NOT NULL,
	body BLOB NOT NULL,
	why TEXT NOT NULL,
	at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS crmguard_audit_aside_why ON crmguard_audit_aside (why);
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
	found INTEGER NOT NULL,
	mirrored INTEGER NOT NULL,
	people INTEGER NOT NULL,
	drained INTEGER NOT NULL,
	pruned INTEGER NOT NULL,
	swept INTEGER NOT NULL,
	drains INTEGER NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (id)) STRICT;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
