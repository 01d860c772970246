-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));
CREATE TABLE IF NOT EXISTS crmguard_encryption_store (
	one integer NOT NULL CHECK (one = 1),
	store text COLLATE "C" NOT NULL,
	epoch bigint NOT NULL,
	sequence bigint NOT NULL,
	mark text COLLATE "C" NOT NULL,
	barrier bigint NOT NULL,
	taken bigint NOT NULL,
	returned bigint NOT NULL,
	kek text COLLATE "C" NOT NULL,
	retiring text COLLATE "C" NOT NULL,
	lease bigint NOT NULL,
	lease_wait bigint NOT NULL,
	lease_since bigint NOT NULL,
	longest bigint NOT NULL,
	PRIMARY KEY (one));
CREATE TABLE IF NOT EXISTS crmguard_encryption_keyset (
	tenant text COLLATE "C" NOT NULL,
	purpose text COLLATE "C" NOT NULL,
	epoch bigint NOT NULL,
	kek text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	former bytea NOT NULL,
	wrapped bytea NOT NULL,
	PRIMARY KEY (tenant, purpose));
CREATE TABLE IF NOT EXISTS crmguard_encryption_generation (
	tenant text COLLATE "C" NOT NULL,
	generation bigint NOT NULL,
	state text COLLATE "C" NOT NULL,
	created bigint NOT NULL,
	PRIMARY KEY (tenant, generation));
CREATE TABLE IF NOT EXISTS crmguard_encryption_owner (
	tenant text COLLATE "C" NOT NULL,
	owner text COLLATE "C" NOT NULL,
	state text COLLATE "C" NOT NULL,
	sequence bigint NOT NULL,
	PRIMARY KEY (tenant, owner));
CREATE TABLE IF NOT EXISTS crmguard_encryption_key (
	tenant text COLLATE "C" NOT NULL,
	owner text COLLATE "C" NOT NULL,
	generation bigint NOT NULL,
	wrapped bytea NOT NULL,
	seals bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, owner, generation));
CREATE TABLE IF NOT EXISTS crmguard_encryption_alias (
	tenant text COLLATE "C" NOT NULL,
	alias text COLLATE "C" NOT NULL,
	owner text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant, alias));
CREATE TABLE IF NOT EXISTS crmguard_encryption_index (
	tenant text COLLATE "C" NOT NULL,
	tab text COLLATE "C" NOT NULL,
	idx text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	root bigint NOT NULL,
	normaliser text COLLATE "C" NOT NULL,
	bits bigint NOT NULL,
	state text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant, tab, idx, version));
CREATE TABLE IF NOT EXISTS crmguard_encryption_mark (
	sequence bigint NOT NULL,
	mark text COLLATE "C" NOT NULL,
	created bigint NOT NULL,
	position integer NOT NULL,
	narrows text COLLATE "C" NOT NULL,
	PRIMARY KEY (sequence));
CREATE INDEX IF NOT EXISTS crmguard_encryption_alias_owner ON crmguard_encryption_alias (tenant, owner);
INSERT INTO crmguard_encryption_store (one, store, epoch, sequence, mark, barrier, taken, returned, kek, retiring, lease, lease_wait, lease_since, longest) VALUES (1, '', 0, 0, '', 0, 0, 0, '', '', 0, 0, 0, 0) ON CONFLICT DO NOTHING;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 1, (extract(epoch FROM now()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
