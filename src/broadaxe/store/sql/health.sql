-- name: health_tables (SELECT health): Reads what the server counted about our tables, partitions added up.
SELECT coalesce(pg_partition_root(t.relid), t.relid)::regclass::text AS name, sum(t.n_live_tup)::bigint,
       sum(t.n_dead_tup)::bigint, sum(io.heap_blks_hit)::bigint, sum(io.heap_blks_read)::bigint,
       extract(epoch FROM now() - max(t.last_autovacuum))::float8
FROM pg_stat_user_tables t JOIN pg_statio_user_tables io USING (relid)
WHERE t.schemaname = current_schema()
GROUP BY 1 ORDER BY 1 LIMIT 64

-- name: health_activity (SELECT health): Counts statements and vacuums of this database that run for long.
SELECT count(*) FILTER (WHERE backend_type = 'client backend' AND state = 'active' AND query_start < now() - $1::interval),
       count(*) FILTER (WHERE vacuuming AND xact_start < now() - $2::interval),
       count(*) FILTER (WHERE vacuuming)
FROM (SELECT a.*, EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid) AS vacuuming
      FROM pg_stat_activity a WHERE datname = current_database()) activity
