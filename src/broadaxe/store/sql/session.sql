-- name: session_facts (SELECT session): Reads what a start checks: version, time, time zone, read-only.
SELECT current_setting('server_version_num')::integer, clock_timestamp(), current_setting('TimeZone'),
       current_setting('transaction_read_only')::boolean, pg_is_in_recovery()

-- name: server_recovery (SELECT session): When the server recovered from a crash, which throws away its statistics.
SELECT stats_reset FROM pg_stat_wal

-- name: transaction_wrote (SELECT transaction): Says whether one of these rows is as a transaction left it.
WITH mine (id) AS (SELECT $1::text::xid8::xid)
SELECT EXISTS (SELECT FROM task, mine WHERE task.id = ANY ($2::uuid[]) AND task.xmin = mine.id)
    OR EXISTS (SELECT FROM run, mine WHERE run.id = ANY ($2::uuid[]) AND run.xmin = mine.id)
    OR EXISTS (SELECT FROM run_wait w, mine WHERE w.run_id = ANY ($2::uuid[]) AND w.xmin = mine.id)
    OR EXISTS (SELECT FROM user_event e, mine WHERE e.id = ANY ($2::uuid[]) AND e.xmin = mine.id)
    OR EXISTS (SELECT FROM unnest($3::uuid[], $4::timestamptz[]) AS u (task_id, created_at), log_line l, mine
               WHERE l.task_id = u.task_id AND l.created_at = u.created_at AND l.xmin = mine.id)
    OR EXISTS (SELECT FROM unnest($5::uuid[], $6::uuid[], $7::timestamptz[]) AS u (tenant_id, id, due_at), fire f, mine
               WHERE f.tenant_id = u.tenant_id AND f.source_id = u.id AND f.due_at = u.due_at AND f.xmin = mine.id)
    OR EXISTS (SELECT FROM unnest($5::uuid[], $6::uuid[]) AS u (tenant_id, id), scheduled_run s, mine
               WHERE s.tenant_id = u.tenant_id AND s.id = u.id AND s.xmin = mine.id)
