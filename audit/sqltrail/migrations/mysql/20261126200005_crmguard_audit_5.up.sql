-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_found (
	idx BIGINT NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL,
	tenant_k BIGINT NOT NULL,
	actor_k BIGINT NOT NULL,
	object_k BIGINT,
	action_k BIGINT NOT NULL,
	outcome_k BIGINT,
	INDEX crmguard_audit_found_tenant (tenant_k, at),
	INDEX crmguard_audit_found_actor (actor_k, at),
	INDEX crmguard_audit_found_object (object_k, at),
	INDEX crmguard_audit_found_action (action_k, at),
	INDEX crmguard_audit_found_outcome (outcome_k, at)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 5, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
