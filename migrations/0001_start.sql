-- One text for SQLite and PostgreSQL. What both accept and mean alike:
--   TEXT, BIGINT (flags are 0 and 1), BYTEA (SQLite has no such type and then keeps blobs as they are);
--   times are BIGINT milliseconds since 1970 UTC; JSON is TEXT; states are words, checked.
-- `revision = -1` marks rows changed in a transaction that has not learnt its revision yet; it is never committed.

create table repositories (
    id BIGINT primary key,
    name TEXT not null,
    installation BIGINT not null,
    private BIGINT not null,
    seen_at BIGINT not null,
    last_run_at BIGINT
);
create index repositories_name on repositories (lower(name));

create table deliveries (
    guid TEXT primary key,
    event TEXT not null,
    action TEXT,
    received_at BIGINT not null,
    state TEXT not null default 'waiting' check (state in ('waiting', 'done', 'ignored', 'refused')),
    due_at BIGINT not null,
    lease_until BIGINT not null default 0,
    epoch BIGINT not null default 0,
    attempt BIGINT not null default 0,
    note TEXT,
    handled_at BIGINT,
    body BYTEA not null
);
create index deliveries_waiting on deliveries (state, received_at, guid) where state = 'waiting';
create index deliveries_received on deliveries (received_at, event, state);

create table pulls (
    repository_id BIGINT not null references repositories (id),
    number BIGINT not null,
    facts TEXT not null,
    generation BIGINT not null,
    seen_at BIGINT not null,
    primary key (repository_id, number)
);
create index pulls_seen on pulls (repository_id, seen_at);

create table runs (
    id TEXT primary key,
    repository_id BIGINT not null references repositories (id),
    pull BIGINT,
    title TEXT not null,
    head_ref TEXT not null,
    base_ref TEXT not null,
    head_sha TEXT not null,
    base_sha TEXT not null,
    merge_base TEXT,
    triggered_by TEXT not null,
    cause TEXT not null,
    actor TEXT not null,
    scope TEXT not null,
    priority BIGINT not null,
    state TEXT not null check (state in ('queued', 'running', 'concluded')),
    conclusion TEXT check (conclusion in ('success', 'failure', 'action_required', 'cancelled')),
    problem TEXT,
    selection TEXT,
    created_at BIGINT not null,
    started_at BIGINT,
    concluded_at BIGINT,
    superseded_by TEXT,
    cancel TEXT,
    revision BIGINT not null default 1,
    planned_at BIGINT,
    worker TEXT,
    epoch BIGINT not null default 0,
    lease_until BIGINT not null default 0,
    due_at BIGINT not null default 0,
    attempt BIGINT not null default 0,
    planning_error TEXT,
    archived_at BIGINT,
    check ((state = 'concluded') = (conclusion is not null)),
    check ((state = 'concluded') = (concluded_at is not null))
);
create unique index runs_cause
    on runs (repository_id, coalesce(pull, 0), base_sha, head_sha, triggered_by, cause);
create index runs_repository on runs (repository_id, id);
create index runs_pull on runs (repository_id, pull, id);
create index runs_head on runs (head_sha, id);
create index runs_unplanned on runs (priority, created_at) where planned_at is null and state = 'queued';
create index runs_unconcluded on runs (repository_id, pull) where state <> 'concluded';
create index runs_unarchived on runs (concluded_at) where archived_at is null and state = 'concluded';
create index runs_concluded on runs (concluded_at);
create index runs_counted on runs (triggered_by, conclusion, state);

create table jobs (
    id TEXT primary key,
    run_id TEXT not null references runs (id) on delete cascade,
    connector TEXT not null,
    change_kind TEXT not null,
    reasons TEXT not null,
    plan TEXT not null,
    position BIGINT not null,
    priority BIGINT not null,
    state TEXT not null default 'queued' check (state in ('queued', 'running', 'concluded')),
    conclusion TEXT check (conclusion in ('success', 'failure', 'action_required', 'cancelled')),
    worker TEXT,
    epoch BIGINT not null default 0,
    lease_until BIGINT not null default 0,
    attempt BIGINT not null default 0,
    created_at BIGINT not null,
    started_at BIGINT,
    concluded_at BIGINT,
    cancel TEXT,
    revision BIGINT not null,
    archived_at BIGINT,
    unique (run_id, connector),
    check ((state = 'concluded') = (conclusion is not null)),
    check ((state = 'concluded') = (concluded_at is not null))
);
create index jobs_queued on jobs (priority, created_at, position) where state = 'queued';
create index jobs_running on jobs (lease_until) where state = 'running';
create index jobs_unarchived on jobs (concluded_at) where archived_at is null and state = 'concluded';

create table steps (
    job_id TEXT not null references jobs (id) on delete cascade,
    id TEXT not null,
    run_id TEXT not null,
    position BIGINT not null,
    state TEXT not null check (state in ('waiting', 'running', 'finished', 'skipped')),
    outcome TEXT check (outcome in ('succeeded', 'failed', 'timed_out', 'errored', 'cancelled')),
    skipped TEXT,
    started_at BIGINT,
    finished_at BIGINT,
    attempt BIGINT not null,
    queued_at BIGINT not null,
    reason TEXT,
    facts TEXT not null,
    revision BIGINT not null,
    primary key (job_id, id),
    check ((state = 'finished') = (outcome is not null)),
    check ((state = 'skipped') = (skipped is not null))
);
create index steps_run on steps (run_id);
create index steps_counted on steps (state, outcome);

-- A head commit and how far GitHub has been told about it.
create table heads (
    repository_id BIGINT not null references repositories (id),
    head_sha TEXT not null,
    version BIGINT not null default 1,
    published_version BIGINT not null default 0,
    not_before BIGINT not null default 0,
    worker TEXT,
    epoch BIGINT not null default 0,
    lease_until BIGINT not null default 0,
    term BIGINT not null default 0,
    error TEXT,
    primary key (repository_id, head_sha)
);
create index heads_due on heads (not_before) where version > published_version;

create table checks (
    id TEXT primary key,
    repository_id BIGINT not null,
    head_sha TEXT not null,
    name TEXT not null,
    occasion TEXT not null,
    github_id BIGINT,
    digest TEXT,
    completed BIGINT not null,
    created_at BIGINT not null,
    foreign key (repository_id, head_sha) references heads (repository_id, head_sha) on delete cascade
);
create index checks_head on checks (repository_id, head_sha, created_at, id);
create index checks_github on checks (repository_id, github_id);

create table comments (
    repository_id BIGINT not null,
    comment BIGINT not null,
    reply BIGINT,
    settled BIGINT not null,
    seen_at BIGINT not null,
    primary key (repository_id, comment)
);
create index comments_seen on comments (seen_at);

create table leases (
    name TEXT primary key,
    worker TEXT not null,
    lease_until BIGINT not null
);
