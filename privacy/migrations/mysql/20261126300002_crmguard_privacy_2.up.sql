-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_plan (
	id VARBINARY(64) NOT NULL,
	tenant VARBINARY(255) NOT NULL,
	state VARBINARY(16) NOT NULL,
	body LONGBLOB,
	tag BLOB,
	approval BLOB,
	erased BIGINT,
	outcome LONGBLOB,
	certificate LONGBLOB,
	changed BIGINT NOT NULL,
	PRIMARY KEY (id),
	INDEX crmguard_privacy_plan_state (state)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
