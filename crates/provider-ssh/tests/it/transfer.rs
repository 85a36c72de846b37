//! Files onto hosts and away.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use reeve_ports::remote::{Content, RemoteErrorKind, RemoteFile};
use sha2::{Digest, Sha256};

use crate::sshd::{Sshd, login, sh};

fn file(path: &str, mode: u32, content: &[u8]) -> RemoteFile {
    RemoteFile::new(path, mode, content.to_vec())
}

#[tokio::test]
async fn a_file_arrives_whole_with_its_mode() {
    let sshd = Sshd::start();
    let own = login(&sshd.target()).await;
    let guest = login(&sshd.guest()).await;
    let big: Vec<u8> = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (host, folder) in [(&own, sshd.path("")), (&guest, sshd.path("home/"))] {
        std::fs::create_dir_all(sshd.path("home")).unwrap();
        for (name, mode, content) in [
            ("plain", 0o644, &b"a\0b\n"[..]),
            ("it's a $name", 0o750, b""),
            ("big", 0o600, &big),
            ("plain", 0o640, b"anew"),
        ] {
            let path = format!("{folder}{name}");
            let sent = host.upload(file(&path, mode, content)).await.unwrap();
            assert_eq!((sent.bytes, sent.sha256.len()), (content.len() as u64, 64));
            assert_eq!(std::fs::read(&path).unwrap(), content);
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path}");
            let owner = sh(&**host, "id -u").await.1;
            assert_eq!(metadata.uid().to_string(), owner.trim());
        }
        let path = format!("{folder}streamed");
        let reader = Box::new(std::io::Cursor::new(big.clone()));
        let sent =
            host.upload(RemoteFile { content: Content::Stream(reader), ..file(&path, 0o644, b"") }).await.unwrap();
        let sum: Vec<u8> = Sha256::digest(&big).to_vec();
        assert_eq!((sent.bytes, sent.sha256), (5_000_000, sum.iter().map(|b| format!("{b:02x}")).collect()));
        assert_eq!(std::fs::read(&path).unwrap(), big);
        let parts = std::fs::read_dir(&folder).unwrap().flatten();
        assert!(parts.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("reeve-part")));
    }
}

#[tokio::test]
async fn what_cannot_be_put_in_place_is_told() {
    let sshd = Sshd::start();
    let host = login(&sshd.guest()).await;
    for (path, words) in [
        (sshd.path("no/such/folder"), "reeve-part"),
        (sshd.path("home"), "is a folder"),
        ("/proc/version".to_owned(), "reeve-part"),
    ] {
        std::fs::create_dir_all(sshd.path("home")).unwrap();
        let error = host.upload(file(&path, 0o644, b"x")).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    for path in ["relative", "/a/../b", "/a/"] {
        assert_eq!(host.upload(file(path, 0o644, b"x")).await.unwrap_err().kind, RemoteErrorKind::Invalid);
    }
}

struct Broken(u32);

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        self.0 += 1;
        if self.0 > 3 {
            return std::task::Poll::Ready(Err(std::io::Error::other("the disk burns")));
        }
        buf.put_slice(&[7; 1000]);
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_source_that_breaks_leaves_the_old_file_and_no_part() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let path = sshd.path("kept");
    host.upload(file(&path, 0o644, b"old")).await.unwrap();
    let upload = RemoteFile { content: Content::Stream(Box::new(Broken(0))), ..file(&path, 0o644, b"") };
    let error = host.upload(upload).await.unwrap_err();
    assert!(error.kind == RemoteErrorKind::Invalid && error.message.contains("the disk burns"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert!(!std::path::Path::new(&sshd.path(".kept.reeve-part")).exists());
}

#[tokio::test]
async fn folders_are_removed_and_gone_ones_are_no_error() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    std::fs::create_dir_all(sshd.path("a b/c")).unwrap();
    host.remove(&sshd.path("a b")).await.unwrap();
    assert!(!std::path::Path::new(&sshd.path("a b")).exists());
    host.remove(&sshd.path("a b")).await.unwrap();
    for path in ["/", "/etc", "/etc/", "relative/x", "/a/../../etc"] {
        assert_eq!(host.remove(path).await.unwrap_err().kind, RemoteErrorKind::Invalid, "{path}");
    }
    let guest = login(&sshd.guest()).await;
    assert_eq!(guest.remove("/proc/1/comm").await.unwrap_err().kind, RemoteErrorKind::Refused);
}
