-- name: diagnosis_facts (SELECT session): Reads what `broadaxe doctor` tells about the database.
SELECT current_user::text,
       has_database_privilege(current_database(), 'CREATE, TEMPORARY'),
       current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE'),
       (SELECT count(*) FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p')
          AND NOT pg_has_role(c.relowner, 'USAGE')),
       ARRAY(SELECT extname::text FROM pg_extension ORDER BY extname),
       current_setting('max_connections')::integer,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       pg_encoding_to_char((SELECT encoding FROM pg_database WHERE datname = current_database()))
