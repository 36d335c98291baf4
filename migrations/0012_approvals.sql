-- On whose word a run's code runs, and the commits of strangers that somebody approved.

alter table runs add column trust TEXT not null default 'trusted'
    check (trust in ('trusted', 'approved', 'untrusted'));

-- One row for a commit of a pull request: the last approval of it, and since when it holds no more.
create table approvals (
    repository_id BIGINT not null references repositories (id),
    pull BIGINT not null,
    head_sha TEXT not null,
    -- What it was looked at against: pointed at another base, it is another change.
    base_ref TEXT not null,
    at BIGINT not null,
    actor TEXT not null,
    route TEXT not null,
    -- The audit record's.
    cause TEXT not null,
    -- Absent while it holds.
    void_at BIGINT,
    void_because TEXT,
    primary key (repository_id, pull, head_sha)
);
create index approvals_void on approvals (void_at);

-- Whose results may be used: everybody's (0), or those of one pull request, whose code was approved
-- and is nobody's here.
alter table cache add column scope BIGINT not null default 0;

-- Which heads the events of a fork's pull request named, whether or not they were acted on, and who
-- pushed them, where the event tells that. A later event of the same head says nothing of that.
create table brought (
    repository_id BIGINT not null,
    pull BIGINT not null,
    head_sha TEXT not null,
    at BIGINT not null,
    pusher TEXT,
    primary key (repository_id, pull, head_sha)
);
create index brought_at on brought (at);
