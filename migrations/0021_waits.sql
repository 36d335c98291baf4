-- What may pass by itself is waited out: how often it came to nothing in all, and how often in a row it was
-- refused; of a job also until when, and what for (a run has `due_at` and `planning_error` already).
alter table runs add column tries BIGINT not null default 0;
alter table runs add column refused BIGINT not null default 0;
alter table jobs add column due_at BIGINT not null default 0;
alter table jobs add column tries BIGINT not null default 0;
alter table jobs add column refused BIGINT not null default 0;
alter table jobs add column waits TEXT;

-- How connectors stand on the default branch: its runs are few among those of pull requests.
create index runs_of_branch on runs (repository_id, id) where triggered_by in ('push', 'schedule');
