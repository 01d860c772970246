-- +goose Up
-- +goose StatementBegin
-- Rows of these tables that change are captured in crmguard_audit_captured.
-- Made by capture.Pack; apply it again after a migration of one of the tables:
-- it changes what has changed, and nothing else. Whoever applies it owns the
-- functions, with whose rights the rows are captured, and has to own
-- crmguard_audit_captured, which is made where it is not there, in the first
-- schema of the search path.
DO $crmguard$
DECLARE
	given text := current_setting('search_path');
	home text := current_schema();
	captured text;
	routine text;
	target record;
	made record;
	wrong text;
	others text;
	seen oid[] := '{}';
	former oid;
BEGIN
	IF home IS NULL THEN
		RAISE EXCEPTION 'crmguard capture: the search path names no schema that is there, where the captured rows would stand: set search_path'
			USING ERRCODE = 'invalid_schema_name';
	END IF;
	captured := format('%I.crmguard_audit_captured', home);
	-- One after the other; where a transaction goes on seeing what was before it
	-- waited, the second one has to begin anew.
	IF current_setting('transaction_isolation') = 'read committed' THEN
		PERFORM pg_advisory_xact_lock(hashtextextended(captured, 0));
	ELSIF NOT pg_try_advisory_xact_lock(hashtextextended(captured, 0)) THEN
		RAISE EXCEPTION 'crmguard capture: another session applies a pack: apply this one again when it is done'
			USING ERRCODE = 'serialization_failure';
	END IF;
	PERFORM FROM pg_trigger LIMIT 1; -- a new lock of a table: what others did meanwhile is taken in
	-- function.sql reads target.captured: here the variable, in Missing a column.
	FOR target IN SELECT given_table.*, captured AS captured, to_regclass(given_table.name)::oid AS rel FROM (VALUES
/* tables */
		) given_table (name, label, kind, key, tenant, tenant_column, person, skip, routine, spec) ORDER BY rel
	LOOP
		PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
		IF to_regclass(captured) IS NULL THEN
			EXECUTE format('CREATE TABLE %s (
				n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
				id uuid NOT NULL DEFAULT gen_random_uuid(),
				tx text COLLATE "C" NOT NULL,
				at bigint NOT NULL,
				tab text COLLATE "C" NOT NULL,
				kind text COLLATE "C" NOT NULL,
				tenant text COLLATE "C",
				key text COLLATE "C",
				person text COLLATE "C",
				op text COLLATE "C" NOT NULL,
				cols text[] COLLATE "C",
				who text COLLATE "C" NOT NULL,
				actor text COLLATE "C")', captured);
			-- Also what default privileges have given to a role of the application.
			SELECT string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END, ', ') INTO others
				FROM pg_class c, aclexplode(c.relacl) x WHERE c.oid = to_regclass(captured) AND x.grantee <> c.relowner;
			IF others IS NOT NULL THEN
				EXECUTE format('REVOKE ALL ON %s FROM %s', captured, others);
			END IF;
			-- By which events find what they have told of, however many rows are there.
			EXECUTE format('CREATE INDEX crmguard_audit_captured_tx ON %s (tx, key)', captured);
		END IF;
		-- Of other types, each statement of the application would fail.
		SELECT string_agg(concat(w.name, ' ', w.type), ', ') INTO wrong FROM (VALUES ('n', 'bigint'), ('id', 'uuid'), ('tx', 'text'), ('at', 'bigint'), ('tab', 'text'), ('kind', 'text'),
				('tenant', 'text'), ('key', 'text'), ('person', 'text'), ('op', 'text'), ('cols', 'text[]'), ('who', 'text'), ('actor', 'text')) w (name, type)
			WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(captured) AND a.attname = w.name AND format_type(a.atttypid, NULL) = w.type);
		IF wrong IS NOT NULL THEN
			RAISE EXCEPTION 'crmguard capture: % is of another version, it lacks %: let what waits in it be filed, then drop it and apply this pack in one transaction', captured, wrong
				USING ERRCODE = 'datatype_mismatch';
		END IF;
		-- A trigger of that table would run with the rights of this pack's owner.
		IF (SELECT c.relowner FROM pg_class c WHERE c.oid = to_regclass(captured)) <> (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user) THEN
			RAISE EXCEPTION 'crmguard capture: % belongs to another role than %: apply the pack as its owner', captured, current_user
				USING ERRCODE = 'insufficient_privilege';
		END IF;
		IF target.rel IS NULL THEN
			RAISE EXCEPTION 'crmguard capture: there is no table % on the search path of this session: correct Table.Name, with its schema', target.label
				USING ERRCODE = 'undefined_table';
		END IF;
		IF (SELECT relkind NOT IN ('r', 'p') FROM pg_class WHERE oid = target.rel) THEN
			RAISE EXCEPTION 'crmguard capture: % is no table: name the tables behind it', target.label
				USING ERRCODE = 'wrong_object_type';
		END IF;
		IF target.rel = ANY (seen) THEN
			RAISE EXCEPTION 'crmguard capture: % is named twice, with and without its schema: name it once', target.label
				USING ERRCODE = 'duplicate_object';
		END IF;
		seen := seen || target.rel;

		SELECT f.* INTO made FROM (
/* function */
		) f;
		IF made.names IS NULL THEN
			RAISE EXCEPTION 'crmguard capture: table % has no primary key: name the columns that tell its rows apart in Table.Key', target.label
				USING ERRCODE = 'undefined_object';
		END IF;
		SELECT string_agg(quote_ident(c), ', ') INTO wrong
			FROM unnest(made.names || target.skip || array_remove(ARRAY[target.tenant_column, target.person], NULL)) c
			WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target.rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = c);
		IF wrong IS NOT NULL THEN
			RAISE EXCEPTION 'crmguard capture: table % has no column %: correct Table.Key, TenantColumn, Person or Skip', target.label, wrong
				USING ERRCODE = 'undefined_column';
		END IF;

		routine := format('%I.%I', home, target.routine);
		SELECT string_agg(t.tgrelid::regclass::text, ', ') INTO wrong
			FROM pg_trigger t WHERE t.tgfoid = to_regproc(routine) AND t.tgrelid <> target.rel AND t.tgparentid = 0;
		IF wrong IS NOT NULL THEN
			RAISE EXCEPTION 'crmguard capture: table % was called % when its rows began to be captured: drop its trigger crmguard_audit_capture, and pack it under its new name', wrong, target.label
				USING ERRCODE = 'object_in_use';
		END IF;

		EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp%s AS %L',
			routine, (SELECT string_agg(format(' SET %s = %L', split_part(s, '=', 1), split_part(s, '=', 2)), '') FROM unnest(made.settings) s), made.body);
		-- Whoever may execute it may hang it on a table of his own.
		SELECT string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END, ', ') INTO others
			FROM pg_proc p, aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) x WHERE p.oid = to_regproc(routine) AND x.grantee <> p.proowner;
		IF others IS NOT NULL THEN
			EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM %s', routine, others);
		END IF;
		EXECUTE format('COMMENT ON FUNCTION %s() IS %L', routine, format('crmguard capture %s of %s', target.spec, made.columns));

		SELECT t.tgfoid INTO former FROM pg_trigger t WHERE t.tgrelid = target.rel AND t.tgname = 'crmguard_audit_capture';
		IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target.rel AND t.tgname = 'crmguard_audit_capture' AND t.tgfoid = to_regproc(routine)
				AND t.tgtype = 29 AND t.tgattr::text = '' AND t.tgqual IS NULL AND t.tgconstraint = 0)
			OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = 'crmguard_audit_capture' AND t.tgfoid = to_regproc(routine) AND t.tgenabled NOT IN ('O', 'A')) THEN
			EXECUTE format('DROP TRIGGER IF EXISTS crmguard_audit_capture ON %s', target.rel::regclass);
			EXECUTE format('CREATE TRIGGER crmguard_audit_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s()', target.rel::regclass, routine);
		END IF;
		IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target.rel AND t.tgname = 'crmguard_audit_capture_truncate' AND t.tgfoid = to_regproc(routine)
				AND t.tgtype = 32 AND t.tgqual IS NULL AND t.tgenabled IN ('O', 'A')) THEN
			EXECUTE format('DROP TRIGGER IF EXISTS crmguard_audit_capture_truncate ON %s', target.rel::regclass);
			EXECUTE format('CREATE TRIGGER crmguard_audit_capture_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()', target.rel::regclass, routine);
		END IF;
		IF former <> to_regproc(routine) AND former::regproc::text ~ 'crmguard_audit_capture_[0-9a-f]{16}$' AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = former) THEN
			EXECUTE format('DROP FUNCTION %s()', former::regproc);
		END IF;
		PERFORM set_config('search_path', given, true);
	END LOOP;
	PERFORM set_config('search_path', given, true);
END $crmguard$;
-- +goose StatementEnd
