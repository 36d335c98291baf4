-- Which job is working out which result: others that want the same one wait for it. A row counts
-- for as long as its job is held under that epoch.

create table making (
    key TEXT primary key,
    job_id TEXT not null references jobs (id) on delete cascade,
    epoch BIGINT not null,
    step TEXT not null,
    -- It ended, and left nothing that others can use: those that waited for it go on side by side.
    failed BIGINT not null default 0,
    since BIGINT not null
);
create index making_job on making (job_id);
