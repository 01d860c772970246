CREATE FUNCTION tell_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO outbox (tenant_id, contact_id, payload) VALUES (OLD.tenant_id, OLD.id, jsonb_build_object('op', TG_OP, 'email', OLD.email, 'name', OLD.name));
	RETURN NULL;
END $$;

CREATE TRIGGER contacts_changed AFTER UPDATE OR DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION tell_outbox();
