//! The values that statements are given.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{Arguments as _, Database, Encode, Type};

use crate::domain::ids::{CheckId, JobId, RunId, WorkerId};
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::time::Timestamp;

/// The values of a statement, in the order of its placeholders.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::arg::Arg::from($value)),*] };
}

/// A value for a placeholder.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Bytes),
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

/// GitHub's ids fit; a number beyond them matches no row.
impl From<u64> for Arg {
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<Timestamp> for Arg {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_millis()))
    }
}

impl From<Duration> for Arg {
    fn from(value: Duration) -> Self {
        Self::Int(Some(i64::try_from(value.as_millis()).unwrap_or(i64::MAX / 4)))
    }
}

/// `PostgreSQL`'s text can't hold NUL, which a webhook's JSON can.
impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(Some(if value.contains('\0') { value.replace('\0', "\u{fffd}") } else { value }))
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl From<Bytes> for Arg {
    fn from(value: Bytes) -> Self {
        Self::Bytes(value)
    }
}

macro_rules! printed_args {
    ($($name:ident),+) => {$(
        impl From<$name> for Arg {
            fn from(value: $name) -> Self {
                Self::Text(Some(value.to_string()))
            }
        }
        impl From<&$name> for Arg {
            fn from(value: &$name) -> Self {
                Self::Text(Some(value.to_string()))
            }
        }
    )+};
}

printed_args!(CheckId, JobId, RunId, WorkerId, ConnectorName, RepoName, Sha, StepId);

macro_rules! optional_args {
    ($($inner:ty => $variant:ident),+) => {$(
        impl From<Option<$inner>> for Arg {
            fn from(value: Option<$inner>) -> Self {
                value.map_or(Self::$variant(None), Into::into)
            }
        }
    )+};
}

optional_args!(i64 => Int, u64 => Int, Timestamp => Int, String => Text, &str => Text, RunId => Text, &Sha => Text, &RepoName => Text);

/// The driver's own form of the values.
pub(super) fn bind<D: Database>(args: Vec<Arg>) -> Result<D::Arguments, sqlx::Error>
where
    for<'t> Option<i64>: Encode<'t, D> + Type<D>,
    for<'t> Option<String>: Encode<'t, D> + Type<D>,
    for<'t> &'t [u8]: Encode<'t, D> + Type<D>,
{
    let mut bound = D::Arguments::default();
    bound.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(value),
            Arg::Text(value) => bound.add(value),
            Arg::Bytes(value) => bound.add(value.as_ref()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}
