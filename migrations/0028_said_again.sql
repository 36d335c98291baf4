-- How often what a comment was answered turned out otherwise since it was said: it is to be said again.
alter table comments add column amended BIGINT not null default 0;
create index comments_amended on comments (seen_at) where amended > 0;

-- When a reply was begun of which it is not known whether GitHub has it; null if there is none such.
alter table comments add column replying_at BIGINT;
