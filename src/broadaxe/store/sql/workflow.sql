-- name: workflow_upsert (INSERT workflow): Makes a workflow of this name or locks the one that is there.
INSERT INTO workflow (tenant_id, id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (tenant_id, name) DO UPDATE SET updated_at = excluded.updated_at, deleted_at = NULL
RETURNING id

-- name: workflow_version_newest (SELECT workflow_version): Reads the newest version of a workflow.
SELECT workflow_id, id, ordinal, checksum, definition, created_at FROM workflow_version
WHERE tenant_id = $1 AND workflow_id = $2 ORDER BY ordinal DESC LIMIT 1

-- name: workflow_version_add (INSERT workflow_version): Adds a version.
INSERT INTO workflow_version (tenant_id, workflow_id, id, ordinal, checksum, definition, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: workflow_version_by_name (SELECT workflow_version): Reads the newest version of the workflow of a name.
SELECT v.workflow_id, v.id, v.ordinal, v.checksum, v.definition, v.created_at
FROM workflow w JOIN workflow_version v ON v.tenant_id = w.tenant_id AND v.workflow_id = w.id
WHERE w.tenant_id = $1 AND w.name = $2 AND w.deleted_at IS NULL
ORDER BY v.ordinal DESC LIMIT 1

-- name: workflow_version_get (SELECT workflow_version): Reads one version.
SELECT workflow_id, id, ordinal, checksum, definition, created_at FROM workflow_version
WHERE tenant_id = $1 AND id = $2
