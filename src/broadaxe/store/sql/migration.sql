-- name: migration_table (CREATE schema_migration): Makes the table of applied migrations.
CREATE TABLE IF NOT EXISTS schema_migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: migration_lock (SELECT schema_migration): Waits for other processes that migrate.
SELECT pg_advisory_lock($1::bigint)

-- name: migration_unlock (SELECT schema_migration): Lets other processes migrate.
SELECT pg_advisory_unlock($1::bigint)

-- name: migration_exists (SELECT schema_migration): Says whether this database was ever migrated.
SELECT to_regclass('schema_migration') IS NOT NULL

-- name: migration_list (SELECT schema_migration): Lists the applied migrations.
SELECT version, name, checksum FROM schema_migration ORDER BY version

-- name: migration_add (INSERT schema_migration): Notes that a migration was applied.
INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)
