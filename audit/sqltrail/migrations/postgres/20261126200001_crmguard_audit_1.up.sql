-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));
CREATE TABLE IF NOT EXISTS crmguard_audit_log (
	id smallint PRIMARY KEY,
	name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS crmguard_audit_events (
	seq bigint GENERATED ALWAYS AS IDENTITY,
	id bytea PRIMARY KEY,
	log smallint NOT NULL,
	retry bytea NOT NULL,
	body bytea,
	tx text COLLATE "C" DEFAULT concat(pg_current_xact_id(), '/', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint),
	idx bigint) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
ALTER TABLE crmguard_audit_events ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS crmguard_audit_events_queue ON crmguard_audit_events (seq) WHERE idx IS NULL;
CREATE TABLE IF NOT EXISTS crmguard_audit_entries (
	idx bigint PRIMARY KEY,
	id bytea NOT NULL,
	leaf bytea NOT NULL,
	at bigint NOT NULL,
	filed bigint NOT NULL);
CREATE TABLE IF NOT EXISTS crmguard_audit_found (
	idx bigint PRIMARY KEY,
	at bigint NOT NULL,
	tenant_k bigint NOT NULL,
	actor_k bigint NOT NULL,
	object_k bigint,
	action_k bigint NOT NULL,
	outcome_k bigint);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_tenant ON crmguard_audit_found (tenant_k, at, idx);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_actor ON crmguard_audit_found (actor_k, at, idx);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_object ON crmguard_audit_found (object_k, at, idx);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_action ON crmguard_audit_found (action_k, at, idx);
CREATE INDEX IF NOT EXISTS crmguard_audit_found_outcome ON crmguard_audit_found (outcome_k, at, idx) WHERE outcome_k IS NOT NULL;
CREATE TABLE IF NOT EXISTS crmguard_audit_persons (
	idx bigint NOT NULL,
	k bigint NOT NULL,
	at bigint NOT NULL,
	PRIMARY KEY (idx, k));
CREATE INDEX IF NOT EXISTS crmguard_audit_persons_person ON crmguard_audit_persons (k, at, idx);
CREATE TABLE IF NOT EXISTS crmguard_audit_openings (
	idx bigint NOT NULL,
	owner bytea NOT NULL,
	sealed bytea NOT NULL,
	PRIMARY KEY (idx, owner));
CREATE INDEX IF NOT EXISTS crmguard_audit_openings_owner ON crmguard_audit_openings (owner, idx);
CREATE TABLE IF NOT EXISTS crmguard_audit_surrogates (
	n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	tenant text COLLATE "C" NOT NULL,
	surrogate bytea NOT NULL,
	k bigint NOT NULL,
	person text COLLATE "C",
	head bytea,
	state smallint NOT NULL,
	into_surrogate bytea,
	tag bytea NOT NULL,
	UNIQUE (tenant, surrogate),
	UNIQUE (tenant, person));
CREATE INDEX IF NOT EXISTS crmguard_audit_surrogates_k ON crmguard_audit_surrogates (k);
CREATE INDEX IF NOT EXISTS crmguard_audit_surrogates_into ON crmguard_audit_surrogates (tenant, into_surrogate) WHERE into_surrogate IS NOT NULL;
CREATE INDEX IF NOT EXISTS crmguard_audit_surrogates_open ON crmguard_audit_surrogates (state, tenant) WHERE state >= 2;
CREATE TABLE IF NOT EXISTS crmguard_audit_heads (
	size bigint PRIMARY KEY,
	root bytea NOT NULL,
	at bigint NOT NULL,
	note bytea NOT NULL,
	tag bytea NOT NULL);
CREATE TABLE IF NOT EXISTS crmguard_audit_aside (
	n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id bytea NOT NULL,
	body bytea NOT NULL,
	why text COLLATE "C" NOT NULL,
	at bigint NOT NULL,
	tag bytea NOT NULL);
CREATE INDEX IF NOT EXISTS crmguard_audit_aside_why ON crmguard_audit_aside (why, n);
CREATE TABLE IF NOT EXISTS crmguard_audit_tiles (
	level bigint NOT NULL,
	n bigint NOT NULL,
	data bytea NOT NULL,
	PRIMARY KEY (level, n));
CREATE TABLE IF NOT EXISTS crmguard_audit_state (
	id bigint NOT NULL,
	origin text COLLATE "C" NOT NULL,
	size bigint NOT NULL,
	root bytea NOT NULL,
	published bigint NOT NULL,
	beat bigint NOT NULL,
	beat_size bigint NOT NULL,
	found bigint NOT NULL,
	mirrored bigint NOT NULL,
	people bigint NOT NULL,
	drained bigint NOT NULL,
	pruned bigint NOT NULL,
	swept bigint NOT NULL,
	drains bigint NOT NULL,
	tag bytea NOT NULL,
	PRIMARY KEY (id));
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 1, (extract(epoch FROM now()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
