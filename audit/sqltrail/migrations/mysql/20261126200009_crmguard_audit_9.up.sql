-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_heads (
	size BIGINT NOT NULL PRIMARY KEY,
	root BINARY(32) NOT NULL,
	at BIGINT NOT NULL,
	note LONGBLOB NOT NULL,
	tag LONGBLOB NOT NULL) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 9, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
