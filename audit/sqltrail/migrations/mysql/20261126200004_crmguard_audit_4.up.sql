-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_surrogates (
	tenant VARBINARY(255) NOT NULL,
	person VARBINARY(255) NOT NULL,
	surrogate VARBINARY(64) NOT NULL,
	PRIMARY KEY (tenant, person),
	UNIQUE (tenant, surrogate)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 4, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
