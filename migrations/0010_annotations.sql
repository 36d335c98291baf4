-- Annotations of a check run: GitHub appends what is sent, so each must be sent once. So many were
-- acknowledged; so many are, or are being, sent, since when.

alter table checks add column annotated BIGINT not null default 0;
alter table checks add column annotating BIGINT not null default 0;
alter table checks add column annotating_since BIGINT;
