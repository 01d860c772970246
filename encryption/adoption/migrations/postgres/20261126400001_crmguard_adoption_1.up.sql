-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));
CREATE TABLE IF NOT EXISTS crmguard_adoption (
	tenant text COLLATE "C" NOT NULL,
	tab text COLLATE "C" NOT NULL,
	stage text COLLATE "C" NOT NULL,
	settled integer NOT NULL,
	revision bigint NOT NULL,
	digest text COLLATE "C" NOT NULL,
	lease bigint NOT NULL,
	gone bigint NOT NULL,
	clean bigint NOT NULL,
	changed bigint NOT NULL,
	tag bytea NOT NULL,
	PRIMARY KEY (tenant, tab));
CREATE TABLE IF NOT EXISTS crmguard_adoption_job (
	tenant text COLLATE "C" NOT NULL,
	tab text COLLATE "C" NOT NULL,
	job text COLLATE "C" NOT NULL,
	revision bigint NOT NULL,
	place text COLLATE "C" NOT NULL,
	counts text COLLATE "C" NOT NULL,
	began bigint NOT NULL,
	updated bigint NOT NULL,
	PRIMARY KEY (tenant, tab, job));
INSERT INTO crmguard_schema (package, version, installed) VALUES ('adoption', 1, (extract(epoch FROM now()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
