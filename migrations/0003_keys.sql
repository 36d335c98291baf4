-- What pipelines say of their jobs: the lock of which one holder at a time works, and whether a new
-- head ends them.

-- `<repository id>/<lock>`: locks are a repository's own.
alter table jobs add column lock_key TEXT;
alter table jobs add column supersede BIGINT not null default 1;

create index jobs_lock_line on jobs (lock_key, created_at) where lock_key is not null and state <> 'concluded';
-- The claim looks before it takes; this is for two that looked at the same time.
create unique index jobs_lock_held on jobs (lock_key) where lock_key is not null and state = 'running';
