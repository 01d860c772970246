-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_decision (
	row_key VARBINARY(128) NOT NULL,
	erase INTEGER NOT NULL,
	by_whom VARBINARY(255) NOT NULL,
	because VARBINARY(64) NOT NULL,
	at BIGINT NOT NULL,
	tag VARBINARY(255) NOT NULL,
	PRIMARY KEY (row_key)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 7, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
