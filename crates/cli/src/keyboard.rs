//! Single keys from the terminal, without echo and without waiting for the end of a line. The terminal is put back when
//! the keyboard is dropped, whatever the reason.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// How long the reader waits before it looks whether it is still wanted.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter, a digit, a sign.
    Char(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The beginning.
    Home,
    /// The end.
    End,
    /// Ctrl-C, or Escape alone.
    Stop,
}

/// The terminal's keyboard while it is ours.
pub struct Keyboard {
    keys: mpsc::Receiver<Key>,
    before: Termios,
    wanted: Arc<AtomicBool>,
}

impl Keyboard {
    /// Takes the keyboard over.
    pub fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Output stays as it is: lines end with a carriage return by themselves.
        raw.output_modes = before.output_modes;
        tcsetattr(&stdin, OptionalActions::Flush, &raw)?;
        let (sender, keys) = mpsc::channel(64);
        let wanted = Arc::new(AtomicBool::new(true));
        let keyboard = Self { keys, before, wanted: Arc::clone(&wanted) };
        std::thread::Builder::new().name("keyboard".into()).spawn(move || read(&sender, &wanted))?;
        Ok(keyboard)
    }

    /// The next key. Cancel safe. Never ends.
    pub async fn next(&mut self) -> Key {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        // A terminal that is gone needs nothing put back.
        tcsetattr(io::stdin(), OptionalActions::Flush, &self.before).ok();
    }
}

/// The terminal without echo, put back when this is dropped.
struct Unseen(Termios);

impl Drop for Unseen {
    fn drop(&mut self) {
        tcsetattr(io::stdin(), OptionalActions::Flush, &self.0).ok();
    }
}

/// A line that is not shown while it is typed; `None` after Ctrl-C. Keys are read one by one: a signal would end the
/// process and leave the person with a terminal that shows nothing.
pub fn unseen_line() -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut raw = before.clone();
    raw.make_raw();
    raw.output_modes = before.output_modes;
    let _unseen = Unseen(before);
    tcsetattr(&stdin, OptionalActions::Flush, &raw)?;
    let (mut line, mut byte) = (Vec::new(), [0_u8; 1]);
    loop {
        match rustix::io::read(stdin.as_fd(), &mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match typed(&mut line, byte[0]) {
            Typed::More => {}
            Typed::Line => break,
            Typed::Interrupt => return Ok(None),
        }
    }
    String::from_utf8(line).map(Some).map_err(|_| io::Error::other("what was typed is not UTF-8"))
}

#[derive(Debug, PartialEq, Eq)]
enum Typed {
    More,
    Line,
    Interrupt,
}

/// What a key does to the line.
fn typed(line: &mut Vec<u8>, byte: u8) -> Typed {
    match byte {
        b'\r' | b'\n' => return Typed::Line,
        3 => return Typed::Interrupt,
        // Ctrl-D
        4 if line.is_empty() => return Typed::Interrupt,
        // Backspace takes a whole letter.
        8 | 127 => while line.pop().is_some_and(|gone| gone & 0xc0 == 0x80) {},
        // Ctrl-U
        21 => line.clear(),
        0..32 => {}
        byte => line.push(byte),
    }
    Typed::More
}

fn read(keys: &mpsc::Sender<Key>, wanted: &AtomicBool) {
    let stdin = io::stdin();
    let mut bytes = [0_u8; 64];
    while wanted.load(Ordering::Relaxed) {
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waiting, Some(&LOOK)) {
            Ok(0) => continue,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let Ok(n) = rustix::io::read(stdin.as_fd(), &mut bytes) else { return };
        if n == 0 {
            return;
        }
        for key in decode(&bytes[..n]) {
            if keys.blocking_send(key).is_err() {
                return;
            }
        }
    }
}

/// The keys in what a terminal sent at once.
fn decode(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let mut keys = Vec::new();
    let mut rest = text.as_ref();
    while let Some(c) = rest.chars().next() {
        let (key, length) = match (c, rest.get(1..)) {
            ('\u{1b}', Some("")) => (Some(Key::Stop), 1),
            ('\u{1b}', Some(after)) => sequence(after),
            ('\u{3}', _) => (Some(Key::Stop), 1),
            (c, _) if c.is_control() => (None, c.len_utf8()),
            (c, _) => (Some(Key::Char(c)), c.len_utf8()),
        };
        keys.extend(key);
        rest = rest.get(length..).unwrap_or_default();
    }
    keys
}

/// A key that is sent as several characters, by what follows its escape; and the length of the whole.
fn sequence(after: &str) -> (Option<Key>, usize) {
    let known = [
        ("[A", Key::Up),
        ("[B", Key::Down),
        ("[C", Key::Right),
        ("[D", Key::Left),
        ("OA", Key::Up),
        ("OB", Key::Down),
        ("OC", Key::Right),
        ("OD", Key::Left),
        ("[5~", Key::PageUp),
        ("[6~", Key::PageDown),
        ("[H", Key::Home),
        ("[F", Key::End),
        ("[1~", Key::Home),
        ("[4~", Key::End),
        ("OH", Key::Home),
        ("OF", Key::End),
    ];
    match known.into_iter().find(|(text, _)| after.starts_with(text)) {
        Some((text, key)) => (Some(key), 1 + text.len()),
        None => {
            // An unknown sequence ends with its first letter or tilde.
            let end = after.char_indices().skip(1).find(|(_, c)| c.is_ascii_alphabetic() || *c == '~');
            (None, 1 + end.map_or(after.len(), |(at, _)| at + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unseen_line_can_be_edited_and_left() {
        let ends = |keys: &[u8]| {
            let mut line = Vec::new();
            let end = keys.iter().map(|key| typed(&mut line, *key)).find(|end| *end != Typed::More);
            (end, String::from_utf8(line).unwrap())
        };
        assert_eq!(ends("gehéim\r".as_bytes()), (Some(Typed::Line), "gehéim".into()));
        assert_eq!(ends("geé\x7f\x08heim\n".as_bytes()), (Some(Typed::Line), "gheim".into()));
        assert_eq!(ends(b"wrong\x15right\r"), (Some(Typed::Line), "right".into()));
        assert_eq!(ends(b"half\x03").0, Some(Typed::Interrupt));
        assert_eq!(ends(b"\x04").0, Some(Typed::Interrupt));
        assert_eq!(ends(b"\x7f\x04x").0, Some(Typed::Interrupt));
    }

    #[test]
    fn keys_are_told_apart() {
        let keys = decode(b"q\x1b[A\x1b[6~\x1bOD\x1b[15~r\x03");
        assert_eq!(keys, [Key::Char('q'), Key::Up, Key::PageDown, Key::Left, Key::Char('r'), Key::Stop]);
        assert_eq!(decode(b"\x1b"), [Key::Stop]);
        assert_eq!(decode("ü\r".as_bytes()), [Key::Char('ü')]);
        assert_eq!(decode(b"\x1b[\xff"), []);
        assert_eq!(decode(b""), []);
    }
}
