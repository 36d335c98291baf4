-- Default branches, their schedules, and repositories that the App has no access to any more.

-- Why; null: it has.
alter table repositories add column withdrawn TEXT;

-- The repository's name when the run was made: its objects stand under it, whatever it is called later.
alter table runs add column kept_under TEXT;
update runs set kept_under = (select name from repositories where repositories.id = runs.repository_id);

-- A repository's default branch as it was last looked at.
create table branches (
    repository_id BIGINT primary key references repositories (id),
    name TEXT not null,
    head_sha TEXT not null,
    -- What its repository file says of schedules: the last that could be read, as JSON.
    schedules TEXT not null,
    -- Why they could not be read, if they could not.
    problem TEXT,
    -- When it is looked at again.
    look_at BIGINT not null
);

-- Due times of schedules, each with the run that was made of it; the first of a schedule has none: it
-- is when the schedule was first seen.
create table due_times (
    repository_id BIGINT not null references repositories (id),
    schedule TEXT not null,
    due_at BIGINT not null,
    run_id TEXT,
    primary key (repository_id, schedule, due_at)
);
