-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_openings (
	idx BIGINT NOT NULL,
	owner BINARY(16) NOT NULL,
	sealed LONGBLOB NOT NULL,
	PRIMARY KEY (idx, owner),
	INDEX crmguard_audit_openings_owner (owner, idx)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 7, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
