-- What GitHub's delivery log has and we have not; who had deliveries handled again; which head of a
-- pull request had its own run.

-- How far the log was read. Times are GitHub's.
create table recovery (
    name TEXT primary key,
    -- What was acknowledged before was acknowledged by another database than this one.
    since BIGINT not null,
    -- All that was delivered before this was looked at.
    read_to BIGINT not null,
    -- A look that is under way: where it began, and the page that is next.
    reading_from BIGINT,
    next_page TEXT,
    -- Calls that all of it has cost.
    calls BIGINT not null default 0
);

-- Events that the log knows and that never came.
create table missing (
    guid TEXT primary key,
    -- GitHub's number of its newest attempt, by which it is asked for.
    attempt BIGINT not null,
    event TEXT not null,
    action TEXT,
    -- GitHub's time.
    delivered_at BIGINT not null,
    -- Why the attempt failed, as the log says it.
    failure TEXT not null,
    seen_at BIGINT not null,
    state TEXT not null default 'missing' check (state in ('missing', 'came', 'given_up')),
    asked BIGINT not null default 0,
    due_at BIGINT not null,
    note TEXT
);
create index missing_due on missing (due_at) where state = 'missing';
create index missing_seen on missing (seen_at);

-- By which version of handling it was handled; absent: the first.
alter table deliveries add column handled_by BIGINT;
-- The headers that GitHub sent, but for the signatures; JSON.
alter table deliveries add column headers TEXT;

create table handled_again (
    id TEXT primary key,
    guid TEXT not null,
    at BIGINT not null,
    actor TEXT not null,
    route TEXT not null
);
create index handled_again_guid on handled_again (guid, at);
create index handled_again_at on handled_again (at);

-- The head for which the pull request's own run was made: runs are forgotten, this is not.
alter table pulls add column own_head TEXT;
update pulls set own_head = (
    select r.head_sha from runs r
    where r.repository_id = pulls.repository_id and r.pull = pulls.number
        and r.triggered_by = 'pull_request'
    order by r.id desc limit 1
);
