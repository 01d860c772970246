-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_suppressed (
	tenant VARBINARY(255) NOT NULL,
	digest VARBINARY(64) NOT NULL,
	since BIGINT NOT NULL,
	PRIMARY KEY (tenant, digest)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 6, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
