-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_surrogates (
	n BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	tenant VARBINARY(255) NOT NULL,
	surrogate BINARY(16) NOT NULL,
	k BIGINT NOT NULL,
	person VARBINARY(255),
	head BLOB,
	state SMALLINT NOT NULL,
	into_surrogate BINARY(16),
	tag VARBINARY(255) NOT NULL,
	UNIQUE (tenant, surrogate),
	UNIQUE (tenant, person),
	INDEX crmguard_audit_surrogates_k (k),
	INDEX crmguard_audit_surrogates_into (tenant, into_surrogate),
	INDEX crmguard_audit_surrogates_open (state, tenant)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 8, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
