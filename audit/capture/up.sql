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
	names text[];
	wrong text;
	others text;
	seen oid[] := '{}';
	settings text;
	keyed text[];
	tenanted text[];
	compared text;
	known text;
	columns text;
	former oid;
	one constant text := $$CASE WHEN %1$s.%2$I IS NOT NULL THEN format('%%s', %1$s.%2$I) END$$;
	many constant text := $$CASE WHEN %1$s.%2$I IS NOT NULL THEN replace(replace(format('%%s', %1$s.%2$I), '%%', '%%25'), '/', '%%2F') END$$;
	prefixes constant text[] := ARRAY['OLD', 'NEW', '($1)', '($2)'];
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
	FOR target IN SELECT given_table.*, to_regclass(given_table.name)::oid AS rel FROM (VALUES
/* tables */
		) given_table (name, label, kind, key, tenant, tenant_column, skip, routine, spec) ORDER BY rel
	LOOP
		PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
		IF to_regclass(captured) IS NULL THEN
			EXECUTE format('CREATE TABLE %s (
				n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
				tx xid8 NOT NULL,
				at bigint NOT NULL,
				tab text COLLATE "C" NOT NULL,
				kind text COLLATE "C" NOT NULL,
				tenant text COLLATE "C",
				key text COLLATE "C",
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
			EXECUTE format('CREATE INDEX crmguard_audit_captured_tx ON %s (tx)', captured);
		END IF;
		IF (SELECT count(*) <> 10 FROM pg_attribute a WHERE a.attrelid = to_regclass(captured) AND NOT a.attisdropped
			AND a.attname IN ('tx', 'at', 'tab', 'kind', 'tenant', 'key', 'op', 'cols', 'who', 'actor')) THEN
			RAISE EXCEPTION 'crmguard capture: % has not the columns that this pack writes: migrate it first', captured
				USING ERRCODE = 'undefined_column';
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

		names := target.key;
		IF names = '{}' THEN
			SELECT array_agg(a.attname::text ORDER BY k.place) INTO names
				FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k (num, place), pg_attribute a
				WHERE i.indrelid = target.rel AND i.indisprimary AND k.place <= i.indnkeyatts AND a.attrelid = i.indrelid AND a.attnum = k.num;
			IF names IS NULL THEN
				RAISE EXCEPTION 'crmguard capture: table % has no primary key: name the columns that tell its rows apart in Table.Key', target.label
					USING ERRCODE = 'undefined_object';
			END IF;
		END IF;
		SELECT string_agg(quote_ident(c), ', ') INTO wrong
			FROM unnest(names || target.skip || array_remove(ARRAY[target.tenant_column], NULL)) c
			WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target.rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = c);
		IF wrong IS NOT NULL THEN
			RAISE EXCEPTION 'crmguard capture: table % has no column %: correct Table.Key, TenantColumn or Skip', target.label, wrong
				USING ERRCODE = 'undefined_column';
		END IF;

		routine := format('%I.%I', home, target.routine);
		SELECT string_agg(t.tgrelid::regclass::text, ', ') INTO wrong
			FROM pg_trigger t WHERE t.tgfoid = to_regproc(routine) AND t.tgrelid <> target.rel AND t.tgparentid = 0;
		IF wrong IS NOT NULL THEN
			RAISE EXCEPTION 'crmguard capture: table % was called % when its rows began to be captured: drop its trigger crmguard_audit_capture, and pack it under its new name', wrong, target.label
				USING ERRCODE = 'object_in_use';
		END IF;

		-- What a type says depends on the session, but for these.
		SELECT CASE WHEN bool_and(COALESCE(NULLIF(y.typbasetype, 0), y.oid) IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype,
				'oid'::regtype, 'uuid'::regtype, 'numeric'::regtype, 'name'::regtype) OR y.typcategory IN ('S', 'E'))
			THEN '' ELSE ' SET DateStyle = ''ISO, YMD'' SET TimeZone = ''UTC'' SET IntervalStyle = ''iso_8601'' SET extra_float_digits = 1 SET bytea_output = ''hex'' SET lc_monetary = ''C''' END
			INTO settings
			FROM pg_attribute a, pg_type y
			WHERE a.attrelid = target.rel AND a.atttypid = y.oid AND (a.attname = ANY (names) OR a.attname = target.tenant_column);

		-- The name of a row, as an id: of several columns, the texts joined by a
		-- slash, those in them as %2F.
		SELECT array_agg(x.expression ORDER BY x.place) INTO keyed FROM (
			SELECT p.place, string_agg(format(CASE WHEN cardinality(names) = 1 THEN one ELSE many END, p.prefix, c.name), $$ || '/' || $$ ORDER BY c.place) AS expression
				FROM unnest(prefixes) WITH ORDINALITY p (prefix, place), unnest(names) WITH ORDINALITY c (name, place) GROUP BY p.place) x;
		SELECT array_agg(CASE WHEN target.tenant_column IS NULL THEN quote_literal(target.tenant) ELSE format(one, p.prefix, target.tenant_column) END ORDER BY p.place)
			INTO tenanted FROM unnest(prefixes) WITH ORDINALITY p (prefix, place);

		-- What changed is told by the bytes: equal by the type's own comparison may
		-- be another spelling (citext, numeric), and json has none. Types whose
		-- comparison is of the bytes take the shorter way.
		SELECT string_agg(format(CASE
				WHEN a.atttypid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype, 'uuid'::regtype, 'bytea'::regtype,
					'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'text'::regtype, 'varchar'::regtype)
					AND COALESCE((SELECT l.collisdeterministic FROM pg_collation l WHERE l.oid = a.attcollation), true)
				THEN 'CASE WHEN OLD.%1$I IS DISTINCT FROM NEW.%1$I THEN %1$L END'
				ELSE 'CASE WHEN record_image_ne(ROW(OLD.%1$I), ROW(NEW.%1$I)) THEN %1$L END' END, a.attname), ', ' ORDER BY a.attnum)
			INTO compared
			FROM pg_attribute a
			WHERE a.attrelid = target.rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (target.skip::name[]);
		SELECT array_agg(a.attname)::text, string_agg(format('%I %s.%s %s', a.attname, (SELECT s.nspname FROM pg_type y, pg_namespace s WHERE y.oid = a.atttypid AND s.oid = y.typnamespace), (SELECT y.typname FROM pg_type y WHERE y.oid = a.atttypid), a.atttypmod), ', ' ORDER BY a.attname)
			INTO known, columns
			FROM pg_attribute a WHERE a.attrelid = target.rel AND a.attnum > 0 AND NOT a.attisdropped;

		EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp%s AS %L',
			routine, settings, format($body$
-- Made by crmguard (capture.Pack): captures that a row changed, and no value.
DECLARE
	changed text[];
	was_key text;
	was_tenant text;
	is_key text;
	is_tenant text;
	claimed text := current_setting('crmguard.actor', true);
	anew boolean := false;
	was record;
	now_is record;
	list text;
BEGIN
	IF octet_length(claimed) NOT BETWEEN 1 AND 255 THEN
		claimed := NULL;
	END IF;
	IF TG_OP <> 'TRUNCATE' THEN
		-- The columns as they were when the pack was applied. Where they are
		-- others by now, or of other types, nothing that fails here may fail
		-- the statement of the application.
		BEGIN
			IF TG_OP <> 'INSERT' THEN
				was_key := %1$s;
				was_tenant := %2$s;
			END IF;
			IF TG_OP <> 'DELETE' THEN
				is_key := %3$s;
				is_tenant := %4$s;
			END IF;
			IF TG_OP = 'UPDATE' THEN
				changed := array_remove(ARRAY[%5$s]::text[], NULL);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			anew := true;
		END;
		IF NOT anew AND changed = '{}' THEN
			-- All that are known are still there: is there one that is not known?
			IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (%6$L::name[])) THEN
				RETURN NULL;
			END IF;
			anew := true;
		END IF;
		-- The columns as they are now: slow, until the pack is applied again.
		IF anew THEN
			IF TG_OP = 'INSERT' THEN was := NEW; ELSE was := OLD; END IF;
			IF TG_OP = 'DELETE' THEN now_is := OLD; ELSE now_is := NEW; END IF;
			BEGIN
				EXECUTE %7$L INTO was_key, is_key USING was, now_is;
			EXCEPTION WHEN OTHERS THEN
				was_key := NULL;
				is_key := NULL;
			END;
			BEGIN
				EXECUTE %8$L INTO was_tenant, is_tenant USING was, now_is;
			EXCEPTION WHEN OTHERS THEN
				was_tenant := NULL;
				is_tenant := NULL;
			END;
			IF TG_OP = 'UPDATE' THEN
				SELECT string_agg(format('CASE WHEN record_image_ne(ROW(($1).%%1$I), ROW(($2).%%1$I)) THEN %%1$L END', a.attname), ', ' ORDER BY a.attnum) INTO list
					FROM pg_attribute a WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (%9$L::name[]);
				EXECUTE 'SELECT array_remove(ARRAY[' || COALESCE(list, '') || ']::text[], NULL)' INTO changed USING was, now_is;
				IF changed = '{}' THEN
					RETURN NULL;
				END IF;
			END IF;
		END IF;
		IF TG_OP = 'INSERT' THEN
			was_key := is_key;
			was_tenant := is_tenant;
		END IF;
	END IF;
	INSERT INTO %10$s (tx, at, tab, kind, tenant, key, op, cols, who, actor) VALUES (
		pg_current_xact_id(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, %11$L, %12$L,
		CASE WHEN octet_length(was_tenant) <= 255 THEN was_tenant END, CASE WHEN octet_length(was_key) <= 255 THEN was_key END,
		lower(left(TG_OP, 1)), changed, session_user, claimed);
	-- A row that moves to another key or tenant has changed under both.
	IF TG_OP = 'UPDATE' AND (was_key IS DISTINCT FROM is_key OR was_tenant IS DISTINCT FROM is_tenant) THEN
		INSERT INTO %10$s (tx, at, tab, kind, tenant, key, op, cols, who, actor) VALUES (
			pg_current_xact_id(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, %11$L, %12$L,
			CASE WHEN octet_length(is_tenant) <= 255 THEN is_tenant END, CASE WHEN octet_length(is_key) <= 255 THEN is_key END,
			'u', changed, session_user, claimed);
	END IF;
	RETURN NULL;
END
$body$,
				keyed[1], tenanted[1], keyed[2], tenanted[2], compared, known,
				concat('SELECT ', keyed[3], ', ', keyed[4]), concat('SELECT ', tenanted[3], ', ', tenanted[4]), target.skip, captured, target.label, target.kind));
		-- Whoever may execute it may hang it on a table of his own.
		SELECT string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END, ', ') INTO others
			FROM pg_proc p, aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) x WHERE p.oid = to_regproc(routine) AND x.grantee <> p.proowner;
		IF others IS NOT NULL THEN
			EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM %s', routine, others);
		END IF;
		EXECUTE format('COMMENT ON FUNCTION %s() IS %L', routine, format('crmguard capture %s of %s', target.spec, columns));

		SELECT t.tgfoid INTO former FROM pg_trigger t WHERE t.tgrelid = target.rel AND t.tgname = 'crmguard_audit_capture';
		IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target.rel AND t.tgname = 'crmguard_audit_capture' AND t.tgfoid = to_regproc(routine)
				AND t.tgtype = 29 AND t.tgattr::text = '' AND t.tgqual IS NULL)
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
