CREATE TABLE crmguard_privacy_plan (
	id VARCHAR(36) NOT NULL PRIMARY KEY,
	tenant VARCHAR(255) NOT NULL,
	state VARCHAR(16) NOT NULL,
	body BLOB,
	tag BLOB,
	approval BLOB,
	erased BIGINT,
	outcome BLOB,
	certificate BLOB,
	changed BIGINT NOT NULL
);
CREATE INDEX crmguard_privacy_plan_state ON crmguard_privacy_plan (state);
CREATE TABLE crmguard_privacy_mark (
	id INTEGER NOT NULL PRIMARY KEY,
	n BIGINT NOT NULL,
	hash VARCHAR(64) NOT NULL,
	seen BIGINT NOT NULL
);
CREATE TABLE crmguard_privacy_retired (
	tenant VARCHAR(255) NOT NULL,
	owner VARCHAR(255) NOT NULL,
	PRIMARY KEY (tenant, owner)
);
