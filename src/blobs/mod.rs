//! The object store: a folder, or S3. One contract, two drivers.

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobsUrl {
    /// `file:<folder>`
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`
    S3 { bucket: String, prefix: String },
}

/// Why an object could not be read or written. Everything here is ours, never the connector's.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("`{0}` is no object store: write `file:<folder>` or `s3://<bucket>/<prefix>`")]
    Url(String),
    #[error("`{0}` is no object key")]
    Key(String),
    #[error("object `{key}`: {source}")]
    Io { key: String, source: std::io::Error },
    #[error("object `{key}` on S3: {message}")]
    S3 { key: String, message: String },
}

/// A part of an object.
#[derive(Debug, Clone)]
pub struct Object {
    pub bytes: Bytes,
    /// Of the whole object.
    pub total: u64,
}

/// The object store. Keys are `/`-separated, relative, without empty, `.` or `..` parts.
/// Writing is atomic: a reader sees the old object, the new one, or none.
#[derive(Debug, Clone)]
pub struct Blobs {}

impl Blobs {
    pub async fn open(_url: &BlobsUrl) -> Result<Self, BlobError> {
        todo!()
    }

    /// Can objects be written and read now? For `/readyz`.
    pub async fn check(&self) -> Result<(), BlobError> {
        todo!()
    }

    pub async fn put(
        &self,
        _key: &str,
        _bytes: Bytes,
        _content_type: &str,
    ) -> Result<(), BlobError> {
        todo!()
    }

    /// Streams a file of any size; memory stays bounded.
    pub async fn put_file(
        &self,
        _key: &str,
        _file: &Path,
        _content_type: &str,
    ) -> Result<(), BlobError> {
        todo!()
    }

    /// `None` when there is no such object. `range` is `(first byte, length)`.
    pub async fn get(
        &self,
        _key: &str,
        _range: Option<(u64, u64)>,
    ) -> Result<Option<Object>, BlobError> {
        todo!()
    }

    /// Copies one object over another, within the store; nothing happens if `from` is missing.
    pub async fn copy(&self, _from: &str, _to: &str) -> Result<(), BlobError> {
        todo!()
    }

    /// Keys below a prefix (a whole `/`-separated part), in order.
    pub async fn list(&self, _prefix: &str) -> Result<Vec<String>, BlobError> {
        todo!()
    }

    pub async fn delete(&self, _key: &str) -> Result<(), BlobError> {
        todo!()
    }
}
