//! The object store's contract, kept by a folder and by S3 over HTTP with signatures checked.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/s3.rs"]
mod s3;
#[path = "support/tls.rs"]
mod tls;

use std::path::PathBuf;

use bytes::Bytes;
use checkvalve::blobs::{BlobError, Blobs, BlobsUrl, S3Access};

/// A store that nobody else has, and what must live as long as it.
struct Place {
    blobs: Blobs,
    folder: tempfile::TempDir,
    _server: Option<s3::Server>,
}

fn access(server: &s3::Server, secret: &str) -> S3Access {
    S3Access {
        key_id: s3::KEY_ID.to_owned(),
        secret: secret.to_owned(),
        session_token: None,
        region: s3::REGION.to_owned(),
        endpoint: Some(server.endpoint.clone()),
        ca_file: None,
    }
}

impl Place {
    async fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = BlobsUrl::Folder(folder.path().join("objects"));
        Self { blobs: Blobs::open(&url, |_| None).await.unwrap(), folder, _server: None }
    }

    async fn s3() -> Self {
        let server = s3::server().await;
        let blobs = Blobs::on_s3(s3::BUCKET, "a/prefix", access(&server, s3::SECRET)).unwrap();
        Self { blobs, folder: tempfile::tempdir().unwrap(), _server: Some(server) }
    }
}

macro_rules! stories {
    ($($story:ident),+ $(,)?) => {
        mod in_a_folder {
            $(#[tokio::test]
            async fn $story() {
                crate::$story(crate::Place::folder().await).await;
            })+
        }
        mod on_s3 {
            $(#[tokio::test]
            async fn $story() {
                crate::$story(crate::Place::s3().await).await;
            })+
        }
    };
}

stories! {
    what_is_put_is_read_back,
    a_missing_object_is_none,
    ranges_are_cut_at_the_end,
    files_of_any_size_are_streamed,
    copies_replace_and_outlive_their_source,
    keys_are_listed_below_a_whole_part,
    deleting_is_repeatable,
    keys_that_are_none_are_refused,
    readers_never_see_half_an_object,
    the_probe_says_that_it_works,
}

const TEXT: &str = "text/plain";

async fn text(blobs: &Blobs, key: &str) -> Option<String> {
    let object = blobs.get(key, None).await.unwrap()?;
    assert_eq!(object.total, object.bytes.len() as u64);
    Some(String::from_utf8(object.bytes.to_vec()).unwrap())
}

async fn put(blobs: &Blobs, key: &str, text: &str) {
    blobs.put(key, Bytes::from(text.to_owned()), TEXT).await.unwrap();
}

async fn what_is_put_is_read_back(place: Place) {
    let blobs = place.blobs;
    // The names of real keys: percent-encoded segments, a hidden epoch, blanks, other scripts.
    for key in ["a", "runs/acme/c/pr-1/.epoch-3/log.txt", "x/a%2Fb%25/c d+e&f.txt", "ü/日本.json"]
    {
        put(&blobs, key, key).await;
        assert_eq!(text(&blobs, key).await.as_deref(), Some(key));
        put(&blobs, key, "again").await;
        assert_eq!(text(&blobs, key).await.as_deref(), Some("again"), "{key}");
    }
    put(&blobs, "empty", "").await;
    assert_eq!(text(&blobs, "empty").await.as_deref(), Some(""));
}

async fn a_missing_object_is_none(place: Place) {
    let blobs = place.blobs;
    put(&blobs, "a/b", "x").await;
    for key in ["b", "a/c", "b/c/d"] {
        assert!(blobs.get(key, None).await.unwrap().is_none(), "{key}");
        assert!(blobs.get(key, Some((0, 5))).await.unwrap().is_none(), "{key}");
        assert!(blobs.get(key, Some((0, 0))).await.unwrap().is_none(), "{key}");
    }
}

async fn ranges_are_cut_at_the_end(place: Place) {
    let blobs = place.blobs;
    put(&blobs, "log", "0123456789").await;
    let cases = [
        ((0, 4), "0123"),
        ((3, 2), "34"),
        ((8, 100), "89"),
        ((9, u64::MAX), "9"),
        ((10, 5), ""),
        ((50, 5), ""),
        ((2, 0), ""),
    ];
    for (range, expected) in cases {
        let object = blobs.get("log", Some(range)).await.unwrap().unwrap();
        assert_eq!((&object.bytes[..], object.total), (expected.as_bytes(), 10), "{range:?}");
    }
}

async fn files_of_any_size_are_streamed(place: Place) {
    // Three parts on S3, the last one short.
    let large: Vec<u8> = (0..40_000_000_u32).map(|i| (i % 251) as u8).collect();
    let file = place.folder.path().join("source");
    for bytes in [large, b"small".to_vec(), Vec::new()] {
        std::fs::write(&file, &bytes).unwrap();
        place.blobs.put_file("logs/large", &file, TEXT).await.unwrap();
        let stored = place.blobs.get("logs/large", None).await.unwrap().unwrap();
        assert!(stored.bytes == bytes, "{} bytes came back as {}", bytes.len(), stored.bytes.len());
    }
    let missing = place.blobs.put_file("x", &place.folder.path().join("no-such"), TEXT).await;
    assert!(matches!(missing, Err(BlobError::Io { .. })), "{missing:?}");
    assert!(place.blobs.get("x", None).await.unwrap().is_none());
}

async fn copies_replace_and_outlive_their_source(place: Place) {
    let blobs = place.blobs;
    put(&blobs, "job/.epoch-2/a%2Fb/log.txt", "two").await;
    put(&blobs, "job/a%2Fb/log.txt", "old").await;
    for _ in 0..2 {
        blobs.copy("job/.epoch-2/a%2Fb/log.txt", "job/a%2Fb/log.txt").await.unwrap();
        assert_eq!(text(&blobs, "job/a%2Fb/log.txt").await.as_deref(), Some("two"));
    }
    put(&blobs, "job/.epoch-2/a%2Fb/log.txt", "changed").await;
    assert_eq!(text(&blobs, "job/a%2Fb/log.txt").await.as_deref(), Some("two"));
    blobs.delete("job/.epoch-2/a%2Fb/log.txt").await.unwrap();
    assert_eq!(text(&blobs, "job/a%2Fb/log.txt").await.as_deref(), Some("two"));
    blobs.copy("no/such", "job/a%2Fb/log.txt").await.unwrap();
    blobs.copy("job/a%2Fb/log.txt", "job/a%2Fb/log.txt").await.unwrap();
    assert_eq!(text(&blobs, "job/a%2Fb/log.txt").await.as_deref(), Some("two"));
    assert_eq!(blobs.list("").await.unwrap(), ["job/a%2Fb/log.txt"], "nothing hidden is left");
}

async fn keys_are_listed_below_a_whole_part(place: Place) {
    let blobs = place.blobs;
    let keys = ["b/2", "b/10", "b/1/x", "ba/1", "b/.epoch-1/log", "a"];
    for key in keys {
        put(&blobs, key, "x").await;
    }
    assert_eq!(blobs.list("b").await.unwrap(), ["b/.epoch-1/log", "b/1/x", "b/10", "b/2"]);
    assert_eq!(blobs.list("b/1/").await.unwrap(), ["b/1/x"]);
    assert!(blobs.list("c").await.unwrap().is_empty());
    assert_eq!(blobs.list("").await.unwrap().len(), keys.len());
}

async fn deleting_is_repeatable(place: Place) {
    let blobs = place.blobs;
    put(&blobs, "a/b/c", "x").await;
    put(&blobs, "a/d", "x").await;
    for _ in 0..2 {
        blobs.delete("a/b/c").await.unwrap();
        assert!(blobs.get("a/b/c", None).await.unwrap().is_none());
    }
    assert_eq!(blobs.list("a").await.unwrap(), ["a/d"]);
    put(&blobs, "a/b/c", "again").await;
    assert_eq!(text(&blobs, "a/b/c").await.as_deref(), Some("again"));
}

async fn keys_that_are_none_are_refused(place: Place) {
    let blobs = place.blobs;
    for key in ["", "/etc/passwd", "a/../../x", "a//b", "a/", "a\\b"] {
        let refused = [
            blobs.put(key, Bytes::new(), TEXT).await.err(),
            blobs.get(key, None).await.err(),
            blobs.copy("a", key).await.err(),
            blobs.delete(key).await.err(),
        ];
        for error in refused {
            assert!(matches!(error, Some(BlobError::Key(_))), "{key}: {error:?}");
        }
    }
    assert!(matches!(blobs.list("../x").await, Err(BlobError::Key(_))));
}

async fn readers_never_see_half_an_object(place: Place) {
    let blobs = place.blobs;
    let versions: Vec<Bytes> =
        (0..20_u8).map(|i| Bytes::from(vec![b'a' + i; 300_000 + usize::from(i)])).collect();
    blobs.put("k", versions[0].clone(), TEXT).await.unwrap();
    let (writer, written) = (blobs.clone(), versions.clone());
    let writing = tokio::spawn(async move {
        for version in written {
            writer.put("k", version, TEXT).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let seen = blobs.get("k", None).await.unwrap().expect("always there").bytes;
        assert!(versions.contains(&seen), "{} bytes of nothing that was written", seen.len());
    }
    writing.await.unwrap();
}

async fn the_probe_says_that_it_works(place: Place) {
    place.blobs.check().await.unwrap();
    place.blobs.check().await.unwrap();
    assert!(place.blobs.list("").await.unwrap().is_empty(), "and is no object");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_its_mend() {
    let server = s3::server().await;
    let blobs = Blobs::on_s3(s3::BUCKET, "", access(&server, "wrong")).unwrap();
    for error in [
        blobs.put("a", Bytes::new(), TEXT).await.unwrap_err(),
        blobs.get("a", None).await.unwrap_err(),
        blobs.check().await.unwrap_err(),
    ] {
        let said = error.to_string();
        assert!(said.contains("SignatureDoesNotMatch"), "{said}");
        assert!(said.contains("AWS_SECRET_ACCESS_KEY") && !said.contains("wrong"), "{said}");
    }
    let right = Blobs::on_s3(s3::BUCKET, "", access(&server, s3::SECRET)).unwrap();
    right.check().await.unwrap();
    let elsewhere = Blobs::on_s3("no-such-bucket", "", access(&server, s3::SECRET)).unwrap();
    // (The test's server makes a bucket at the first put; only reading finds that it is missing.)
    let said = elsewhere.list("").await.unwrap_err().to_string();
    assert!(said.contains("NoSuchBucket") && said.contains("CHECKVALVE_STORE"), "{said}");
}

#[tokio::test]
async fn a_dead_server_is_an_error_and_not_a_hang() {
    let access = S3Access {
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        ..access(&s3::server().await, s3::SECRET)
    };
    assert!(!format!("{access:?}").contains(s3::SECRET));
    let said = Blobs::on_s3(s3::BUCKET, "", access).unwrap().check().await.unwrap_err().to_string();
    assert!(said.contains("AWS_ENDPOINT_URL"), "{said}");
}

#[tokio::test]
async fn more_authorities_can_be_trusted_and_others_are_not() {
    let Some(server) = tls::server().await else { return };
    let access = |ca_file: Option<PathBuf>| S3Access {
        key_id: s3::KEY_ID.to_owned(),
        secret: s3::SECRET.to_owned(),
        session_token: None,
        region: s3::REGION.to_owned(),
        endpoint: Some(server.url.clone()),
        ca_file,
    };
    let stranger = Blobs::on_s3(s3::BUCKET, "", access(None)).unwrap();
    let refused = stranger.list("").await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    let trusted = Blobs::on_s3(s3::BUCKET, "", access(Some(server.ca_file.clone()))).unwrap();
    let page = trusted.list("").await.unwrap_err().to_string();
    assert!(page.contains("expected ListBucketResult"), "TLS stood, it is not S3's: {page}");
    assert!(page.len() < 1000, "a stranger's page is not shown whole: {page}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"no certificate").unwrap();
    let mut empty = tempfile::NamedTempFile::new().unwrap();
    let text = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::io::Write::write_all(&mut empty, text).unwrap();
    for bad in [file.path().to_owned(), empty.path().to_owned(), "/nowhere/ca.pem".into()] {
        let refused = Blobs::on_s3(s3::BUCKET, "", access(Some(bad.clone()))).unwrap_err();
        assert!(refused.to_string().contains(&bad.display().to_string()), "{refused}");
    }
}

/// In a folder, an object's name may be the beginning of what is asked for, or the other way round.
#[tokio::test]
async fn files_and_folders_are_not_mistaken_for_each_other() {
    let place = Place::folder().await;
    put(&place.blobs, "a/b", "x").await;
    for key in ["a", "a/b/c"] {
        assert!(place.blobs.get(key, None).await.unwrap().is_none(), "{key}");
        place.blobs.copy(key, "d").await.unwrap();
    }
    assert!(place.blobs.get("d", None).await.unwrap().is_none());
    let refused = place.blobs.put("a/b/c", Bytes::new(), TEXT).await;
    assert!(matches!(refused, Err(BlobError::Io { .. })), "{refused:?}");
    assert_eq!(place.blobs.list("").await.unwrap(), ["a/b"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let url = BlobsUrl::Folder(folder.path().join("file/objects"));
    let said = Blobs::open(&url, |_| None).await.unwrap_err().to_string();
    assert!(said.contains("file/objects"), "{said}");
}
