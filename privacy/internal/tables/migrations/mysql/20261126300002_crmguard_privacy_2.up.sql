-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_plan (
	id VARBINARY(64) NOT NULL,
	tenant VARBINARY(255) NOT NULL,
	state VARBINARY(16) NOT NULL,
	person VARBINARY(64) NOT NULL,
	intent BIGINT NOT NULL,
	body LONGBLOB,
	approval BLOB,
	erased BIGINT,
	outcome LONGBLOB,
	certificate LONGBLOB,
	mac BLOB NOT NULL,
	changed BIGINT NOT NULL,
	PRIMARY KEY (id),
	INDEX crmguard_privacy_plan_state (state),
	INDEX crmguard_privacy_plan_person (person)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
