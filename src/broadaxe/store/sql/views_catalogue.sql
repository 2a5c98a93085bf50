-- What readers see of workflows, workers and tenants.

-- fragment: newest
SELECT w.id AS found_id, w.name, w.created_at AS found_at, w.paused_at IS NOT NULL AS paused, v.workflow_id, v.id, v.ordinal, v.definition, v.created_at
FROM workflow w CROSS JOIN LATERAL (
    SELECT * FROM workflow_version v WHERE v.tenant_id = w.tenant_id AND v.workflow_id = w.id
    ORDER BY v.ordinal DESC LIMIT 1) v
WHERE w.tenant_id = $1 AND w.deleted_at IS NULL

-- name: view_workflow_page (SELECT workflow): Lists workflows with their newest versions, by name.
{newest} AND ($2::text IS NULL OR position(lower($2) IN lower(w.name)) > 0)
ORDER BY w.name LIMIT $3 OFFSET $4

-- name: view_workflow_count (SELECT workflow): Counts workflows.
SELECT count(*) FROM workflow w
WHERE w.tenant_id = $1 AND w.deleted_at IS NULL AND ($2::text IS NULL OR position(lower($2) IN lower(w.name)) > 0)

-- name: view_workflow_get (SELECT workflow): Reads one workflow with its newest version.
{newest} AND w.id = $2

-- name: view_versions (SELECT workflow_version): Lists the versions of a workflow, newest first.
SELECT workflow_id, id, ordinal, definition, created_at FROM workflow_version
WHERE tenant_id = $1 AND workflow_id = $2 ORDER BY ordinal DESC LIMIT $3

-- name: view_versions_by_id (SELECT workflow_version): Reads versions.
SELECT workflow_id, id, ordinal, definition, created_at FROM workflow_version
WHERE tenant_id = $1 AND id = ANY($2::uuid[])

-- name: view_version_of (SELECT workflow_version): Reads one version of one workflow.
SELECT workflow_id, id, ordinal, definition, created_at FROM workflow_version
WHERE tenant_id = $1 AND workflow_id = $2 AND id = $3

-- fragment: worker_columns
tenant_id, id, name, actions, slots, labels, runtime, registered_at, last_heartbeat_at, listening_since, paused,
engine_id

-- name: view_workers (SELECT worker): Lists workers, newest registration first.
SELECT {worker_columns} FROM worker WHERE tenant_id = $1 ORDER BY registered_at DESC, id DESC LIMIT $2

-- name: view_worker (SELECT worker): Reads one worker.
SELECT {worker_columns} FROM worker WHERE tenant_id = $1 AND id = $2

-- name: view_tenant (SELECT tenant): Reads a tenant.
SELECT id, name, slug, created_at, updated_at FROM tenant WHERE id = $1 AND deleted_at IS NULL
