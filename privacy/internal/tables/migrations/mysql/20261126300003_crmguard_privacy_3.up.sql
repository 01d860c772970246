-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_mark (
	id INTEGER NOT NULL,
	n BIGINT NOT NULL,
	hash VARBINARY(64) NOT NULL,
	seen BIGINT NOT NULL,
	replayed BIGINT NOT NULL,
	trace VARBINARY(128) NOT NULL,
	tag VARBINARY(255) NOT NULL,
	PRIMARY KEY (id)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
