//! An incremental parser of `text/event-stream`, as the HTML standard describes it, with bounded buffers. No IO.

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The last event id in force when the event was dispatched.
    pub id: Option<String>,
    /// The event's type; `message` when the stream named none.
    pub kind: String,
    /// The data lines, joined by line ends.
    pub data: String,
}

/// What a chunk of bytes may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Bytes that one event may have before the stream is given up.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// The parser: feed it bytes, take events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    kind: String,
    data: String,
    has_data: bool,
    /// The id that the next event will have; it counts only once that event is whole.
    coming_id: Option<String>,
    id: Option<String>,
    retry_ms: Option<u64>,
}

impl Parser {
    /// A parser that continues after an event id.
    pub fn resuming(last_event_id: Option<String>) -> Self {
        Self { coming_id: last_event_id.clone(), id: last_event_id, ..Self::default() }
    }

    /// The last event id that the stream gave.
    pub fn last_event_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The waiting time before a new connection that the stream asked for, in milliseconds.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Reads bytes and appends the events that they complete.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        for &byte in bytes {
            let was_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if was_cr => {}
                b'\n' | b'\r' => self.end_line(events),
                byte => {
                    if self.line.len() + self.data.len() >= MAX_EVENT_BYTES {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let text = if self.started { &text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        self.started = true;
        if text.is_empty() {
            self.dispatch(events);
            return;
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.coming_id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            // Comments (an empty field name) keep the connection alive; unknown fields are ignored.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        self.id.clone_from(&self.coming_id);
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            let kind = if kind.is_empty() { "message".to_owned() } else { kind };
            events.push(Event { id: self.id.clone(), kind, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, &mut events).unwrap();
        }
        events
    }

    fn event(id: Option<&str>, kind: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), kind: kind.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = "\u{feff}: hello\r\nevent: output\nid: 5\ndata: {\"text\":\"héllo\"}\ndata:more\n\nretry: 250\rdata\r\revent: none\n\ndata: last\n\ndata: cut off";

    #[test]
    fn a_stream_parses_the_same_however_it_is_cut() {
        let whole = parse(&[STREAM.as_bytes()]);
        assert_eq!(
            whole,
            [
                event(Some("5"), "output", "{\"text\":\"héllo\"}\nmore"),
                event(Some("5"), "message", ""),
                event(Some("5"), "message", "last")
            ]
        );
        for cut in 0..STREAM.len() {
            let (a, b) = STREAM.as_bytes().split_at(cut);
            assert_eq!(parse(&[a, b]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), whole);
    }

    #[test]
    fn the_id_and_retry_are_kept() {
        let mut parser = Parser::resuming(Some("3".into()));
        let mut events = Vec::new();
        parser.feed(b"retry: 40\ndata: a\n\nid: 9\ndata: b\n\nretry: x\n", &mut events).unwrap();
        assert_eq!(events, [event(Some("3"), "message", "a"), event(Some("9"), "message", "b")]);
        assert_eq!((parser.last_event_id(), parser.retry_ms()), (Some("9"), Some(40)));
    }

    #[test]
    fn an_event_that_is_cut_off_does_not_count() {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        parser.feed(b"id: 8\ndata: a\n\nid: 99\ndata: b", &mut events).unwrap();
        assert_eq!(parser.last_event_id(), Some("8"));
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        let chunk = vec![b'a'; 1024 * 1024];
        let result = (0..9).try_for_each(|_| parser.feed(&chunk, &mut events));
        assert_eq!(result, Err(TooLong));
    }
}
