-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_opening (
	id INTEGER NOT NULL,
	body BLOB NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (id)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 5, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
