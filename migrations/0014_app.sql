-- The App that /setup registered, and what its deliveries may be signed with.

create table apps (
    -- One, or none.
    one BIGINT primary key check (one = 1),
    app_id TEXT not null,
    slug TEXT not null,
    url TEXT not null,
    client_id TEXT not null,
    -- Its private key and its client secret, under CHECKVALVE_KEY.
    sealed BYTEA not null,
    since BIGINT not null
);

-- Who may register it: whoever has the token that a server printed which waits for an App.
create table setup_tokens (
    worker TEXT primary key,
    -- A keyed digest of it.
    mark TEXT not null,
    since BIGINT not null
);

create table webhook_secrets (
    -- A keyed digest. The row outlives its secret: one that was replaced does not count again because
    -- it still stands in a setting.
    mark TEXT primary key,
    state TEXT not null check (state in ('next', 'current', 'previous')),
    -- Under CHECKVALVE_KEY; nothing once it does not count any more.
    sealed BYTEA,
    since BIGINT not null,
    -- Of one that was replaced.
    accepted_until BIGINT,
    -- When a server first accepted it, and when a delivery first came with it.
    heard_at BIGINT,
    seen_at BIGINT
);
create unique index webhook_secrets_next on webhook_secrets (state) where state = 'next';
create unique index webhook_secrets_current on webhook_secrets (state) where state = 'current';
