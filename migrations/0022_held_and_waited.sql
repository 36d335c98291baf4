-- A comment is answered by one at a time: whoever has taken it last, until then. Beside it, what was shown
-- at it last: its reactions are given once each.
alter table comments add column epoch BIGINT not null default 0;
alter table comments add column held_until BIGINT not null default 0;
alter table comments add column shown TEXT;

-- Pauses that others ask for use up patience, and are no tries.
alter table runs add column rested BIGINT not null default 0;
alter table jobs add column rested BIGINT not null default 0;
