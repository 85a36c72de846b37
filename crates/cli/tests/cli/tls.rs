//! A console with a self-signed certificate: refused, pinned, or not checked.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::fake::User;

/// Answers every request with an empty list; the URL and the certificate.
async fn console(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A client that does not trust us hangs up in the handshake.
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"data\":[]}";
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    (url, cert.pem())
}

async fn ask(url: &str, pem: &str, options: &str) -> crate::fake::Ran {
    let mut user = User::new();
    let file = user.home().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let options = options.replace("FILE", &file.display().to_string());
    user.run(&format!("node list -o json --token t --url {url} {options}")).await
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_with_a_way_out() {
    let (url, pem) = console(&["127.0.0.1"]).await;
    let ran = ask(&url, &pem, "").await;
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.stderr,
        format!(
            "error: cannot reach the server at {url}: its certificate is not trusted\n\
             next:  give the server's certificate with --ca FILE (or --insecure, to check nothing)\n"
        )
    );
}

#[tokio::test]
async fn a_certificate_is_pinned_whatever_name_it_carries() {
    let (url, pem) = console(&["reeve.internal"]).await;
    let ran = ask(&url, &pem, "--ca FILE").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "[]\n"), "{ran:?}");
}

#[tokio::test]
async fn another_servers_certificate_is_refused() {
    let (url, _) = console(&["127.0.0.1"]).await;
    let (_, other) = console(&["127.0.0.1"]).await;
    assert_eq!(ask(&url, &other, "--ca FILE").await.code, 3);
}

#[tokio::test]
async fn insecure_checks_nothing() {
    let (url, pem) = console(&["elsewhere"]).await;
    assert_eq!(ask(&url, &pem, "--insecure").await.code, 0);
}

#[tokio::test]
async fn a_file_without_a_certificate_is_refused() {
    let (url, _) = console(&["127.0.0.1"]).await;
    let ran = ask(&url, "nothing", "--ca FILE").await;
    assert!(ran.stderr.starts_with("error: the CA file is of no use: "), "{}", ran.stderr);
}
