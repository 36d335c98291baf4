-- What GitHub shows of a head is compared with what it acknowledged: when next (null: not before it is
-- told something again), when last, and by which mark GitHub says that nothing has changed since.
alter table heads add column compare_at BIGINT default 0;
alter table heads add column compared_at BIGINT not null default 0;
alter table heads add column etag TEXT;
create index heads_compare on heads (compare_at) where compare_at is not null;

-- GitHub has refused something of it since then.
alter table heads add column refused_since BIGINT;

-- Annotations that a check run has of earlier occasions; -1: not counted yet.
alter table checks add column annotated_before BIGINT not null default 0;

-- Merge groups that are gone: other pull requests with their commit are judged without them.
create table ended_groups (
    repository_id BIGINT not null references repositories (id),
    head_sha TEXT not null,
    head_ref TEXT not null,
    ended_at BIGINT not null,
    primary key (repository_id, head_sha, head_ref)
);
create index ended_groups_at on ended_groups (ended_at);

-- What was set right, and how often.
create table mends (
    what TEXT primary key,
    times BIGINT not null
);
