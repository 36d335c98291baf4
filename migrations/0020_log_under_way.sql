-- The oldest attempt of a look under way, in several passes, whose end was yet to be seen.

alter table recovery add column pending BIGINT;
