-- The installation for which a delivery that somebody had handled again waits, while less than half is
-- left of what it may ask of GitHub in the hour; null until it had to wait once.
alter table deliveries add column held_for TEXT;

-- With all that a claim asks of a delivery: rows that wait are passed over without reading their bodies,
-- behind which these columns lie.
create index deliveries_claimed on deliveries
    (state, again, received_at, guid, due_at, lease_until, held_for) where state = 'waiting';
drop index deliveries_next;

-- A name that GitHub does not let a check run be called by: it is not asked to again.
alter table checks add column refused_name TEXT;
