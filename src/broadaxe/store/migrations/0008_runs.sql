-- Runs of several steps. Their tasks have ids that carry the run's time, so all of a run is in one day's partition.

CREATE TABLE run (
    created_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    child_index       integer,
    state             smallint NOT NULL,
    priority          smallint NOT NULL,
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    workflow_id       uuid NOT NULL,
    version_id        uuid NOT NULL,
    parent_task_id    uuid,
    parent_run_id     uuid,
    desired_worker_id uuid,
    trace             bytea NOT NULL,
    metadata          bytea NOT NULL,
    input             bytea NOT NULL,
    child_key         text,
    desired_labels    bytea,
    triggers          bytea,
    -- 3: not over.
    CONSTRAINT run_state_known CHECK (state IN (3, 10, 11, 12)),
    CONSTRAINT run_over CHECK ((state = 3) = (finished_at IS NULL)),
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
-- Take-over reads every run that is not over, oldest first.
CREATE INDEX run_live ON run (id) WHERE finished_at IS NULL;
CREATE INDEX run_parent ON run (parent_task_id) WHERE parent_task_id IS NOT NULL;
CREATE INDEX run_finished ON run USING brin (finished_at) WITH (pages_per_range = 64);

-- What steps wait for. A wait of an older attempt of its step is as good as none.
CREATE TABLE run_wait (
    opened_at timestamptz NOT NULL,
    due_at    timestamptz,
    met_at    timestamptz,
    step      integer NOT NULL,
    item      integer NOT NULL,
    attempt   integer NOT NULL,
    kind      smallint NOT NULL,
    tenant_id uuid NOT NULL,
    run_id    uuid NOT NULL,
    key       text NOT NULL,
    data      bytea,
    CONSTRAINT run_wait_kind_known CHECK (kind IN (1, 2)),
    PRIMARY KEY (run_id, step, item)
) PARTITION BY RANGE (run_id);
