-- Crons, planned runs, and what became of each due time.

CREATE TABLE cron (
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- Every due time up to here was fired or noted as skipped.
    settled_until timestamptz NOT NULL,
    enabled       boolean NOT NULL,
    method        smallint NOT NULL,
    priority      smallint,
    id            uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    workflow_id   uuid NOT NULL,
    expression    text NOT NULL,
    name          text,
    input         bytea NOT NULL,
    metadata      bytea NOT NULL,
    -- Where it was asked for.
    trace         bytea,
    CONSTRAINT cron_method_known CHECK (method IN (0, 1)),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT cron_once UNIQUE NULLS NOT DISTINCT (tenant_id, workflow_id, expression, name),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflow (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE scheduled_run (
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    trigger_at     timestamptz NOT NULL,
    -- When it was dealt with; NULL while it waits.
    settled_at     timestamptz,
    child_index    integer,
    priority       smallint,
    -- Why it got no run.
    skipped        smallint,
    id             uuid NOT NULL,
    tenant_id      uuid NOT NULL,
    workflow_id    uuid NOT NULL,
    run_id         uuid,
    parent_run_id  uuid,
    parent_task_id uuid,
    input          bytea NOT NULL,
    metadata       bytea NOT NULL,
    trace          bytea,
    child_key      text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflow (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX scheduled_run_due ON scheduled_run (trigger_at) WHERE settled_at IS NULL;
CREATE INDEX scheduled_run_settled ON scheduled_run (settled_at) WHERE settled_at IS NOT NULL;

-- What became of the due times of crons: one row a run, one row for a stretch that was skipped.
CREATE TABLE fire (
    due_at    timestamptz NOT NULL,
    -- The last due time that the row is about.
    until     timestamptz NOT NULL,
    reason    smallint,
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    run_id    uuid,
    CONSTRAINT fire_or_skip CHECK ((run_id IS NULL) <> (reason IS NULL)),
    PRIMARY KEY (tenant_id, source_id, due_at)
);
-- Rows come in the order of their times: block ranges find the old ones.
CREATE INDEX fire_due ON fire USING brin (due_at) WITH (pages_per_range = 32);
