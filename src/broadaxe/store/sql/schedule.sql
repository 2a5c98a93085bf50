-- Crons, planned runs, the claims of their due times, and pauses of workflows.

-- fragment: cron_columns
c.tenant_id, c.id, c.workflow_id, w.name AS workflow_name, c.expression, c.name, c.method, c.enabled, c.priority,
c.input, c.metadata, c.trace, c.settled_until, c.created_at, c.updated_at

-- fragment: scheduled_columns
s.tenant_id, s.id, s.workflow_id, w.name AS workflow_name, s.trigger_at, s.priority, s.input, s.metadata, s.trace,
s.parent_run_id, s.parent_task_id, s.child_index, s.child_key, s.run_id, s.settled_at, s.skipped, s.created_at,
s.updated_at

-- fragment: of_workflow
JOIN workflow w ON w.tenant_id = $1 AND w.deleted_at IS NULL

-- name: cron_add (INSERT cron): Adds a cron to a workflow that is there.
INSERT INTO cron (tenant_id, id, workflow_id, expression, name, method, enabled, priority, input, metadata, trace,
                  settled_until, created_at, updated_at)
SELECT w.tenant_id, $2, w.id, $4, $5, $6, true, $7, $8, $9, $10, $11, $11, $11
FROM workflow w WHERE w.tenant_id = $1 AND w.name = $3 AND w.deleted_at IS NULL
ON CONFLICT ON CONSTRAINT cron_once DO NOTHING
RETURNING id

-- name: cron_count (SELECT cron): Counts a tenant's crons.
SELECT count(*) FROM cron WHERE tenant_id = $1

-- name: cron_enable (UPDATE cron): Switches a cron on or off; what was due while it was off is noted as skipped.
WITH found AS (
    SELECT tenant_id, id, settled_until FROM cron WHERE tenant_id = $1 AND id = $2 AND enabled <> $3 FOR UPDATE
), noted AS (
    INSERT INTO fire (tenant_id, source_id, due_at, until, reason)
    SELECT tenant_id, id, settled_until + interval '1 microsecond', $4, 4 FROM found
    WHERE $3 AND settled_until < $4
    ON CONFLICT DO NOTHING
)
UPDATE cron c
SET enabled = $3, updated_at = $4,
    settled_until = CASE WHEN $3 THEN greatest(c.settled_until, $4) ELSE c.settled_until END
FROM found f WHERE c.tenant_id = f.tenant_id AND c.id = f.id
RETURNING c.id

-- name: cron_delete (DELETE cron): Deletes a cron that was made through the API.
DELETE FROM cron WHERE tenant_id = $1 AND id = $2 AND method = 1 RETURNING id

-- name: cron_declared_replace (INSERT cron): Makes the declared crons of a workflow those of its newest version.
WITH wanted AS (
    SELECT * FROM unnest($3::uuid[], $4::text[]) AS u (id, expression)
), gone AS (
    DELETE FROM cron c WHERE c.tenant_id = $1 AND c.workflow_id = $2 AND c.method = 0
      AND NOT EXISTS (SELECT FROM wanted WHERE wanted.expression = c.expression)
)
INSERT INTO cron (tenant_id, id, workflow_id, expression, method, enabled, priority, input, metadata, trace,
                  settled_until, created_at, updated_at)
SELECT $1, wanted.id, $2, wanted.expression, 0, true, $5, $6, $7, $8, $9, $9, $9 FROM wanted
ON CONFLICT ON CONSTRAINT cron_once
DO UPDATE SET input = excluded.input, priority = excluded.priority, updated_at = excluded.updated_at

-- name: cron_load_page (SELECT cron): Reads when the crons that are on fire, from an id on.
SELECT c.tenant_id, c.id, c.workflow_id, c.expression, c.settled_until
FROM cron c JOIN workflow w ON w.tenant_id = c.tenant_id AND w.id = c.workflow_id AND w.deleted_at IS NULL
WHERE c.enabled AND (c.tenant_id, c.id) > ($1, $2) ORDER BY c.tenant_id, c.id LIMIT $3

-- name: cron_plans (SELECT cron): Reads when the crons of a workflow fire.
SELECT c.tenant_id, c.id, c.workflow_id, c.expression, c.settled_until
FROM cron c {of_workflow} AND w.id = c.workflow_id
WHERE c.tenant_id = $1 AND c.workflow_id = $2 AND c.enabled

-- name: cron_get_many (SELECT cron): Reads crons.
SELECT {cron_columns}
FROM unnest($1::uuid[], $2::uuid[]) AS u (tenant_id, id)
JOIN cron c ON c.tenant_id = u.tenant_id AND c.id = u.id
JOIN workflow w ON w.tenant_id = c.tenant_id AND w.id = c.workflow_id AND w.deleted_at IS NULL

-- name: scheduled_add (INSERT scheduled_run): Plans runs of a workflow that is there.
INSERT INTO scheduled_run (tenant_id, id, workflow_id, trigger_at, priority, input, metadata, trace, parent_run_id,
                           parent_task_id, child_index, child_key, created_at, updated_at)
SELECT w.tenant_id, u.id, w.id, u.trigger_at, $5, $6, $7, $8, $9, $10, u.child_index, $12, $13, $13
FROM workflow w, unnest($3::uuid[], $4::timestamptz[], $11::integer[]) AS u (id, trigger_at, child_index)
WHERE w.tenant_id = $1 AND w.name = $2 AND w.deleted_at IS NULL
RETURNING id

-- name: scheduled_count (SELECT scheduled_run): Counts a tenant's planned runs that wait.
SELECT count(*) FROM scheduled_run WHERE tenant_id = $1 AND settled_at IS NULL

-- name: scheduled_move (UPDATE scheduled_run): Gives planned runs that wait another time.
UPDATE scheduled_run s SET trigger_at = u.trigger_at, updated_at = $4
FROM unnest($2::uuid[], $3::timestamptz[]) AS u (id, trigger_at)
WHERE s.tenant_id = $1 AND s.id = u.id AND s.settled_at IS NULL
RETURNING s.id

-- name: scheduled_delete (DELETE scheduled_run): Deletes planned runs that wait.
DELETE FROM scheduled_run WHERE tenant_id = $1 AND id = ANY($2::uuid[]) AND settled_at IS NULL RETURNING id

-- name: scheduled_load (SELECT scheduled_run): Reads when planned runs are due, up to a moment, from one on.
SELECT tenant_id, id, workflow_id, trigger_at FROM scheduled_run
WHERE settled_at IS NULL AND trigger_at < $1 AND (trigger_at, id) > ($2, $3)
ORDER BY trigger_at, id LIMIT $4

-- name: scheduled_plans (SELECT scheduled_run): Reads when some planned runs are due.
SELECT tenant_id, id, workflow_id, trigger_at FROM scheduled_run
WHERE tenant_id = $1 AND id = ANY($2::uuid[]) AND settled_at IS NULL

-- name: scheduled_get_many (SELECT scheduled_run): Reads planned runs.
SELECT {scheduled_columns}
FROM unnest($1::uuid[], $2::uuid[]) AS u (tenant_id, id)
JOIN scheduled_run s ON s.tenant_id = u.tenant_id AND s.id = u.id
JOIN workflow w ON w.tenant_id = s.tenant_id AND w.id = s.workflow_id AND w.deleted_at IS NULL

-- name: fire_claim_batch (INSERT fire): Claims due times of crons that are on, and notes the skipped; returns the claimed runs.
WITH u AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::uuid[], $6::smallint[])
        AS u (tenant_id, source_id, due_at, until, run_id, reason)
), claimed AS (
    INSERT INTO fire (tenant_id, source_id, due_at, until, run_id, reason)
    SELECT u.* FROM (SELECT u.tenant_id, u.source_id, u.due_at, u.until, u.run_id, u.reason FROM u) u
    JOIN cron c ON c.tenant_id = u.tenant_id AND c.id = u.source_id AND c.enabled
    ON CONFLICT DO NOTHING
    RETURNING run_id
), marked AS (
    UPDATE cron c SET settled_until = m.until
    FROM (SELECT tenant_id, source_id, max(until) AS until FROM u GROUP BY tenant_id, source_id) m
    WHERE c.tenant_id = m.tenant_id AND c.id = m.source_id AND c.settled_until < m.until AND c.enabled
)
SELECT run_id FROM claimed WHERE run_id IS NOT NULL

-- name: scheduled_claim_batch (UPDATE scheduled_run): Settles planned runs that wait for that very moment; returns those with a run.
UPDATE scheduled_run s SET settled_at = $6, run_id = u.run_id, skipped = u.reason
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::smallint[])
    AS u (tenant_id, id, trigger_at, run_id, reason)
WHERE s.tenant_id = u.tenant_id AND s.id = u.id AND s.trigger_at = u.trigger_at AND s.settled_at IS NULL
RETURNING s.run_id

-- name: fire_withdraw (UPDATE fire): Notes due times whose runs were not started after all.
UPDATE fire f SET run_id = NULL, reason = $4
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS u (tenant_id, source_id, run_id)
WHERE f.tenant_id = u.tenant_id AND f.source_id = u.source_id AND f.run_id = u.run_id

-- name: scheduled_withdraw (UPDATE scheduled_run): Notes planned runs that were not started after all.
UPDATE scheduled_run s SET run_id = NULL, skipped = $4
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS u (tenant_id, source_id, run_id)
WHERE s.tenant_id = u.tenant_id AND s.id = u.source_id AND s.run_id = u.run_id

-- name: fire_prune (DELETE fire): Deletes what is known of old due times.
DELETE FROM fire WHERE ctid = ANY (ARRAY(SELECT ctid FROM fire WHERE due_at < $1 LIMIT $2)) RETURNING 1

-- name: scheduled_prune (DELETE scheduled_run): Deletes planned runs that were dealt with long ago.
DELETE FROM scheduled_run
WHERE ctid = ANY (ARRAY(SELECT ctid FROM scheduled_run WHERE settled_at < $1 LIMIT $2)) RETURNING 1

-- name: pause_load (SELECT workflow): Reads the workflows that are paused, or were.
SELECT tenant_id, id, paused_at, pause_ttl, pause_crons, pause_scheduled, resumed_at FROM workflow
WHERE paused_at IS NOT NULL OR resumed_at IS NOT NULL

-- name: pause_get (SELECT workflow): Reads whether a workflow is paused.
SELECT tenant_id, id, paused_at, pause_ttl, pause_crons, pause_scheduled, resumed_at FROM workflow
WHERE tenant_id = $1 AND id = $2

-- name: pause_set (UPDATE workflow): Pauses a workflow, or changes how it is paused.
UPDATE workflow SET paused_at = coalesce(paused_at, $3), pause_ttl = $4, pause_crons = $5, pause_scheduled = $6,
                    updated_at = $3
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING id

-- name: pause_end (UPDATE workflow): Resumes a workflow.
UPDATE workflow SET resumed_at = CASE WHEN paused_at IS NULL THEN resumed_at ELSE $3 END, paused_at = NULL,
                    updated_at = $3
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING id

-- name: workflow_delete (UPDATE workflow): Deletes a workflow; its runs stay.
WITH found AS (
    UPDATE workflow SET deleted_at = $3, updated_at = $3, paused_at = NULL
    WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING tenant_id, id, name
), crons AS (
    DELETE FROM cron c USING found f WHERE c.tenant_id = f.tenant_id AND c.workflow_id = f.id
), planned AS (
    DELETE FROM scheduled_run s USING found f
    WHERE s.tenant_id = f.tenant_id AND s.workflow_id = f.id AND s.settled_at IS NULL
)
SELECT name FROM found
