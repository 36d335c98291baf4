//! Control routes.

use std::sync::Arc;

use axum::http::request::Parts;
use bytes::Bytes;

use crate::refusals::{Answer, not_found};
use crate::simulator::Inner;

pub(crate) async fn serve(
    _inner: &Arc<Inner>,
    _parts: &Parts,
    _rest: &str,
    _body: &Bytes,
) -> Answer {
    not_found()
}
