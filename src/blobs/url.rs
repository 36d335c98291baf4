//! Where objects are kept, as settings say it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::BlobError;

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobsUrl {
    /// `file:<folder>`
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`
    S3 { bucket: String, prefix: String },
}

impl BlobsUrl {
    /// As settings have it: `file:<folder>` or `s3://BUCKET/PREFIX`.
    pub fn parse(url: &str) -> Result<Self, BlobError> {
        url.parse()
    }
}

impl FromStr for BlobsUrl {
    type Err = BlobError;

    fn from_str(url: &str) -> Result<Self, BlobError> {
        let wrong = || BlobError::Url(url.to_owned());
        if let Some(folder) = url.strip_prefix("file:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            return if folder.is_empty() { Err(wrong()) } else { Ok(Self::Folder(folder.into())) };
        }
        let place = url.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(named) {
            return Err(wrong());
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            super::key::check(prefix).map_err(|_| wrong())?;
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BlobsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file:{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_both_kinds() {
        for url in ["file:/var/lib/checkvalve/objects", "file:objects", "s3://bucket", "s3://b/a/b"]
        {
            assert_eq!(BlobsUrl::parse(url).unwrap().to_string(), url);
        }
        let slashes = BlobsUrl::parse("s3://bucket/reports/").unwrap();
        assert_eq!(slashes, BlobsUrl::S3 { bucket: "bucket".into(), prefix: "reports".into() });
        for bad in
            ["", "file:", "s3://", "s3:///x", "s3://a b", "s3://b/../c", "/objects", "http://x"]
        {
            assert!(BlobsUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
