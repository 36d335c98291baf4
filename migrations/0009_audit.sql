-- Who asked for what, by which way, and what came of it: one row for each command, button and call that
-- asks for a change, whether it was obeyed or not.

create table audit (
    repository_id BIGINT not null references repositories (id),
    -- What is asked for twice under one cause is done once.
    cause TEXT not null,
    at BIGINT not null,
    actor TEXT not null,
    route TEXT not null,
    asked TEXT not null,
    decision TEXT not null check (decision in ('accepted', 'partly', 'refused')),
    because TEXT not null,
    pull BIGINT,
    head_sha TEXT,
    primary key (repository_id, cause)
);
create index audit_pull on audit (repository_id, pull, at);
create index audit_at on audit (at);

-- The runs that it made, or asked to end.
create table audit_runs (
    run_id TEXT not null,
    repository_id BIGINT not null,
    cause TEXT not null,
    primary key (run_id, repository_id, cause),
    foreign key (repository_id, cause) references audit (repository_id, cause) on delete cascade
);
create index audit_runs_cause on audit_runs (repository_id, cause);

-- Connectors that are to end as soon as their run is planned, if it has them.
create table early_cancels (
    run_id TEXT not null references runs (id) on delete cascade,
    connector TEXT not null,
    why TEXT not null,
    primary key (run_id, connector)
);
