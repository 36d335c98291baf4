-- Deliveries that came within one millisecond are handled in the order in which they came, too: a comment
-- may take back what the one before it asked for.
alter table deliveries add column place BIGINT not null default 0;

create index deliveries_in_order on deliveries
    (state, again, received_at, place, guid, due_at, lease_until, held_for) where state = 'waiting';
drop index deliveries_claimed;
