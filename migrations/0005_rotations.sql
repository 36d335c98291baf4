-- Secrets that connectors renew: which jobs may renew which, who of them has it, and what was
-- renewed, sealed, until it is written back.

create table job_secrets (
    job_id TEXT not null references jobs (id) on delete cascade,
    secret TEXT not null,
    primary key (job_id, secret)
);
create index job_secrets_secret on job_secrets (secret);

-- One job at a time. A row is there from the claim until the job has ended and what it renewed is
-- written back: it dies with no lease, and with no job.
create table secret_locks (
    secret TEXT primary key,
    job_id TEXT not null
);
create index secret_locks_job on secret_locks (job_id);

create table rotations (
    secret TEXT not null,
    -- Of the job that renewed it, which may be forgotten before this is.
    job_id TEXT not null,
    -- As the repository file calls it, and by what its provider knows it.
    name TEXT not null,
    connector TEXT not null,
    file TEXT not null,
    -- Under CHECKVALVE_KEY; nothing once it is written back.
    sealed BYTEA,
    -- Raised by each new value.
    version BIGINT not null default 1,
    since BIGINT not null,
    -- What was done, or why it could not be yet.
    told TEXT,
    error TEXT,
    worker TEXT,
    epoch BIGINT not null default 0,
    lease_until BIGINT not null default 0,
    due_at BIGINT not null default 0,
    attempt BIGINT not null default 0,
    primary key (secret, job_id)
);
create index rotations_job on rotations (job_id);
create index rotations_pending on rotations (due_at) where sealed is not null;
