-- What may be written to GitHub: one budget for an installation, shared by all processes; and how
-- finely each head is shown for it.

create table budgets (
    installation BIGINT primary key,
    state TEXT not null,
    -- GitHub refused: nobody asks before.
    closed_until BIGINT not null default 0,
    -- Refusals in a row.
    refusals BIGINT not null default 0
);

alter table heads add column detail TEXT;
-- Check runs that are still to be made.
alter table heads add column wanted BIGINT not null default 0;
-- Nothing has changed, and not everything is told yet.
alter table heads add column again_at BIGINT;
create index heads_again on heads (again_at) where again_at is not null;
create index heads_wanted on heads (repository_id) where wanted > 0;

-- When GitHub was first asked to make it; 0: never, so that it can't exist. What a program made
-- that does not know of this may have been sent.
alter table checks add column begun_at BIGINT not null default 1;
alter table checks add column told_at BIGINT;
-- The status or conclusion that GitHub acknowledged.
alter table checks add column shown TEXT;
