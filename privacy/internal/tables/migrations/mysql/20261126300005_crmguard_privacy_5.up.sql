-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_pending (
	tenant VARBINARY(255) NOT NULL,
	person VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, person)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 5, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
