//! A small blocking HTTP/1.1 client: one keep-alive connection, JSON in and out. Small because the load generator is
//! this, and it must cost less than what it measures.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A client of one listener, with one bearer.
#[derive(Debug)]
pub struct Client {
    address: String,
    bearer: String,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client of `http://host:port`. It connects with the first request.
    pub fn new(url: &str, bearer: &str) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { address, bearer: bearer.to_owned(), timeout: Duration::from_secs(60), connection: None }
    }

    /// The same with another limit for connecting and for each answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request and reads the whole answer.
    pub fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer> {
        let reused = self.connection.is_some();
        match self.exchange(method, path, body) {
            // A kept connection may have been closed meanwhile; only what cannot change anything is sent twice.
            Err(_) if reused && method == "GET" => self.exchange(method, path, body),
            result => result,
        }
    }

    /// GET, expecting success; the answer's `data`.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        let answer = self.send("GET", path, None)?;
        data("GET", path, &answer)
    }

    /// A request with a JSON body, expecting success; the answer's `data`.
    pub fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.send(method, path, Some(body.to_string().as_bytes()))?;
        data(method, path, &answer)
    }

    /// POSTs a JSON body under an idempotency key, on the kept connection if there is one. Never sent twice: whoever gets no
    /// answer decides what that means.
    pub fn post_once(&mut self, path: &str, idempotency_key: &str, body: &[u8]) -> Result<Answer> {
        let header = format!("idempotency-key: {idempotency_key}\r\n");
        let result = self.write_with("POST", path, &header, Some(body)).and_then(|()| self.read());
        if result.is_err() {
            self.connection = None;
        }
        result.with_context(|| format!("POST http://{}{path}", self.address))
    }

    /// Opens a stream of server-sent events. The connection is used up by it.
    pub fn events(mut self, path: &str) -> Result<Events> {
        self.write("GET", path, None)?;
        let mut connection = self.connection.take().context("not connected")?;
        let head = Head::read(&mut connection)?;
        if head.status != 200 {
            bail!("GET {path} answered {}", head.status);
        }
        Ok(Events { connection, chunked: head.chunked, rest: Vec::new() })
    }

    fn exchange(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer> {
        let result = self.write(method, path, body).and_then(|()| self.read());
        if result.is_err() {
            self.connection = None;
        }
        result.with_context(|| format!("{method} http://{}{path}", self.address))
    }

    fn write(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<()> {
        self.write_with(method, path, "", body)
    }

    fn write_with(&mut self, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}", self.address);
        if !self.bearer.is_empty() {
            request += &format!("authorization: Bearer {}\r\n", self.bearer);
        }
        if let Some(body) = body {
            request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        request += "\r\n";
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        if self.connection.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            stream.set_write_timeout(Some(self.timeout))?;
            self.connection = Some(BufReader::with_capacity(16 * 1024, stream));
        }
        let connection = self.connection.as_mut().context("not connected")?;
        connection.get_mut().write_all(&bytes)?;
        Ok(())
    }

    fn read(&mut self) -> Result<Answer> {
        let connection = self.connection.as_mut().context("not connected")?;
        let head = Head::read(connection)?;
        let mut body = Vec::new();
        if head.chunked {
            while read_chunk(connection, &mut body)? {}
        } else if let Some(length) = head.length {
            body.resize(length, 0);
            connection.read_exact(&mut body)?;
        } else if !matches!(head.status, 204 | 304) {
            connection.read_to_end(&mut body)?;
        }
        if head.close {
            self.connection = None;
        }
        Ok(Answer { status: head.status, body })
    }
}

/// Server-sent events as they come.
#[derive(Debug)]
pub struct Events {
    connection: BufReader<TcpStream>,
    chunked: bool,
    rest: Vec<u8>,
}

/// One event.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Its name; empty for a comment or a bare message.
    pub event: String,
    /// Its id.
    pub id: String,
    /// Its data lines.
    pub data: String,
}

impl Events {
    /// The next event, or none when the stream has ended.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.rest.drain(..end + 2).collect();
                let event = parse(&String::from_utf8_lossy(&text));
                if !event.event.is_empty() || !event.data.is_empty() {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.chunked {
                if !read_chunk(&mut self.connection, &mut self.rest)? {
                    return Ok(None);
                }
            } else {
                let read = self.connection.fill_buf()?;
                if read.is_empty() {
                    return Ok(None);
                }
                let length = read.len();
                self.rest.extend_from_slice(read);
                self.connection.consume(length);
            }
        }
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.event = value.to_owned(),
            "id" => event.id = value.to_owned(),
            "data" if event.data.is_empty() => event.data = value.to_owned(),
            "data" => event.data += &format!("\n{value}"),
            _ => {}
        }
    }
    event
}

struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
    close: bool,
}

impl Head {
    fn read(connection: &mut BufReader<TcpStream>) -> Result<Self> {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("not HTTP: {line:?}"))?;
        let mut head = Self { status, length: None, chunked: false, close: false };
        loop {
            line.clear();
            connection.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().ok(),
                "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => head.close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Appends the next chunk; false at the last one.
fn read_chunk(connection: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<bool> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        bail!("the connection was closed in mid answer");
    }
    let size = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)
        .with_context(|| format!("not a chunk size: {line:?}"))?;
    let start = body.len();
    body.resize(start + size, 0);
    connection.read_exact(&mut body[start..])?;
    connection.read_line(&mut line)?;
    Ok(size > 0)
}

fn data(method: &str, path: &str, answer: &Answer) -> Result<Value> {
    if !(200..300).contains(&answer.status) {
        bail!("{method} {path} answered {}: {}", answer.status, answer.text());
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    let mut json = answer.json()?;
    Ok(json.get_mut("data").map(Value::take).unwrap_or(json))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers each accepted connection with the given bytes, once per request.
    fn serve(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for answer in answers {
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        url
    }

    #[test]
    fn lengths_chunks_and_empty_answers_are_read_on_one_connection() {
        let url = serve(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"data\":{\"a\":1",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"data\":\r\n2\r\n7}\r\n0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
        ]);
        let mut client = Client::new(&url, "secret");
        assert_eq!(client.send("GET", "/a", None).unwrap().text(), "{\"data\":{\"a\":1");
        assert_eq!(client.get("/b").unwrap(), Value::Null);
        assert_eq!(client.get("/c").unwrap(), Value::from(7));
        assert_eq!(client.get("/d").unwrap_err().to_string(), "GET /d answered 404: gone");
    }

    #[test]
    fn events_are_split_at_blank_lines() {
        let url = serve(vec![
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             e\r\n: hi\n\nevent: a\r\n16\r\n\nid: 4\ndata: x\ndata: y\r\n2\r\n\n\n\r\n0\r\n\r\n",
        ]);
        let mut events = Client::new(&url, "").events("/e").unwrap();
        let event = events.next_event().unwrap().unwrap();
        assert_eq!((event.event.as_str(), event.id.as_str(), event.data.as_str()), ("a", "4", "x\ny"));
        assert!(events.next_event().unwrap().is_none());
    }
}
