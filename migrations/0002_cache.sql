-- Results that later runs may use, and which of them a run may.

alter table runs add column reuse TEXT not null default 'all' check (reuse in ('never', 'success', 'all'));

create table cache (
    key TEXT primary key,
    repository_id BIGINT not null references repositories (id),
    connector TEXT not null,
    step TEXT not null,
    -- Where it was worked out; that run may be forgotten by now.
    origin TEXT not null,
    -- Whose objects hold its log and artifacts.
    run_id TEXT not null references runs (id) on delete cascade,
    outcome TEXT not null check (outcome in ('succeeded', 'failed')),
    facts TEXT not null,
    ingredients TEXT not null,
    made_at BIGINT not null
);
create index cache_step on cache (repository_id, connector, step, made_at);
create index cache_run on cache (run_id);
