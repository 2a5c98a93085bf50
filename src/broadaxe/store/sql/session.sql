-- name: session_facts (SELECT session): Reads what a start checks: version, time, time zone, read-only.
SELECT current_setting('server_version_num')::integer, clock_timestamp(), current_setting('TimeZone'),
       current_setting('transaction_read_only')::boolean, pg_is_in_recovery()

-- name: server_recovery (SELECT session): When the server recovered from a crash, which throws away its statistics.
SELECT stats_reset FROM pg_stat_wal

-- name: transaction_wrote (SELECT transaction): Says whether one of these rows is as a transaction left it.
SELECT EXISTS (SELECT FROM task WHERE id = ANY ($1::uuid[]) AND xmin = $2::text::xid8::xid)
    OR EXISTS (SELECT FROM run WHERE id = ANY ($1::uuid[]) AND xmin = $2::text::xid8::xid)
    OR EXISTS (SELECT FROM user_event WHERE id = ANY ($1::uuid[]) AND xmin = $2::text::xid8::xid)
