-- Until when a check run is not asked again to be called by the name that GitHub refused; null: for good.
alter table checks add column refused_name_until BIGINT;

-- Runs of merge groups, to find those of which nothing is heard any more.
create index runs_of_groups on runs (concluded_at)
    where pull is null and triggered_by not in ('push', 'schedule');
