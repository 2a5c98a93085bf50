-- What can run, and who runs it.

CREATE TABLE workflow (
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    paused_at       timestamptz,
    resumed_at      timestamptz,
    -- Seconds.
    pause_ttl       double precision NOT NULL DEFAULT 0,
    pause_crons     smallint NOT NULL DEFAULT 0,
    pause_scheduled smallint NOT NULL DEFAULT 0,
    id              uuid NOT NULL,
    tenant_id       uuid NOT NULL,
    name            text NOT NULL,
    -- The newest version's event keys, so that all of a tenant's can be read without its definitions.
    event_keys      text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE INDEX workflow_pause ON workflow (tenant_id, id) WHERE paused_at IS NOT NULL OR resumed_at IS NOT NULL;

CREATE TABLE workflow_version (
    created_at  timestamptz NOT NULL,
    ordinal     bigint NOT NULL,
    id          uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    workflow_id uuid NOT NULL,
    checksum    bytea NOT NULL,
    -- A JSON text of the whole definition, as bytes: a text column would refuse what a client may send.
    definition  bytea NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, workflow_id, ordinal),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflow (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE worker (
    registered_at     timestamptz NOT NULL,
    last_heartbeat_at timestamptz,
    -- When the newest session was opened; NULL while there is none.
    listening_since   timestamptz,
    paused            boolean NOT NULL DEFAULT false,
    id                uuid NOT NULL,
    tenant_id         uuid NOT NULL,
    -- The engine that holds the worker's session.
    engine_id         uuid,
    name              text NOT NULL,
    actions           text[] NOT NULL,
    slots             jsonb NOT NULL,
    labels            jsonb NOT NULL,
    runtime           jsonb NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
-- No index on the heartbeat: it changes every few seconds, and without one those updates stay within their page.
