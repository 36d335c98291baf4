-- What is handled again goes after what comes now.

alter table deliveries add column again BIGINT not null default 0;
create index deliveries_next on deliveries (state, again, received_at, guid) where state = 'waiting';
drop index deliveries_waiting;
