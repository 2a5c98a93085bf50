-- Who may use the system: tenants, people, tokens.

CREATE TABLE tenant (
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    slug        text NOT NULL UNIQUE
);

CREATE TABLE user_account (
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    id            uuid PRIMARY KEY,
    email         text NOT NULL,
    name          text NOT NULL,
    password_hash text
);
-- One account an address, whatever its case.
CREATE UNIQUE INDEX user_account_email ON user_account (lower(email));

CREATE TABLE tenant_member (
    created_at timestamptz NOT NULL,
    tenant_id  uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    id         uuid NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER')),
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX tenant_member_user ON tenant_member (user_id);

CREATE TABLE api_token (
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name         text NOT NULL
);
CREATE INDEX api_token_tenant ON api_token (tenant_id, created_at);
