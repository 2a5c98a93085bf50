-- What readers see of a whole tenant: log lines, and counts over time.

-- fragment: tenant_lines
FROM log_line l
WHERE l.tenant_id = $1 AND l.created_at >= $2 AND l.created_at < $3
  AND ($4::text[] IS NULL OR l.level = ANY ($4))
  AND ($5::text IS NULL OR CASE WHEN position('\x00'::bytea IN l.message) = 0
       THEN position(lower($5) IN lower(convert_from(l.message, 'UTF8'))) > 0
       ELSE position(convert_to($5, 'UTF8') IN l.message) > 0 END)
  AND ($6::uuid[] IS NULL OR l.task_id = ANY ($6))
  AND ($7::uuid[] IS NULL AND $8::uuid[] IS NULL OR EXISTS (
      SELECT FROM task t WHERE t.tenant_id = l.tenant_id AND t.id = l.task_id
        AND ($7::uuid[] IS NULL OR t.workflow_id = ANY ($7)) AND ($8::uuid[] IS NULL OR t.step_id = ANY ($8))))
  AND ($9::integer IS NULL OR l.attempt = $9)

-- fragment: value
coalesce(CASE WHEN pair.key = 'traceparent' THEN engine_traceparent(t.trace, t.run_id) END, {metadata} ->> pair.key)

-- fragment: metadata
CASE WHEN substr(t.metadata, 1, 1) = '\x7b'::bytea AND
          CASE WHEN position('\x5c75'::bytea IN t.metadata) = 0 THEN true
               ELSE regexp_replace(convert_from(t.metadata, 'UTF8'),
                                   '\\u[dD][89abAB][[:xdigit:]][[:xdigit:]]\\u[dD][c-fC-F][[:xdigit:]][[:xdigit:]]', '', 'g')
                    !~ '\\u(0000|[dD][89a-fA-F])' END
     THEN convert_from(t.metadata, 'UTF8')::jsonb END

-- name: view_tenant_logs_oldest (SELECT log_line): Reads log lines of a tenant, oldest first.
SELECT l.tenant_id, l.task_id, l.attempt, l.created_at, l.level, l.message, l.metadata
{tenant_lines} ORDER BY l.created_at LIMIT $10

-- name: view_tenant_logs_newest (SELECT log_line): Reads log lines of a tenant, newest first.
SELECT l.tenant_id, l.task_id, l.attempt, l.created_at, l.level, l.message, l.metadata
{tenant_lines} ORDER BY l.created_at DESC LIMIT $10

-- name: view_log_points (SELECT log_line): Counts log lines by level over time.
SELECT date_bin(make_interval(secs => $10::double precision), l.created_at, $2), l.level, count(*)
{tenant_lines} GROUP BY 1, 2

-- name: view_task_points (SELECT task): Counts tasks that ended well and badly over time; $2 and $3 bound their ids.
SELECT date_bin(make_interval(secs => $6::double precision), t.finished_at, $4), t.state = 10, count(*)
FROM task t
WHERE t.tenant_id = $1 AND t.id >= $2 AND t.id < $3 AND t.finished_at >= $4 AND t.finished_at < $5
  AND (t.state IN (10, 11) OR t.state = 12 AND t.assigned_at IS NULL AND EXISTS (
      SELECT FROM task_note n WHERE n.tenant_id = t.tenant_id AND n.task_id = t.id AND n.task_id >= $2
        AND n.task_id < $3 AND n.attempt = t.attempt AND n.kind = 7))
GROUP BY 1, 2

-- name: view_workflow_live (SELECT task): Counts tasks that are not final by workflow, version, step and state.
SELECT t.workflow_id, t.version_id, t.step_id, t.state, count(*) FROM task t
WHERE t.tenant_id = $1 AND t.state < 10
  AND ($2::uuid[] IS NULL OR t.workflow_id = ANY ($2))
  AND ($3::text[] IS NULL OR EXISTS (
      SELECT FROM unnest($3::text[], $4::text[]) AS pair (key, wanted) WHERE {value} = pair.wanted))
GROUP BY 1, 2, 3, 4
