-- One of everything that has broken backups. For PostgreSQL 15 and later; run as a superuser, in an empty database.

CREATE SCHEMA app;
CREATE SCHEMA "odd ""schema""";
CREATE EXTENSION citext SCHEMA app;
CREATE EXTENSION hstore SCHEMA app;
CREATE EXTENSION btree_gist SCHEMA app;
SET search_path = app;

-- Types. A label must be committed before it is used.
BEGIN;
CREATE TYPE mood AS ENUM ('sad', 'ok');
ALTER TYPE mood ADD VALUE 'better' BEFORE 'ok';
COMMIT;
CREATE TYPE place AS (street text, lines text[], at point);
CREATE DOMAIN postcode AS text CHECK (VALUE ~ '^[0-9]{4}$');
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN deep AS moods;
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans);
CREATE TYPE mood_range AS RANGE (subtype = mood);
CREATE COLLATION bytewise (locale = 'C');

CREATE FUNCTION tidy(given text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    AS $$ SELECT lower(btrim(given)) $$;
CREATE FUNCTION untidy(given text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN given <> 'no'; END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a trigger fired'; END $$;
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'meddled'; RETURN NEW; END $$;
CREATE FUNCTION stay_out() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE PROCEDURE nothing(n int) LANGUAGE sql BEGIN ATOMIC SELECT n; END;
CREATE AGGREGATE longest(text) (sfunc = textcat, stype = text, initcond = '');

-- Values.
CREATE TABLE texts (id int PRIMARY KEY, note text, fixed character(6), short varchar(3) COLLATE bytewise);
INSERT INTO texts VALUES
    (1, NULL, NULL, NULL), (2, '', '', ''), (3, '\.', '\.', '\N'), (4, '\N', 'x', 'NUL'), (5, E'\r\n', E'\r', E'\n'),
    (6, E'a\tb\\c\b\f\v', 'tail  ', E'\\'), (7, E'\\.\n\\.\r\n\\.', NULL, NULL), (8, 'naïve ☃ 𝄞 أهلا', 'é', '☃'),
    (9, repeat('long ', 100000), NULL, NULL), (10, E'"quoted", ''and'' {braced}', NULL, NULL), (11, ' ', ' ', ' ');
CREATE TABLE numbers (
    id int PRIMARY KEY, n numeric, scaled numeric(12, 4), f float8, r real, m money, small smallint, big bigint, b bool);
INSERT INTO numbers VALUES
    (1, 'NaN', 'NaN', 'NaN', 'NaN', '-0.01', -32768, -9223372036854775808, NULL),
    (2, 'Infinity', 1, 'Infinity', 'Infinity', '92233720368547758.07', 32767, 9223372036854775807, true),
    (3, '-Infinity', -1, '-Infinity', '-Infinity', 0, 0, 0, false), (4, 0, 0, '-0', '-0', 1, 1, 1, true),
    (5, 1.00, 1.0, 0.1, 0.1, 1, 1, 1, true), (6, 1.0, 1, 5e-324, 1e-45, 1, 1, 1, true),
    (7, 1e-1000, 99999999.9999, 1.7976931348623157e308, 3.4028235e38, 1, 1, 1, true), (8, 1e1000, 0.0001, 0.3, 0.3, 1, 1, 1, true);
CREATE TABLE times (
    id int PRIMARY KEY, t timestamp, tz timestamptz, d date, clock time, far timetz, i interval);
INSERT INTO times VALUES
    (1, 'infinity', 'infinity', 'infinity', '24:00', '24:00+15:59', '-1 mon +2 days -03:04:05.000006'),
    (2, '-infinity', '-infinity', '-infinity', '00:00', '00:00-15:59', '178000000 years'),
    (3, '4713-11-24 00:00 BC', '294276-12-31 23:59:59.999999+00', '5874897-12-31', '12:00:00.000001', '1:00+10:30:15', '0'),
    (4, '2026-10-04 02:30', '2026-10-04 02:30 Australia/Sydney', '0001-01-01 BC', NULL, NULL, NULL);
CREATE TABLE shapes (
    id int PRIMARY KEY, raw bytea, arr int[], texts text[], nested text[], js json, jsb jsonb, bits bit varying,
    net inet, mac macaddr8, ids uuid, search tsvector, query tsquery, pt point, poly polygon, path jsonpath, lsn pg_lsn,
    ch "char", vec int2vector, snap pg_snapshot, r int4range, mr nummultirange, ci citext, kv hstore);
INSERT INTO shapes VALUES
    (1, '\x00ff0d0a5c2e', '[-2:0]={1,NULL,3}', '{NULL,"NULL","",",","\\"}', '[0:1][5:6]={{a,b},{c,d}}', '{"a": 1, "a":  2}',
     '{"b": 1.00, "a": null}', B'', '::1/64', '08:00:2b:01:02:03:04:05',
     '00000000-0000-0000-0000-000000000000', 'a:1A,2 b', 'a & !b:*', '(NaN,-0)', '((0,0),(1,1))', '$.a[*] ? (@ > 1)',
     '16/B374D848', '', '1 2', '10:20:10,14', 'empty', '{[1.0,2.00),(3,)}', 'MiXed', '"a"=>NULL, "b"=>""'),
    (2, '', '{}', '{}', '{}', 'null', 'null', B'101', '10.0.0.1', NULL, NULL, '', '', NULL, NULL, NULL, NULL,
     'x', '', NULL, '(,)', '{}', '', '');
INSERT INTO shapes (id) VALUES (3);
CREATE TABLE own_types (
    id int PRIMARY KEY, one mood, many mood[], home place, homes place[], code postcode, codes postcode[], ms moods, dp deep,
    s span, ss spans, mr mood_range, cis citext[], row_of texts);
INSERT INTO own_types VALUES
    (1, 'better', '{sad,NULL,ok}', ROW('a "b", (c)', '{x,NULL}', '(1,2)'), ARRAY[ROW(NULL, NULL, NULL), ROW('', '{}', NULL)]::place[],
     '2000', '{2000,3000}', '{ok}', '[3:3]={sad}', '[0.1,Infinity)', '{[1,2),[3,4)}', '[sad,ok]', '{A,a}', ROW(1, '\.', NULL, '\N'));
INSERT INTO own_types (id) VALUES (2);
CREATE TABLE names_of (id int PRIMARY KEY, c regclass, p regprocedure, t regtype, n regnamespace, many regclass[], o oid);
INSERT INTO names_of VALUES (1, 'app.texts', 'app.tidy(text)', 'app.mood', 'app', '{app.numbers,pg_class}', 4294967295);
INSERT INTO names_of (id) VALUES (2);
CREATE TABLE rights (id int PRIMARY KEY, acl aclitem[]);
INSERT INTO rights VALUES (1, ARRAY['=r/objects_owner'::aclitem]);
INSERT INTO rights (id) VALUES (2);

-- Columns.
CREATE TABLE changed_columns (a int, gone text, "B" text, twice int GENERATED ALWAYS AS (a * 2) STORED, c int DEFAULT 7);
INSERT INTO changed_columns (a, gone, "B") VALUES (1, 'x', 'y');
ALTER TABLE changed_columns DROP COLUMN gone, ADD added text DEFAULT 'fast', DROP COLUMN c, ADD c text;
INSERT INTO changed_columns (a, "B", c) VALUES (2, NULL, 'c');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE all_gone (x int);
INSERT INTO all_gone VALUES (1), (2), (3);
ALTER TABLE all_gone DROP COLUMN x;
CREATE TABLE only_generated (g int GENERATED ALWAYS AS (42) STORED);
INSERT INTO only_generated DEFAULT VALUES;
CREATE TABLE identities (
    id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5), s serial, note text COMPRESSION pglz);
INSERT INTO identities (note) VALUES ('a'), ('b'), ('c');
ALTER TABLE identities ALTER note SET STORAGE EXTERNAL;
CREATE SEQUENCE free AS smallint INCREMENT -3 MAXVALUE 30 START 20 CYCLE;
SELECT nextval('free'), nextval('free');
CREATE SEQUENCE never;
CREATE UNLOGGED SEQUENCE light;
SELECT nextval('light');

-- Names.
CREATE TABLE "odd ""schema"""."t ""q"" 	tab
line ☃ %s $1 \. --" ("sel""ect" int PRIMARY KEY, "new
line" text, "ünï" text, "%d" text, "A.b" text);
INSERT INTO "odd ""schema"""."t ""q"" 	tab
line ☃ %s $1 \. --" VALUES (1, 'a', 'b', 'c', 'd');
CREATE TABLE "odd ""schema"""."select" (id int);
INSERT INTO "odd ""schema"""."select" VALUES (1);
CREATE TABLE "UPPER" ("User" text);
INSERT INTO "UPPER" VALUES ('x');

-- Partitions and heirs.
CREATE TABLE events (id int, at date, kind mood) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE events_new (kind mood, extra_gone int, at date, id int);
ALTER TABLE events_new DROP COLUMN extra_gone;
ALTER TABLE events ATTACH PARTITION events_new FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY HASH (kind);
CREATE TABLE events_rest_0 PARTITION OF events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_rest_1 PARTITION OF events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO events SELECT n, date '2025-06-01' + n, (ARRAY['sad', 'ok', 'better'])[n % 3 + 1]::mood FROM generate_series(1, 900) n;
CREATE UNIQUE INDEX ON events (at, id, kind);
CREATE TABLE parent (id int, note text);
CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO parent VALUES (1, 'own');
INSERT INTO child VALUES (2, 'heir', 'more');

-- Constraints, indexes, triggers, rules.
CREATE TABLE hens (id int PRIMARY KEY, egg int);
CREATE TABLE eggs (id int PRIMARY KEY, hen int REFERENCES hens DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO hens VALUES (1, 1);
INSERT INTO eggs VALUES (1, 1);
COMMIT;
CREATE TABLE staff (id int PRIMARY KEY, boss int REFERENCES staff);
INSERT INTO staff VALUES (1, 2), (2, NULL);
CREATE TABLE rooms (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO rooms VALUES (1, '[2026-01-01,2026-01-02)'), (1, '[2026-01-02,2026-01-03)');
CREATE TABLE lax (id int UNIQUE NULLS NOT DISTINCT, boss int, note text CHECK (untidy(note)));
INSERT INTO lax VALUES (-1, 99, 'breaks both');
ALTER TABLE lax ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
ALTER TABLE lax ADD CONSTRAINT has_boss FOREIGN KEY (boss) REFERENCES staff NOT VALID;
CREATE INDEX lax_tidy ON lax (tidy(note)) INCLUDE (id) WHERE boss IS NOT NULL;
CREATE INDEX texts_note ON texts USING hash (note);
ALTER TABLE lax ALTER id SET NOT NULL;
ALTER TABLE lax REPLICA IDENTITY USING INDEX lax_id_key;
ALTER TABLE texts REPLICA IDENTITY FULL;
CREATE STATISTICS lax_statistics (dependencies, mcv) ON id, boss FROM lax;
ALTER TABLE lax ALTER boss SET STATISTICS 500;
CREATE TABLE watched (id int PRIMARY KEY, note text) WITH (fillfactor = 70, autovacuum_enabled = false);
INSERT INTO watched VALUES (1, 'as it was');
CREATE TRIGGER a_refuse BEFORE INSERT ON watched FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER b_meddle BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TRIGGER c_always AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE watched ENABLE ALWAYS TRIGGER c_always;
ALTER TABLE watched ENABLE REPLICA TRIGGER b_meddle;
ALTER TABLE watched DISABLE TRIGGER a_refuse;
CREATE RULE no_delete AS ON DELETE TO watched DO INSTEAD NOTHING;
ALTER TABLE watched DISABLE RULE no_delete;

-- Views.
CREATE VIEW grown AS SELECT id, at FROM events WHERE at > '2026-01-01' WITH CHECK OPTION;
CREATE RECURSIVE VIEW bosses (id) AS SELECT id FROM staff WHERE boss IS NULL UNION ALL SELECT s.id FROM staff s JOIN bosses b ON b.id = s.boss;
CREATE MATERIALIZED VIEW filled AS SELECT count(*) AS n FROM events;
CREATE MATERIALIZED VIEW of_filled AS SELECT n + 1 AS n FROM filled;
CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS n WITH NO DATA;
CREATE UNIQUE INDEX ON of_filled (n);

-- Rows behind policies: the superuser sees them; who would not is refused.
CREATE TABLE guarded (id int PRIMARY KEY, owner name);
INSERT INTO guarded VALUES (1, 'objects_owner'), (2, 'somebody');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON guarded FOR SELECT TO objects_owner USING (owner = current_user);

-- Kinds of tables.
CREATE UNLOGGED TABLE unlogged (id int);
INSERT INTO unlogged VALUES (1);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere OPTIONS (host 'h');
CREATE USER MAPPING FOR objects_owner SERVER far OPTIONS (user 'u', password 'secret');
CREATE FOREIGN TABLE remote (id int) SERVER far;
CREATE TABLE typed OF place;
INSERT INTO typed VALUES ('s', '{}', '(1,1)');

-- Large objects.
SELECT lo_from_bytea(700001, decode(repeat('00ff0d0a', 3000), 'hex')), lo_from_bytea(700002, ''),
       lo_from_bytea(700003, 'x'), lo_create(700004);
SELECT lo_put(700003, 5000000, '\x01');
ALTER LARGE OBJECT 700001 OWNER TO objects_owner;
GRANT SELECT ON LARGE OBJECT 700001 TO objects_reader WITH GRANT OPTION;
COMMENT ON LARGE OBJECT 700002 IS E'empty,\tnot nothing';

-- Owners, privileges, comments, what stands for the database.
ALTER TABLE hens OWNER TO objects_owner;
GRANT SELECT (id), UPDATE (egg) ON hens TO objects_reader;
GRANT USAGE ON SCHEMA app TO objects_reader;
REVOKE EXECUTE ON FUNCTION tidy FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE objects_owner IN SCHEMA app GRANT SELECT ON TABLES TO objects_reader;
COMMENT ON TABLE hens IS 'It was first, wasn''t it?';
COMMENT ON COLUMN hens.egg IS E'two\nlines \\.';
COMMENT ON CONSTRAINT positive ON lax IS 'in vain';
COMMENT ON TYPE mood IS '☃';
CREATE PUBLICATION one_table FOR TABLE texts (id, note) WHERE (id > 1);
CREATE PUBLICATION schema_wide FOR TABLES IN SCHEMA app;
CREATE EVENT TRIGGER stay_out ON ddl_command_end EXECUTE FUNCTION stay_out();
ALTER EVENT TRIGGER stay_out DISABLE;
