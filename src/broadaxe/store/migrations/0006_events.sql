-- User events, the filters that decide what they start, and idempotency keys.

CREATE TABLE user_event (
    at        timestamptz NOT NULL,
    priority  smallint,
    tenant_id uuid NOT NULL,
    id        uuid NOT NULL,
    trace     bytea NOT NULL,
    key       text NOT NULL,
    scope     text,
    payload   bytea NOT NULL,
    metadata  bytea NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);

-- Key and scope in a few bytes, since an index takes no long texts.
CREATE FUNCTION event_place(key text, scope text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT hashtextextended(key, hashtextextended(scope, 0)) $$;
-- For conditions that consider events of the past. Events without a scope are not in it and cost nothing.
CREATE INDEX user_event_place ON user_event (tenant_id, event_place(key, scope), id) WHERE scope IS NOT NULL;

-- Which runs an event started, and by which filters.
CREATE TABLE event_run (
    tenant_id uuid NOT NULL,
    event_id  uuid NOT NULL,
    run_id    uuid NOT NULL,
    filter_id uuid,
    PRIMARY KEY (tenant_id, event_id, run_id)
) PARTITION BY RANGE (event_id);

-- Expressions that failed, so that an event did not start a run.
CREATE TABLE event_failure (
    source      smallint NOT NULL,
    tenant_id   uuid NOT NULL,
    event_id    uuid NOT NULL,
    workflow_id uuid NOT NULL,
    filter_id   uuid,
    message     bytea NOT NULL,
    CONSTRAINT event_failure_source_known CHECK (source IN (1, 2))
) PARTITION BY RANGE (event_id);
CREATE INDEX event_failure_event ON event_failure (event_id);

CREATE TABLE event_filter (
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    declared    boolean NOT NULL,
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    workflow_id uuid NOT NULL,
    scope       text NOT NULL,
    expression  text NOT NULL,
    payload     bytea NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflow (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX event_filter_workflow ON event_filter (tenant_id, workflow_id);

CREATE TABLE idempotency_key (
    expires_at timestamptz NOT NULL,
    until_end  boolean NOT NULL,
    tenant_id  uuid NOT NULL,
    run_id     uuid NOT NULL,
    key        text NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
-- The end of a run frees its key.
CREATE INDEX idempotency_key_run ON idempotency_key (run_id) WHERE until_end;
CREATE INDEX idempotency_key_expiry ON idempotency_key (expires_at);

-- Whether readers see a run, when they are to see a share of runs only (of 65,536; NULL = all).
-- The last two bytes of an id are random.
CREATE FUNCTION run_kept(id uuid, below integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT below IS NULL OR get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15) < below
$$;
