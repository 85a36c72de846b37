//! Against a real S3 server, which `cargo xtask test` starts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{SystemTime, UNIX_EPOCH};

use reeve_ports::{NewObject, Objects};
use reeve_provider_objects::{Address, S3Access};
use reeve_types::{ErrorKind, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn access() -> S3Access {
    // More than one process may try: the first wins.
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = std::env::var("REEVE_TEST_S3_URL").expect("REEVE_TEST_S3_URL is not set: run `cargo xtask test`");
    S3Access {
        endpoint: Some(endpoint),
        region: None,
        access_key_id: Some("AKTEST".into()),
        secret_access_key: Some(Secret::new("secret-of-the-tests")),
    }
}

fn place(access: &S3Access) -> std::sync::Arc<dyn Objects> {
    #[allow(clippy::disallowed_methods)] // a name that no earlier run had
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    Address::parse(&format!("s3://reeve-test/{now}/deep"), true).unwrap().place(access).unwrap()
}

async fn write(mut file: NewObject, bytes: &[u8]) {
    file.write_all(bytes).await.unwrap();
    file.shutdown().await.unwrap();
}

#[tokio::test]
async fn files_are_written_in_parts_read_listed_and_deleted() {
    let place = place(&access());
    // More than two parts, so that they are sent while they are written.
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    write(place.create("large").await.unwrap(), &large).await;
    write(place.create("small").await.unwrap(), b"small").await;
    let listed = place.list().await.unwrap();
    assert_eq!(
        listed.iter().map(|o| (o.name.as_str(), o.bytes)).collect::<Vec<_>>(),
        [("large", large.len() as u64), ("small", 5)]
    );
    let mut read = Vec::new();
    place.open("large").await.unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == large);

    let mut half = place.create("half").await.unwrap();
    half.write_all(&large).await.unwrap();
    drop(half);
    assert_eq!(place.list().await.unwrap().len(), 2);
    assert_eq!(place.open("half").await.err().unwrap().kind, ErrorKind::NotFound);
    place.delete("large").await.unwrap();
    place.delete("large").await.unwrap();
    assert_eq!(place.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_key_and_a_server_that_is_away_are_told_apart() {
    let good = access();
    let wrong = S3Access { secret_access_key: Some(Secret::new("another")), ..good.clone() };
    let refused = place(&wrong).list().await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Forbidden);
    assert!(refused.message.contains("refuses this access key"), "{}", refused.message);
    assert!(!refused.message.contains("another"));
    let mut file = place(&wrong).create("x").await.unwrap();
    file.write_all(b"x").await.unwrap();
    let refused = file.shutdown().await.unwrap_err();
    assert!(refused.to_string().contains("SignatureDoesNotMatch"), "{refused}");
    drop(file);

    let nowhere = Address::parse("s3://no-such-bucket/x", true).unwrap().place(&good).unwrap();
    let refused = nowhere.list().await.unwrap_err();
    assert_eq!((refused.kind, refused.message.as_str()), (ErrorKind::NotFound, "there is no bucket no-such-bucket"));

    let away = S3Access { endpoint: Some("http://127.0.0.1:1".into()), ..good.clone() };
    let refused = place(&away).list().await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.to_lowercase().contains("refused"), "{}", refused.message);

    let nobody = S3Access { access_key_id: None, ..good };
    let refused = Address::parse("s3://b/x", true).unwrap().place(&nobody).err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Invalid);
}
