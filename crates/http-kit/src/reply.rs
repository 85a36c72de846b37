//! What a handler answers, before the surface's envelope is put around it.

use axum::body::Body;
use futures::stream::BoxStream;
use http::header::{HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use reeve_types::{Error, Paged, Result};
use serde::Serialize;

use crate::page::Pagination;

/// A successful answer.
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Empty,
    /// JSON text that goes into the envelope.
    Data {
        json: String,
        pagination: Option<Pagination>,
    },
    /// Goes out as it is.
    Raw {
        content_type: &'static str,
        body: Body,
    },
}

impl Reply {
    /// 200 with data in the envelope.
    ///
    /// # Errors
    /// Internal when `data` cannot be serialised.
    pub fn ok(data: &impl Serialize) -> Result<Self> {
        Self::data(StatusCode::OK, data, None)
    }

    /// 202 with data in the envelope.
    ///
    /// # Errors
    /// Internal when `data` cannot be serialised.
    pub fn accepted(data: &impl Serialize) -> Result<Self> {
        Self::data(StatusCode::ACCEPTED, data, None)
    }

    /// 201 with data in the envelope and, unless empty, a `Location` relative to the surface's root.
    ///
    /// # Errors
    /// Internal when `data` cannot be serialised or `location` is not a header value.
    pub fn created(location: &str, data: &impl Serialize) -> Result<Self> {
        let reply = Self::data(StatusCode::CREATED, data, None)?;
        if location.is_empty() { Ok(reply) } else { reply.with_header(LOCATION, location) }
    }

    /// 200 with one page of a list; the envelope adds the pagination object.
    ///
    /// # Errors
    /// Internal when the rows cannot be serialised.
    pub fn page<T: Serialize>(page: &Paged<T>) -> Result<Self> {
        Self::data(StatusCode::OK, &page.items, Some(Pagination::of(page)))
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), content: Content::Empty }
    }

    /// 200 with text as it is, without envelope.
    pub fn text(text: impl Into<String>) -> Self {
        Self::raw("text/plain; charset=utf-8", Body::from(text.into()))
    }

    /// 200 with a JSON value as it is, without envelope.
    ///
    /// # Errors
    /// Internal when `value` cannot be serialised.
    pub fn bare_json(value: &impl Serialize) -> Result<Self> {
        Ok(Self::raw("application/json", Body::from(serde_json::to_vec(value).map_err(Error::internal)?)))
    }

    /// 200 with a stream of bytes as it is, without envelope.
    pub fn stream(content_type: &'static str, bytes: BoxStream<'static, std::io::Result<bytes::Bytes>>) -> Self {
        Self::raw(content_type, Body::from_stream(bytes))
    }

    /// 200 with a body as it is, without envelope.
    pub fn raw(content_type: &'static str, body: Body) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), content: Content::Raw { content_type, body } }
    }

    /// Adds a header.
    ///
    /// # Errors
    /// Internal when `value` is not a header value.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Result<Self> {
        self.headers.insert(name, HeaderValue::from_str(value).map_err(Error::internal)?);
        Ok(self)
    }

    /// Adds a header whose name is written out, as `x-next-offset`.
    ///
    /// # Errors
    /// Internal when `value` is not a header value.
    pub fn with(self, name: &'static str, value: &str) -> Result<Self> {
        self.with_header(HeaderName::from_static(name), value)
    }

    fn data(status: StatusCode, data: &impl Serialize, pagination: Option<Pagination>) -> Result<Self> {
        let json = serde_json::to_string(data).map_err(Error::internal)?;
        Ok(Self { status, headers: HeaderMap::new(), content: Content::Data { json, pagination } })
    }
}
