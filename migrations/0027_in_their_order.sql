-- Deliveries are handled in the order in which they came, also those of one millisecond: a comment may
-- take back what the one before it asked for. The place is the time at which one came, in microseconds,
-- and one more for each that came in the same; deliveries from before were there before all others.
alter table deliveries add column place BIGINT not null default 0;

create index deliveries_in_order on deliveries
    (state, again, place, received_at, guid, due_at, lease_until, held_for) where state = 'waiting';
drop index deliveries_claimed;
