//! Objects in a bucket of S3, or of a server that speaks as S3 does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Config, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client as http;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{BlobError, Object};
use crate::ambient::authorities;

/// Up to this a file is sent in one request.
const SINGLE: u64 = 16 << 20;
/// S3 takes at most so many parts of one object.
const MOST_PARTS: u64 = 10_000;

/// What of a key stays as it is in `x-amz-copy-source`.
const SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Who asks S3, and where it is: what the AWS SDK takes from its variables.
#[derive(Clone)]
pub struct S3Access {
    pub key_id: String,
    pub secret: String,
    pub session_token: Option<String>,
    pub region: String,
    /// A server other than Amazon's; its buckets are the first part of the path.
    pub endpoint: Option<String>,
    /// More certificate authorities to trust, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// Secrets do not print.
impl std::fmt::Debug for S3Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Access")
            .field("key_id", &self.key_id)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl S3Access {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` or
    /// `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`. Servers that are not
    /// Amazon's mostly do not care for the region.
    pub fn read(settings: impl Fn(&str) -> Option<String>) -> Result<Self, BlobError> {
        let needed = |name| settings(name).ok_or(BlobError::Unset(name));
        let endpoint = settings("AWS_ENDPOINT_URL_S3").or_else(|| settings("AWS_ENDPOINT_URL"));
        let region = settings("AWS_REGION").or_else(|| settings("AWS_DEFAULT_REGION"));
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => return Err(BlobError::Unset("AWS_REGION")),
        };
        Ok(Self {
            key_id: needed("AWS_ACCESS_KEY_ID")?,
            secret: needed("AWS_SECRET_ACCESS_KEY")?,
            session_token: settings("AWS_SESSION_TOKEN"),
            region,
            endpoint,
            ca_file: settings("CHECKVALVE_CA_FILE").map(PathBuf::from),
        })
    }
}

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    client: Client,
    name: String,
    /// Empty, or ending with `/`.
    prefix: String,
}

/// The SDK's own client, with the system's authorities and those of a file.
fn trusting(file: &Path) -> Result<SharedHttpClient, BlobError> {
    let bad = |why: String| BlobError::Certificates { path: file.to_owned(), why };
    let more = authorities::pem(&authorities::of_file(file).map_err(bad)?);
    let trusted = TrustStore::default().with_pem_certificate(more);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| bad(error.to_string()))?;
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    Ok(http::Builder::new().tls_provider(provider).tls_context(context).build_https())
}

impl Bucket {
    pub(super) fn new(bucket: &str, prefix: &str, access: S3Access) -> Result<Self, BlobError> {
        let S3Access { key_id, secret, session_token, region, endpoint, ca_file } = access;
        let credentials = Credentials::new(key_id, secret, session_token, None, "settings");
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_mins(1))
            .build();
        let mut config = Config::builder()
            .credentials_provider(credentials)
            .region(Region::new(region))
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        if let Some(endpoint) = endpoint {
            config = config
                .endpoint_url(endpoint)
                .force_path_style(true)
                // Older servers refuse the checksums that the SDK adds by itself.
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        }
        if let Some(file) = ca_file {
            config = config.http_client(trusting(&file)?);
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let client = Client::from_conf(config.build());
        Ok(Self { client, name: bucket.to_owned(), prefix })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<(), BlobError> {
        self.put_stream(key, bytes.into(), content_type).await
    }

    async fn put_stream(
        &self,
        key: &str,
        body: ByteStream,
        content_type: &str,
    ) -> Result<(), BlobError> {
        let put = self.client.put_object().bucket(&self.name).key(self.full(key));
        let put = put.body(body).content_type(content_type).send().await;
        put.map(drop).map_err(|error| refused(key, &error))
    }

    pub(super) async fn put_file(
        &self,
        key: &str,
        file: &Path,
        content_type: &str,
    ) -> Result<(), BlobError> {
        let io = |source| BlobError::Io { key: key.to_owned(), source };
        let size = tokio::fs::metadata(file).await.map_err(io)?.len();
        if size <= SINGLE {
            let bytes = tokio::fs::read(file).await.map_err(io)?;
            return self.put(key, bytes.into(), content_type).await;
        }
        let begun = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
        let begun = begun.content_type(content_type).send().await;
        let begun = begun.map_err(|error| refused(key, &error))?;
        let upload = begun.upload_id().unwrap_or_default();
        let done = match self.put_parts(key, upload, file, size).await {
            Ok(parts) => self.complete(key, upload, parts).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            // Parts that nobody completes would be stored, and paid for, for ever.
            let abort = self.client.abort_multipart_upload().bucket(&self.name);
            let _ = abort.key(self.full(key)).upload_id(upload).send().await;
        }
        done
    }

    async fn put_parts(
        &self,
        key: &str,
        upload: &str,
        file: &Path,
        size: u64,
    ) -> Result<Vec<CompletedPart>, BlobError> {
        let part_size = SINGLE.max(size.div_ceil(MOST_PARTS));
        let mut parts = Vec::new();
        let mut offset = 0;
        for number in 1.. {
            let length = part_size.min(size - offset);
            let body = ByteStream::read_from().path(file).offset(offset);
            let body = body.length(Length::Exact(length)).build().await;
            let body = body.map_err(|error| BlobError::Io {
                key: key.to_owned(),
                source: std::io::Error::other(error),
            })?;
            let put = self.client.upload_part().bucket(&self.name).key(self.full(key));
            let put = put.upload_id(upload).part_number(number).body(body).send().await;
            let put = put.map_err(|error| refused(key, &error))?;
            let part = CompletedPart::builder().part_number(number);
            parts.push(part.set_e_tag(put.e_tag).build());
            offset += length;
            if offset >= size {
                break;
            }
        }
        Ok(parts)
    }

    async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), BlobError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.name);
        let complete = complete.key(self.full(key)).upload_id(upload).multipart_upload(parts);
        complete.send().await.map(drop).map_err(|error| refused(key, &error))
    }

    pub(super) async fn get(
        &self,
        key: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Option<Object>, BlobError> {
        let range = match range {
            // S3 can't be asked for nothing.
            Some((_, 0)) => return self.nothing_of(key).await,
            // Larger numbers than these are not read by every server.
            Some((first, length)) => {
                let last = first.saturating_add(length - 1).min(i64::MAX.unsigned_abs() - 1);
                Some(format!("bytes={first}-{last}"))
            }
            None => None,
        };
        let get = self.client.get_object().bucket(&self.name).key(self.full(key));
        let answer = match get.set_range(range).send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("InvalidRange") => {
                return self.nothing_of(key).await;
            }
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(refused(key, &error)),
        };
        let total = answer.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok());
        let whole = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let body = answer.body.collect().await.map_err(|error| BlobError::S3 {
            key: key.to_owned(),
            message: DisplayErrorContext(error).to_string(),
        })?;
        let bytes = body.into_bytes();
        let total = total.or(whole).unwrap_or(bytes.len() as u64);
        Ok(Some(Object { bytes, total }))
    }

    /// The object's size alone.
    async fn nothing_of(&self, key: &str) -> Result<Option<Object>, BlobError> {
        let head = self.client.head_object().bucket(&self.name).key(self.full(key)).send().await;
        match head {
            Ok(head) => {
                let total = head.content_length().and_then(|length| u64::try_from(length).ok());
                Ok(Some(Object { bytes: Bytes::new(), total: total.unwrap_or(0) }))
            }
            Err(error)
                if error.as_service_error().is_some_and(
                    aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found,
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(refused(key, &error)),
        }
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        let source = format!("{}/{}", self.name, self.full(from));
        let source = utf8_percent_encode(&source, SOURCE).to_string();
        let copy = self.client.copy_object().bucket(&self.name).key(self.full(to));
        match copy.copy_source(source).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(false),
            Err(error) => Err(refused(to, &error)),
        }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let below =
            if prefix.is_empty() { self.prefix.clone() } else { self.full(&format!("{prefix}/")) };
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(below);
        let mut pages = list.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| refused(prefix, &error))?;
            let names = page.contents().iter().filter_map(|object| object.key());
            keys.extend(
                names.filter_map(|name| name.strip_prefix(&self.prefix)).map(str::to_owned),
            );
        }
        Ok(keys)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let delete = self.client.delete_object().bucket(&self.name).key(self.full(key));
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(refused(key, &error)),
        }
    }
}

/// The most that is told of what S3 did not say, in characters.
const MOST_SAID: usize = 500;

/// S3's own words, and what to do about them.
fn refused<E>(key: &str, error: &aws_sdk_s3::error::SdkError<E>) -> BlobError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let said = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        // Of something else that answers, perhaps its whole page.
        (None, _) => DisplayErrorContext(error).to_string().chars().take(MOST_SAID).collect(),
    };
    let mend = match error.code() {
        Some("NoSuchBucket") => "; make the bucket, or correct CHECKVALVE_STORE",
        Some("SignatureDoesNotMatch" | "InvalidAccessKeyId" | "ExpiredToken" | "InvalidToken") => {
            "; correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        Some("AccessDenied") => "; allow it to get, put, list and delete objects there",
        Some(_) => "",
        None => "; look at AWS_ENDPOINT_URL and the network",
    };
    BlobError::S3 { key: key.to_owned(), message: format!("{said}{mend}") }
}
