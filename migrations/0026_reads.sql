-- What may be asked of GitHub: a purse of points for an installation, shared by all processes; 0 is the
-- App itself.
create table reads (
    installation BIGINT primary key,
    -- When all that was taken is paid for, at a point every so often.
    paid_at BIGINT not null
);
