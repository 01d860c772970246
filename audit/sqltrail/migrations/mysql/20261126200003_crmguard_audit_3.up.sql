-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_events (
	seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	id BINARY(16) NOT NULL UNIQUE,
	log SMALLINT NOT NULL,
	retry VARBINARY(64) NOT NULL,
	body LONGBLOB,
	idx BIGINT,
	INDEX crmguard_audit_events_queue (idx, seq)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
