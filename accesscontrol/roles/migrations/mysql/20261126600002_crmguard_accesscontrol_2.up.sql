-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_tenant (
	tenant VARBINARY(255) NOT NULL,
	changes BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	PRIMARY KEY (tenant)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
