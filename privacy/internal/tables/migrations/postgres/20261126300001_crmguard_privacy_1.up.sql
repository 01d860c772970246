-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));
CREATE TABLE IF NOT EXISTS crmguard_privacy_plan (
	id text COLLATE "C" NOT NULL,
	tenant text COLLATE "C" NOT NULL,
	state text COLLATE "C" NOT NULL,
	person text COLLATE "C" NOT NULL,
	intent bigint NOT NULL,
	body bytea,
	approval bytea,
	erased bigint,
	outcome bytea,
	certificate bytea,
	mac bytea NOT NULL,
	changed bigint NOT NULL,
	PRIMARY KEY (id));
CREATE INDEX IF NOT EXISTS crmguard_privacy_plan_state ON crmguard_privacy_plan (state);
CREATE INDEX IF NOT EXISTS crmguard_privacy_plan_person ON crmguard_privacy_plan (person);
CREATE TABLE IF NOT EXISTS crmguard_privacy_mark (
	id integer NOT NULL,
	n bigint NOT NULL,
	hash text COLLATE "C" NOT NULL,
	seen bigint NOT NULL,
	replayed bigint NOT NULL,
	trace text COLLATE "C" NOT NULL,
	tag bytea NOT NULL,
	PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS crmguard_privacy_retired (
	tenant text COLLATE "C" NOT NULL,
	owner text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant, owner));
CREATE TABLE IF NOT EXISTS crmguard_privacy_opening (
	id integer NOT NULL,
	body bytea NOT NULL,
	tag bytea NOT NULL,
	PRIMARY KEY (id));
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 1, (extract(epoch FROM now()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
