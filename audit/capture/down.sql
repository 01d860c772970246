-- +goose Down
-- +goose StatementBegin
-- Takes back what the pack made: the triggers, also of tables that were renamed
-- meanwhile, their functions, and with the last of them the table of the captured
-- rows. Where rows stand there that are not filed yet, it stays, and a warning
-- says so: apply this again when they are.
DO $crmguard$
DECLARE
	given text := current_setting('search_path');
	home text := current_schema();
	captured text := format('%I.crmguard_audit_captured', current_schema());
	named text;
	routine text;
	target record;
	waiting boolean;
BEGIN
	-- One after the other; where a transaction goes on seeing what was before it
	-- waited, the second one has to begin anew.
	IF current_setting('transaction_isolation') = 'read committed' THEN
		PERFORM pg_advisory_xact_lock(hashtextextended(captured, 0));
	ELSIF NOT pg_try_advisory_xact_lock(hashtextextended(captured, 0)) THEN
		RAISE EXCEPTION 'crmguard capture: another session applies a pack: apply this one again when it is done'
			USING ERRCODE = 'serialization_failure';
	END IF;
	PERFORM FROM pg_trigger LIMIT 1; -- a new lock of a table: what others did meanwhile is taken in
	PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
	FOREACH named IN ARRAY ARRAY[
/* routines */
		]::text[]
	LOOP
		routine := format('%I.%I', home, named);
		FOR target IN SELECT t.tgname, t.tgrelid::regclass AS rel FROM pg_trigger t WHERE t.tgfoid = to_regproc(routine) AND t.tgparentid = 0 ORDER BY t.oid LOOP
			EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', target.tgname, target.rel);
		END LOOP;
		EXECUTE format('DROP FUNCTION IF EXISTS %s()', routine);
	END LOOP;
	IF to_regclass(captured) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_proc p, pg_namespace n
			WHERE p.pronamespace = n.oid AND n.nspname = home AND p.proname ~ '^crmguard_audit_capture_[0-9a-f]{16}$') THEN
		EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', captured);
		EXECUTE format('SELECT EXISTS (SELECT FROM %s)', captured) INTO waiting;
		IF waiting THEN
			RAISE WARNING 'crmguard capture: % stays, rows in it are not filed yet: apply this again when they are', captured;
		ELSE
			EXECUTE format('DROP TABLE %s', captured);
		END IF;
	END IF;
	PERFORM set_config('search_path', given, true);
END $crmguard$;
-- +goose StatementEnd
