CREATE TRIGGER contacts_updated AFTER UPDATE ON contacts FOR EACH ROW
	INSERT INTO outbox (tenant_id, contact_id, payload) VALUES (OLD.tenant_id, OLD.id, JSON_OBJECT('op', 'UPDATE', 'email', OLD.email, 'name', OLD.name));

CREATE TRIGGER contacts_deleted AFTER DELETE ON contacts FOR EACH ROW
	INSERT INTO outbox (tenant_id, contact_id, payload) VALUES (OLD.tenant_id, OLD.id, JSON_OBJECT('op', 'DELETE', 'email', OLD.email, 'name', OLD.name));
