-- What can't be done for now keeps nothing else waiting.

-- What can't be archived is tried again later and later.
alter table jobs add column archive_at BIGINT not null default 0;
alter table runs add column archive_at BIGINT not null default 0;

-- A value that can't be written back stays, sealed, and is tried again; its secret's lock does not.
alter table rotations add column lets_go BIGINT not null default 0;
