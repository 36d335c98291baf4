//! The object store: a folder, or S3. One contract, two drivers.
//!
//! Keys are `/`-separated and relative, without empty, `.` or `..` parts. Writing is atomic: a
//! reader sees the old object, the new one, or none.

mod folder;
mod key;
#[cfg(feature = "s3")]
mod s3;
mod url;

use std::path::Path;

use bytes::Bytes;

use self::folder::Folder;
#[cfg(feature = "s3")]
use self::s3::Bucket;
#[cfg(feature = "s3")]
pub use self::s3::S3Access;
pub use self::url::BlobsUrl;
use crate::ambient::failpoint::{self, Deed};

/// Why an object could not be read or written. Everything here is ours, never the connector's.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("`{0}` is no object store: write `file:<folder>` or `s3://<bucket>/<prefix>`")]
    Url(String),
    #[error("`{0}` is no object key")]
    Key(String),
    /// A variable that the AWS SDK would read, too, is missing.
    #[error("objects on S3 need {0}; set it, or CHECKVALVE_STORE to `file:<folder>`")]
    Unset(&'static str),
    #[error("this build has no S3; build it with `--features s3`, or use `file:<folder>`")]
    Without,
    #[error(
        "the certificates of `{}`, which CHECKVALVE_CA_FILE names, can't be used: {why}",
        path.display()
    )]
    Certificates { path: std::path::PathBuf, why: String },
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

/// The object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    driver: Driver,
}

#[derive(Debug, Clone)]
enum Driver {
    Folder(Folder),
    #[cfg(feature = "s3")]
    S3(Bucket),
}

macro_rules! on {
    ($blobs:expr, |$driver:ident| $call:expr) => {
        match &$blobs.driver {
            Driver::Folder($driver) => $call,
            #[cfg(feature = "s3")]
            Driver::S3($driver) => $call,
        }
    };
}

/// The object that [`Blobs::check`] writes.
const PROBE: &str = ".checkvalve-probe";

impl Blobs {
    /// A folder is made if it is missing; S3 is first asked when an object is wanted, with the
    /// credentials that `settings` has under the names of the AWS SDK's variables.
    pub async fn open(
        url: &BlobsUrl,
        settings: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BlobError> {
        match url {
            BlobsUrl::Folder(root) => {
                Ok(Self { driver: Driver::Folder(Folder::open(root).await?) })
            }
            #[cfg(feature = "s3")]
            BlobsUrl::S3 { bucket, prefix } => {
                Self::on_s3(bucket, prefix, S3Access::read(settings)?)
            }
            #[cfg(not(feature = "s3"))]
            BlobsUrl::S3 { .. } => {
                drop(settings);
                Err(BlobError::Without)
            }
        }
    }

    /// A bucket with credentials that come from elsewhere than the environment.
    #[cfg(feature = "s3")]
    pub fn on_s3(bucket: &str, prefix: &str, access: S3Access) -> Result<Self, BlobError> {
        Ok(Self { driver: Driver::S3(Bucket::new(bucket, prefix, access)?) })
    }

    /// Can objects be written and read now? For `/readyz`.
    pub async fn check(&self) -> Result<(), BlobError> {
        let mark = Bytes::from_static(b"ok");
        self.put(PROBE, mark.clone(), "text/plain").await?;
        match self.get(PROBE, None).await? {
            Some(object) if object.bytes == mark => Ok(()),
            Some(_) | None => Err(BlobError::Io {
                key: PROBE.to_owned(),
                source: std::io::Error::other("what was written could not be read back"),
            }),
        }
    }

    /// `content_type` is kept by S3; pages know it by the key's ending.
    pub async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<(), BlobError> {
        key::check(key)?;
        written(key, async { on!(self, |driver| driver.put(key, bytes, content_type).await) }).await
    }

    /// Streams a file of any size; memory stays bounded.
    pub async fn put_file(
        &self,
        key: &str,
        file: &Path,
        content_type: &str,
    ) -> Result<(), BlobError> {
        key::check(key)?;
        let put = async { on!(self, |driver| driver.put_file(key, file, content_type).await) };
        written(key, put).await
    }

    /// `None` when there is no such object. `range` is `(first byte, length)`; what of it lies
    /// beyond the end is left out.
    pub async fn get(
        &self,
        key: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Option<Object>, BlobError> {
        key::check(key)?;
        on!(self, |driver| driver.get(key, range).await)
    }

    /// Copies one object over another, within the store; false, and nothing happens, if `from` is
    /// missing.
    pub async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        key::check(from)?;
        key::check(to)?;
        if from == to {
            return Ok(true);
        }
        written(to, async { on!(self, |driver| driver.copy(from, to).await) }).await
    }

    /// Keys below a prefix (a whole `/`-separated part; empty: all of them), in the order of their bytes.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() {
            key::check(prefix)?;
        }
        let mut keys = on!(self, |driver| driver.list(prefix).await)?;
        keys.retain(|key| key != PROBE);
        keys.sort_unstable();
        Ok(keys)
    }

    /// Nothing happens if there is no such object.
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        key::check(key)?;
        on!(self, |driver| driver.delete(key).await)
    }
}

/// Every object is written in here.
async fn written<T>(
    key: &str,
    work: impl Future<Output = Result<T, BlobError>>,
) -> Result<T, BlobError> {
    failpoint::around(Deed::Write, || key.to_owned(), work).await
}
