-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_entries (
	idx BIGINT NOT NULL PRIMARY KEY,
	id BINARY(16) NOT NULL,
	leaf LONGBLOB NOT NULL,
	at BIGINT NOT NULL,
	filed BIGINT NOT NULL) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 4, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
