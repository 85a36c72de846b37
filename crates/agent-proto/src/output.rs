//! A command's output: made valid UTF-8 while it streams, and bounded by keeping its beginning and its end.

use std::collections::VecDeque;

/// Bytes kept from each end of an output.
pub const KEEP_BYTES: usize = 512 * 1024;

/// Turns a byte stream into UTF-8 text; characters may be cut anywhere between chunks.
#[derive(Debug, Default)]
pub struct Utf8Stream {
    carry: [u8; 4],
    carry_len: usize,
}

impl Utf8Stream {
    /// Appends the text of `bytes` to `text`, holding back an unfinished last character.
    pub fn push(&mut self, mut bytes: &[u8], text: &mut String) {
        // A held back beginning is completed byte by byte until it is a character or cannot become one.
        while self.carry_len > 0 && !bytes.is_empty() {
            self.carry[self.carry_len] = bytes[0];
            self.carry_len += 1;
            bytes = &bytes[1..];
            let held = self.carry;
            let held = &held[..self.carry_len];
            match std::str::from_utf8(held) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.carry_len = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    self.carry_len = 0;
                    text.push(char::REPLACEMENT_CHARACTER);
                    // Everything after the first byte may start something valid; the broken character ends before
                    // the byte that could not continue it.
                    let last = held[held.len() - 1];
                    if let Ok(ascii) = std::str::from_utf8(std::slice::from_ref(&last)) {
                        text.push_str(ascii);
                    } else if std::str::from_utf8(std::slice::from_ref(&last)).is_err_and(|e| e.error_len().is_none()) {
                        self.carry[0] = last;
                        self.carry_len = 1;
                    } else {
                        text.push(char::REPLACEMENT_CHARACTER);
                    }
                }
            }
        }
        loop {
            match std::str::from_utf8(bytes) {
                Ok(valid) => {
                    text.push_str(valid);
                    return;
                }
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    match error.error_len() {
                        Some(bad) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            bytes = &rest[bad..];
                        }
                        None => {
                            self.carry[..rest.len()].copy_from_slice(rest);
                            self.carry_len = rest.len();
                            return;
                        }
                    }
                }
            }
        }
    }

    /// The stream ended: an unfinished character becomes a replacement character.
    pub fn finish(&mut self, text: &mut String) {
        if self.carry_len > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
            self.carry_len = 0;
        }
    }
}

/// Keeps the first and last [`KEEP_BYTES`] of a text and counts the rest.
#[derive(Debug, Default)]
pub struct BoundedOutput {
    head: String,
    tail: VecDeque<u8>,
    total: u64,
    head_full: bool,
    keep: Option<usize>,
}

impl BoundedOutput {
    /// Keeps [`KEEP_BYTES`] of each end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps `keep` bytes of each end.
    pub fn with_keep(keep: usize) -> Self {
        Self { keep: Some(keep), ..Self::default() }
    }

    /// Bytes pushed so far, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) {
        self.total += text.len() as u64;
        let keep = self.keep();
        let mut rest = text;
        if !self.head_full {
            let room = keep - self.head.len();
            let cut = if rest.len() <= room { rest.len() } else { floor_char_boundary(rest, room) };
            self.head.push_str(&rest[..cut]);
            rest = &rest[cut..];
            self.head_full = !rest.is_empty();
        }
        if rest.len() > keep {
            self.tail.clear();
            rest = &rest[ceil_char_boundary(rest, rest.len() - keep)..];
        }
        let excess = (self.tail.len() + rest.len()).saturating_sub(keep);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(rest.as_bytes());
    }

    /// The kept text; a line marks the gap when something was left out.
    pub fn finish(mut self) -> String {
        let tail = self.tail.make_contiguous();
        // Draining by bytes may have cut the first character.
        let start = tail.iter().take(4).take_while(|b| (**b & 0xc0) == 0x80).count();
        let tail = std::str::from_utf8(&tail[start..]).unwrap_or_default();
        let kept = (self.head.len() + tail.len()) as u64;
        let mut text = self.head;
        if kept < self.total {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("...[truncated: {} bytes omitted]...\n", self.total - kept));
        }
        text.push_str(tail);
        text
    }

    fn keep(&self) -> usize {
        self.keep.unwrap_or(KEEP_BYTES)
    }
}

/// Appends `line` as a line of its own.
pub fn append_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(chunks: &[Vec<u8>]) -> String {
        let mut text = String::new();
        let mut utf8 = Utf8Stream::default();
        for chunk in chunks {
            utf8.push(chunk, &mut text);
        }
        utf8.finish(&mut text);
        text
    }

    #[test]
    fn small_output_is_untouched() {
        let mut output = BoundedOutput::with_keep(8);
        output.push("0123456789");
        assert_eq!(output.finish(), "0123456789");
    }

    #[test]
    fn the_gap_is_marked_and_counted() {
        let mut output = BoundedOutput::with_keep(4);
        for _ in 0..10 {
            output.push("abc");
        }
        assert_eq!(output.total(), 30);
        assert_eq!(output.finish(), "abca\n...[truncated: 22 bytes omitted]...\ncabc");
    }

    #[test]
    fn the_default_keeps_half_a_mebibyte_of_each_end() {
        let mut output = BoundedOutput::new();
        let block = "x".repeat(100_000);
        for _ in 0..30 {
            output.push(&block);
        }
        let omitted = 3_000_000 - 2 * KEEP_BYTES;
        let text = output.finish();
        assert!(text.contains(&format!("\n...[truncated: {omitted} bytes omitted]...\n")));
        assert!(text.len() < 2 * KEEP_BYTES + 64);
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(text in "\\PC{0,60}", cuts in proptest::collection::vec(0usize..80, 0..8)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let chunks: Vec<Vec<u8>> = cuts.windows(2).map(|w| bytes[w[0]..w[1]].to_vec()).collect();
            prop_assert_eq!(stream(&chunks), text);
        }

        #[test]
        fn any_bytes_become_the_same_text_as_in_one_piece(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..12)) {
            let whole = chunks.concat();
            prop_assert_eq!(stream(&chunks), String::from_utf8_lossy(&whole).into_owned());
        }

        #[test]
        fn bounded_output_keeps_both_ends(pieces in proptest::collection::vec("\\PC{0,20}", 0..20), keep in 4usize..40) {
            let whole = pieces.concat();
            let mut output = BoundedOutput::with_keep(keep);
            for piece in &pieces {
                output.push(piece);
            }
            let text = output.finish();
            if whole.len() <= keep {
                prop_assert_eq!(text, whole);
            } else if let Some((head, rest)) = text.split_once("...[truncated: ") {
                prop_assert!(whole.starts_with(head.strip_suffix('\n').unwrap_or(head)));
                let (count, tail) = rest.split_once(" bytes omitted]...\n").unwrap();
                prop_assert!(whole.ends_with(tail));
                prop_assert!(count.parse::<usize>().unwrap() <= whole.len());
            } else {
                prop_assert_eq!(text, whole);
            }
        }
    }
}
