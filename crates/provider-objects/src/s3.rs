//! A bucket of S3 or of what speaks its protocol. Files are sent in parts as they come, so their length need not be known.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use reeve_ports::{NewObject, ObjectInfo, Objects, OpenObject};
use reeve_types::{Error, ErrorKind, Result, Timestamp};
use tokio::io::AsyncWrite;
use tokio_util::io::StreamReader;

use crate::S3Access;

/// Bytes held back until a part is sent.
const PART: usize = 8 << 20;
/// What services say to those whom they do not let in.
const REFUSALS: [&str; 4] = ["SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied", "InvalidToken"];
/// Most files that are listed.
const MOST_LISTED: usize = 10_000;

/// See the module.
pub struct S3 {
    store: Arc<AmazonS3>,
    bucket: String,
    prefix: String,
}

impl S3 {
    /// The files of `bucket` directly below `prefix`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// Invalid when the access is incomplete.
    pub fn new(bucket: &str, prefix: &str, access: &S3Access) -> Result<Self> {
        let (Some(id), Some(secret)) = (&access.access_key_id, &access.secret_access_key) else {
            let problem = "is missing; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(Error::invalid("access key", problem));
        };
        let retry =
            RetryConfig { max_retries: 4, retry_timeout: std::time::Duration::from_secs(60), ..RetryConfig::default() };
        let options = ClientOptions::new()
            .with_timeout(std::time::Duration::from_secs(120))
            .with_connect_timeout(std::time::Duration::from_secs(10));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(access.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(id)
            .with_secret_access_key(secret.expose())
            .with_client_options(options)
            .with_retry(retry);
        if let Some(endpoint) = &access.endpoint {
            if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
                return Err(Error::invalid("endpoint", "is not an http:// or https:// URL"));
            }
            // Backups are sealed before they leave; the signature of a request keeps the secret to itself.
            builder = builder.with_endpoint(endpoint).with_allow_http(true);
        }
        let store = builder.build().map_err(|e| Error::invalid("to", e.to_string()).with_source(e))?;
        Ok(Self { store: Arc::new(store), bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    fn path(&self, name: &str) -> Result<Path> {
        if name.is_empty() || name.contains('/') {
            return Err(Error::invalid("name", "is not the name of a file"));
        }
        Ok(self.folder().join(name))
    }

    fn folder(&self) -> Path {
        Path::from(self.prefix.as_str())
    }

    fn failed(&self, error: object_store::Error) -> Error {
        let place = self.describe();
        let cause = brief(&error);
        // Which request was refused decides the crate's kind of error, so look at the service's own word first.
        let is_refused = REFUSALS.iter().any(|code| cause.starts_with(code))
            || matches!(
                error,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
            );
        let (kind, message) = if is_refused {
            let words = format!("{place} refuses this access key; check the key, its secret and its rights: {cause}");
            (ErrorKind::Forbidden, words)
        } else if cause.starts_with("NoSuchBucket") {
            (ErrorKind::NotFound, format!("there is no bucket {}", self.bucket))
        } else if matches!(error, object_store::Error::NotFound { .. }) {
            (ErrorKind::NotFound, format!("there is no such file in {place}"))
        } else {
            (ErrorKind::Unavailable, format!("{place}: {cause}"))
        };
        Error::new(kind, message).with_source(error)
    }
}

/// The innermost cause, in one line without what XML answers bring along.
fn brief(error: &object_store::Error) -> String {
    let text = whole_text(error);
    let between = |open: &str, close: &str| Some(text.split_once(open)?.1.split_once(close)?.0.to_owned());
    match (between("<Code>", "</Code>"), between("<Message>", "</Message>")) {
        (Some(code), Some(message)) => return format!("{code}: {message}"),
        (Some(code), None) => return code,
        (None, _) => {}
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().lines().next().unwrap_or_default().chars().take(300).collect()
}

/// The error with its causes, one of which may be a service's answer.
fn whole_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        text.push('\n');
        text.push_str(&inner.to_string());
        cause = inner;
    }
    text
}

impl Objects for S3 {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<NewObject>> {
        Box::pin(async move {
            let path = self.path(name)?;
            let inner = BufWriter::with_capacity(self.store.clone(), path, PART);
            Ok(Box::new(NewUpload { inner: Some(inner), closing: false, place: self.describe() }) as NewObject)
        })
    }

    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<OpenObject>> {
        Box::pin(async move {
            let path = self.path(name)?;
            let got = self.store.get(&path).await.map_err(|e| self.failed(e))?;
            let bytes = got.into_stream().map_err(|e| io::Error::other(brief(&e)));
            Ok(Box::new(StreamReader::new(bytes.boxed())) as OpenObject)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ObjectInfo>>> {
        Box::pin(async move {
            let folder = self.folder();
            let listed: Vec<_> =
                self.store.list(Some(&folder)).take(MOST_LISTED).try_collect().await.map_err(|e| self.failed(e))?;
            let depth = folder.parts().count() + 1;
            let mut found: Vec<ObjectInfo> = listed
                .into_iter()
                .filter(|meta| meta.location.parts().count() == depth)
                .filter_map(|meta| {
                    let name = meta.location.filename()?.to_owned();
                    let modified_at = Timestamp(meta.last_modified.timestamp_micros());
                    Some(ObjectInfo { name, bytes: meta.size, modified_at })
                })
                .collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let path = self.path(name)?;
            match self.store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(self.failed(error)),
            }
        })
    }

    fn describe(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }
}

struct NewUpload {
    inner: Option<BufWriter>,
    /// The end was asked for: from then on nothing can be taken back.
    closing: bool,
    place: String,
}

impl Drop for NewUpload {
    fn drop(&mut self) {
        // Parts of a file that was given up cost money until they are told to go.
        if let (false, Some(mut inner), Ok(runtime)) =
            (self.closing, self.inner.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { inner.abort().await.ok() });
        }
    }
}

impl NewUpload {
    fn inner(&mut self) -> io::Result<Pin<&mut BufWriter>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::Error::other("the file was closed"))
    }

    fn told(&self, done: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        done.map_err(|e| self.words(e))
    }

    fn words(&self, error: io::Error) -> io::Error {
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<object_store::Error>());
        let text = inner.map_or_else(|| error.to_string(), brief);
        io::Error::new(error.kind(), format!("{}: {text}", self.place))
    }
}

impl AsyncWrite for NewUpload {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.inner()?.poll_write(context, bytes);
        done.map_err(|e| self.words(e))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.inner()?.poll_flush(context);
        self.told(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closing = true;
        let done = match self.inner() {
            Ok(inner) => inner.poll_shutdown(context),
            Err(_) => return Poll::Ready(Ok(())),
        };
        if let Poll::Ready(Ok(())) = done {
            self.inner = None;
        }
        self.told(done)
    }
}
