//! Text of other machines on our terminal: what would move the cursor, name the window, answer questions or write over
//! other lines does not get there. Colours may.

/// Parameters of a colour are shorter than this.
const LONGEST_SEQUENCE: usize = 64;

/// What of a text may reach the terminal besides letters, tabs and line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Sequences that change the colour.
    pub colour: bool,
    /// Carriage returns: only where nothing of ours stands on the line.
    pub carriage_return: bool,
}

/// Makes a text safe that comes in pieces: a sequence may be cut between two of them.
#[derive(Debug, Default)]
pub struct Filter {
    held: String,
}

impl Filter {
    /// The next piece.
    pub fn pass(&mut self, piece: &str, allowed: Allowed) -> String {
        let text = std::mem::take(&mut self.held) + piece;
        let mut safe = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            if c == '\u{1b}' {
                match colour_at(rest) {
                    Sequence::Colour(length) => {
                        if allowed.colour {
                            safe.push_str(&rest[..length]);
                        }
                        rest = &rest[length..];
                        continue;
                    }
                    Sequence::Cut => {
                        rest.clone_into(&mut self.held);
                        return safe;
                    }
                    Sequence::Other => {}
                }
            }
            match c {
                '\n' | '\t' => safe.push(c),
                '\r' if allowed.carriage_return => safe.push(c),
                c if is_steering(c) => safe.push('\u{fffd}'),
                c => safe.push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        safe
    }
}

/// A whole text made safe.
pub fn text(text: &str, allowed: Allowed) -> String {
    let mut filter = Filter::default();
    let mut safe = filter.pass(text, allowed);
    if !filter.held.is_empty() {
        safe.push('\u{fffd}');
        safe.push_str(&filter.held[1..]);
    }
    safe
}

/// Whether a character is not seen but does something: control characters, also those of 8 bits, and those that turn
/// the direction of all that follows or end a line.
pub fn is_steering(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

enum Sequence {
    Colour(usize),
    Cut,
    Other,
}

/// What the escape at the beginning of `text` begins.
fn colour_at(text: &str) -> Sequence {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else {
        return if text.len() == 1 { Sequence::Cut } else { Sequence::Other };
    };
    let end = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'));
    match end {
        Some(end) if parameters[end..].starts_with('m') => Sequence::Colour(2 + end + 1),
        None if text.len() < LONGEST_SEQUENCE => Sequence::Cut,
        _ => Sequence::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOUR: Allowed = Allowed { colour: true, carriage_return: false };
    const NOTHING: Allowed = Allowed { colour: false, carriage_return: false };

    #[test]
    fn colours_pass_and_nothing_else_does() {
        let hostile = "\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{1b}[2J \u{9b}2J a\rb \u{8} \u{202e}x\n\tok";
        assert_eq!(
            text(hostile, COLOUR),
            "\u{1b}[1;31mred\u{1b}[0m \u{fffd}]0;title\u{fffd} \u{fffd}[2J \u{fffd}2J a\u{fffd}b \u{fffd} \u{fffd}x\n\tok"
        );
        assert!(text(hostile, NOTHING).starts_with("red \u{fffd}]0;title"));
        assert_eq!(text("10%\r20%", Allowed { colour: false, carriage_return: true }), "10%\r20%");
        assert_eq!(text("ünï 日本 👩‍🚀", NOTHING), "ünï 日本 👩‍🚀");
    }

    #[test]
    fn a_sequence_may_be_cut_anywhere() {
        let whole = "a\u{1b}[31mb\u{1b}[2Kc";
        for (cut, _) in whole.char_indices() {
            let mut filter = Filter::default();
            let safe = filter.pass(&whole[..cut], COLOUR) + &filter.pass(&whole[cut..], COLOUR);
            assert_eq!(safe, "a\u{1b}[31mb\u{fffd}[2Kc", "cut at {cut}");
        }
        // One that never ends is not kept for ever.
        let mut filter = Filter::default();
        filter.pass("\u{1b}[", COLOUR);
        assert!(filter.pass(&"1;".repeat(100), COLOUR).starts_with("\u{fffd}[1;1;"));
        assert_eq!(text("end\u{1b}", COLOUR), "end\u{fffd}");
    }
}
