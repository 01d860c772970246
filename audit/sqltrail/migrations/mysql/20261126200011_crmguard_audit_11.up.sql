-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_tiles (
	level BIGINT NOT NULL,
	n BIGINT NOT NULL,
	data LONGBLOB NOT NULL,
	PRIMARY KEY (level, n)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 11, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
