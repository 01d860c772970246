CREATE TABLE crmguard_privacy_pending (
	tenant VARCHAR(255) NOT NULL,
	person VARCHAR(255) NOT NULL,
	PRIMARY KEY (tenant, person)
);
