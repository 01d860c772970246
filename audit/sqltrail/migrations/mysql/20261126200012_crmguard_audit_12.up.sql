-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_state (
	id BIGINT NOT NULL,
	origin TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	size BIGINT NOT NULL,
	root LONGBLOB NOT NULL,
	published BIGINT NOT NULL,
	beat BIGINT NOT NULL,
	beat_size BIGINT NOT NULL,
	found BIGINT NOT NULL,
	mirrored BIGINT NOT NULL,
	people BIGINT NOT NULL,
	drained BIGINT NOT NULL,
	pruned BIGINT NOT NULL,
	swept BIGINT NOT NULL,
	drains BIGINT NOT NULL,
	tag LONGBLOB NOT NULL,
	PRIMARY KEY (id)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 12, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
