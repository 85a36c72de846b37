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
    fn keys_are_told_apart() {
        let keys = decode(b"q\x1b[A\x1b[6~\x1bOD\x1b[15~r\x03");
        assert_eq!(keys, [Key::Char('q'), Key::Up, Key::PageDown, Key::Left, Key::Char('r'), Key::Stop]);
        assert_eq!(decode(b"\x1b"), [Key::Stop]);
        assert_eq!(decode("ü\r".as_bytes()), [Key::Char('ü')]);
        assert_eq!(decode(b"\x1b[\xff"), []);
        assert_eq!(decode(b""), []);
    }
}
