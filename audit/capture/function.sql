-- What the trigger function of target, a table, has to be: up makes it, and Missing
-- compares it with what stands. It only reads the catalogue, and fails for nothing
-- that is not there.
SELECT x.names, x.settings, x.columns, format($body$
-- Made by crmguard (capture.Pack): captures that a row changed, and no value.
DECLARE
	changed text[];
	was_key text;
	was_tenant text;
	was_person text;
	is_key text;
	is_tenant text;
	is_person text;
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
				was_person := %13$s;
			END IF;
			IF TG_OP <> 'DELETE' THEN
				is_key := %3$s;
				is_tenant := %4$s;
				is_person := %14$s;
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
			BEGIN
				EXECUTE %15$L INTO was_person, is_person USING was, now_is;
			EXCEPTION WHEN OTHERS THEN
				-- What belonged to somebody who was erased is not named behind the erasure.
				was_person := NULL;
				is_person := NULL;
				was_key := NULL;
				is_key := NULL;
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
			was_person := is_person;
		END IF;
	END IF;
	INSERT INTO %10$s (id, tx, at, tab, kind, tenant, key, person, op, cols, who, actor) VALUES (
		gen_random_uuid(), concat(pg_current_xact_id(), '/', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, %11$L, %12$L,
		CASE WHEN octet_length(was_tenant) <= 255 THEN was_tenant END, CASE WHEN octet_length(was_key) <= 255 THEN was_key END, CASE WHEN octet_length(was_person) <= 255 THEN was_person END,
		lower(left(TG_OP, 1)), changed, session_user, claimed);
	-- A row that moves to another key, tenant or person has changed under both.
	IF TG_OP = 'UPDATE' AND (was_key IS DISTINCT FROM is_key OR was_tenant IS DISTINCT FROM is_tenant OR was_person IS DISTINCT FROM is_person) THEN
		INSERT INTO %10$s (id, tx, at, tab, kind, tenant, key, person, op, cols, who, actor) VALUES (
			gen_random_uuid(), concat(pg_current_xact_id(), '/', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, %11$L, %12$L,
			CASE WHEN octet_length(is_tenant) <= 255 THEN is_tenant END, CASE WHEN octet_length(is_key) <= 255 THEN is_key END, CASE WHEN octet_length(is_person) <= 255 THEN is_person END,
			'u', changed, session_user, claimed);
	END IF;
	RETURN NULL;
END
$body$,
		x.keyed[1], x.tenanted[1], x.keyed[2], x.tenanted[2], x.compared, x.known,
		concat('SELECT ', x.keyed[3], ', ', x.keyed[4]), concat('SELECT ', x.tenanted[3], ', ', x.tenanted[4]), target.skip, target.captured, target.label,
		target.kind, x.personal[1], x.personal[2], concat('SELECT ', x.personal[3], ', ', x.personal[4])) AS body
FROM (
	WITH columns AS (
		SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, a.attcollation, y.typname, s.nspname,
			COALESCE(NULLIF(y.typbasetype, 0), y.oid) IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype,
				'oid'::regtype, 'uuid'::regtype, 'numeric'::regtype, 'name'::regtype) OR y.typcategory IN ('S', 'E') AS stable,
			-- char(n) is padded with blanks, which are no part of the value.
			CASE y.typoutput WHEN 'bpcharout'::regproc THEN $$rtrim(format('%%s', %1$s.%2$I), ' ')$$ ELSE $$format('%%s', %1$s.%2$I)$$ END AS said
		FROM pg_attribute a, pg_type y, pg_namespace s
		WHERE a.attrelid = target.rel AND a.attnum > 0 AND NOT a.attisdropped AND y.oid = a.atttypid AND s.oid = y.typnamespace),
	named AS (
		SELECT CASE WHEN target.key <> '{}' THEN target.key ELSE (
			SELECT array_agg(c.attname::text ORDER BY k.place) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k (num, place), columns c
				WHERE i.indrelid = target.rel AND i.indisprimary AND k.place <= i.indnkeyatts AND c.attnum = k.num) END AS names),
	prefixes AS (SELECT * FROM unnest(ARRAY['OLD', 'NEW', '($1)', '($2)']) WITH ORDINALITY p (prefix, place))
	SELECT named.names,
		-- What a type says depends on the session, but for some.
		(SELECT CASE WHEN bool_and(c.stable) THEN '{}' ELSE ARRAY['DateStyle=ISO, YMD', 'TimeZone=UTC', 'IntervalStyle=iso_8601', 'extra_float_digits=1', 'bytea_output=hex', 'lc_monetary=C'] END
			FROM columns c WHERE c.attname = ANY (named.names || target.tenant_column || target.person)) AS settings,
		-- The name of a row, as an id: of several columns, the texts joined by a
		-- slash, those in them as %2F. A person's id is no part of the name of a row
		-- that is none.
		(SELECT array_agg(k.expression ORDER BY k.place) FROM (
			SELECT p.place, string_agg(format('CASE WHEN %1$s.%2$I IS NOT NULL THEN ' || CASE WHEN cardinality(named.names) = 1 THEN c.said
					ELSE $$replace(replace($$ || c.said || $$, '%%', '%%25'), '/', '%%2F')$$ END || ' END', p.prefix, n.name), $$ || '/' || $$ ORDER BY n.place) AS expression
				FROM prefixes p, unnest(named.names) WITH ORDINALITY n (name, place), columns c WHERE c.attname = n.name AND NOT COALESCE(target.person = ANY (named.names), false) GROUP BY p.place
			UNION ALL
			SELECT p.place, 'NULL' FROM prefixes p WHERE target.person = ANY (named.names)) k) AS keyed,
		(SELECT array_agg(COALESCE(quote_literal(target.tenant), format('CASE WHEN %1$s.%2$I IS NOT NULL THEN ' || c.said || ' END', p.prefix, c.attname)) ORDER BY p.place)
			FROM prefixes p LEFT JOIN columns c ON c.attname = target.tenant_column) AS tenanted,
		(SELECT array_agg(COALESCE(format('CASE WHEN %1$s.%2$I IS NOT NULL THEN ' || c.said || ' END', p.prefix, c.attname), 'NULL') ORDER BY p.place)
			FROM prefixes p LEFT JOIN columns c ON c.attname = target.person) AS personal,
		-- What changed is told by the bytes: equal by the type's own comparison may
		-- be another spelling (citext, numeric), and json has none. Types whose
		-- comparison is of the bytes take the shorter way.
		(SELECT string_agg(format(CASE
				WHEN c.atttypid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype, 'uuid'::regtype, 'bytea'::regtype,
					'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'text'::regtype, 'varchar'::regtype)
					AND COALESCE((SELECT l.collisdeterministic FROM pg_collation l WHERE l.oid = c.attcollation), true)
				THEN 'CASE WHEN OLD.%1$I IS DISTINCT FROM NEW.%1$I THEN %1$L END'
				ELSE 'CASE WHEN record_image_ne(ROW(OLD.%1$I), ROW(NEW.%1$I)) THEN %1$L END' END, c.attname), ', ' ORDER BY c.attnum)
			FROM columns c WHERE c.attname <> ALL (target.skip::name[])) AS compared,
		(SELECT array_agg(c.attname ORDER BY c.attnum)::text FROM columns c) AS known,
		-- All that the body comes from: where it changes, nobody has replaced the function.
		concat((SELECT string_agg(format('%I %s.%s %s %s', c.attname, c.nspname, c.typname, c.atttypmod, l.collname), ', ' ORDER BY c.attname)
			FROM columns c LEFT JOIN pg_collation l ON l.oid = c.attcollation), ' by ', named.names::text) AS columns
	FROM named) x
