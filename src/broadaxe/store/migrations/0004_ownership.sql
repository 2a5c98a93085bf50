-- Who schedules, and what other processes tell the owner.

CREATE TABLE lease (
    epoch       bigint NOT NULL,
    acquired_at timestamptz NOT NULL,
    released_at timestamptz,
    engine_id   uuid NOT NULL,
    -- To whom its owner gives it up.
    offered_to  uuid,
    partition   smallint PRIMARY KEY
) WITH (fillfactor = 50);

-- Apart from the lease, whose row every group commit locks: noting progress must not wait for commits.
CREATE TABLE span_mark (
    confirmed_until timestamptz,
    partition       smallint PRIMARY KEY
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500);

-- For the owner of a tenant (partition) or for one engine.
CREATE TABLE message (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posted_at timestamptz NOT NULL DEFAULT now(),
    kind      smallint NOT NULL,
    partition smallint,
    tenant_id uuid NOT NULL,
    engine_id uuid,
    trace     bytea,
    body      bytea NOT NULL,
    CONSTRAINT message_addressed CHECK ((partition IS NULL) <> (engine_id IS NULL))
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
