-- name: session_facts (SELECT session): Reads what a start checks: version, time, time zone, read-only.
SELECT current_setting('server_version_num')::integer, clock_timestamp(), current_setting('TimeZone'),
       current_setting('transaction_read_only')::boolean, pg_is_in_recovery()
