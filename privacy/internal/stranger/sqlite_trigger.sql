CREATE TRIGGER contacts_updated AFTER UPDATE ON contacts BEGIN
	INSERT INTO outbox (tenant_id, contact_id, payload) VALUES (OLD.tenant_id, OLD.id, json_object('op', 'UPDATE', 'email', OLD.email, 'name', OLD.name));
END;

CREATE TRIGGER contacts_deleted AFTER DELETE ON contacts BEGIN
	INSERT INTO outbox (tenant_id, contact_id, payload) VALUES (OLD.tenant_id, OLD.id, json_object('op', 'DELETE', 'email', OLD.email, 'name', OLD.name));
END;
