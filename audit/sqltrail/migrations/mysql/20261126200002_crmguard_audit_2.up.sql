-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_log (
	id SMALLINT NOT NULL PRIMARY KEY,
	name VARBINARY(512) NOT NULL UNIQUE) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
