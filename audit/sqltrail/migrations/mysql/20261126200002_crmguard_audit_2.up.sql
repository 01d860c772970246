-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_events (
	seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	id VARBINARY(255) NOT NULL UNIQUE,
	tenant VARBINARY(255) NOT NULL,
	kind VARBINARY(64) NOT NULL,
	object_kind VARBINARY(255) NOT NULL,
	object_id VARBINARY(255) NOT NULL,
	recorded BIGINT NOT NULL,
	leaf LONGBLOB NOT NULL,
	tag LONGBLOB NOT NULL,
	retry LONGBLOB,
	idx BIGINT UNIQUE,
	sequenced BIGINT,
	INDEX crmguard_audit_events_queue (idx, seq),
	INDEX crmguard_audit_events_retry (sequenced),
	INDEX crmguard_audit_events_object (tenant, object_kind, object_id, seq)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
