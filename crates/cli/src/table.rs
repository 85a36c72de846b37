//! Tables that fit the terminal: cells are shortened with `…`, the least important columns first, and columns that still
//! do not fit are left out. Without a width (a pipe, or `-o wide`) nothing is shortened, so scripts see stable text.
//!
//! Not comfy-table: it wraps cells over several lines and knows no order in which columns give way.

use console::{Style, measure_text_width, truncate_str};

const GAP: usize = 2;

/// A column's head and how it gives way.
#[derive(Debug, Clone)]
pub struct Head {
    /// The title, upper case.
    pub title: &'static str,
    /// Columns with a smaller number give way first.
    pub keep: u8,
    /// The width below which the column is left out rather than shortened.
    pub min: usize,
    /// Numbers stand to the right.
    pub right: bool,
}

/// One cell: its text and, where the meaning has one, its colour.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// The text, one line.
    pub text: String,
    /// The colour, if the text's meaning has one.
    pub style: Option<Style>,
}

/// Lays a table out as lines; `width` is the terminal's, `None` keeps every cell whole.
pub fn lay_out(heads: &[Head], rows: &[Vec<Cell>], width: Option<usize>, colour: bool) -> Vec<String> {
    let natural: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(i, head)| {
            let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| measure_text_width(&cell.text));
            cells.chain([measure_text_width(head.title)]).max().unwrap_or(0)
        })
        .collect();
    let widths = match width {
        Some(width) => fit(heads, &natural, width),
        None => natural.into_iter().map(Some).collect(),
    };
    let bold = Style::new().bold();
    let titles: Vec<Cell> =
        heads.iter().map(|head| Cell { text: head.title.to_owned(), style: Some(bold.clone()) }).collect();
    std::iter::once(&titles).chain(rows).map(|row| line(heads, row, &widths, colour)).collect()
}

/// The width of every column, `None` for one that is left out. The least important column gives way wholly before a more
/// important one is touched.
fn fit(heads: &[Head], natural: &[usize], width: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = natural.iter().copied().map(Some).collect();
    let mut order: Vec<(u8, usize, usize)> =
        heads.iter().enumerate().map(|(i, head)| (head.keep, i, head.min)).collect();
    order.sort_by_key(|(keep, i, _)| (*keep, std::cmp::Reverse(*i)));
    let most_important = order.last().map(|(_, i, _)| *i);
    for (_, i, min) in order {
        let over = total(&widths).saturating_sub(width);
        if over == 0 {
            break;
        }
        let Some(slot) = widths.get_mut(i) else {
            continue;
        };
        let current = slot.unwrap_or(0);
        let room = current.saturating_sub(over);
        *slot = if Some(i) == most_important {
            Some(room.max(1))
        } else if room >= min.min(current) {
            Some(room)
        } else {
            None
        };
    }
    widths
}

fn total(widths: &[Option<usize>]) -> usize {
    let shown: Vec<usize> = widths.iter().flatten().copied().collect();
    shown.iter().sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

fn line(heads: &[Head], row: &[Cell], widths: &[Option<usize>], colour: bool) -> String {
    let mut line = String::new();
    let mut shown = heads
        .iter()
        .zip(row)
        .zip(widths)
        .filter_map(|((head, cell), width)| width.map(|width| (head, cell, width)))
        .peekable();
    let mut first = true;
    while let Some((head, cell, width)) = shown.next() {
        if !first {
            line.push_str("  ");
        }
        first = false;
        let text = truncate_str(&cell.text, width, "…");
        let pad = " ".repeat(width.saturating_sub(measure_text_width(&text)));
        let text = match &cell.style {
            Some(style) if colour => crate::out::paint(&text, style),
            _ => text.into_owned(),
        };
        if head.right {
            line.push_str(&pad);
            line.push_str(&text);
        } else {
            line.push_str(&text);
            // No blanks at the end of a line: they wrap narrow terminals and pollute diffs.
            if shown.peek().is_some() {
                line.push_str(&pad);
            }
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(title: &'static str, keep: u8, min: usize) -> Head {
        Head { title, keep, min, right: false }
    }

    fn table(width: Option<usize>) -> Vec<String> {
        let heads =
            [head("ID", 9, 8), head("NAME", 8, 6), head("STATUS", 7, 6), head("LABELS", 1, 8), head("VERSION", 2, 5)];
        let row = |cells: [&str; 5]| cells.map(|text| Cell { text: text.to_owned(), style: None }).to_vec();
        let rows = vec![
            row([
                "01234567-89ab-cdef-0123-456789abcdef",
                "web-1.example.internal",
                "healthy",
                "env=prod,tier=web,zone=eu-west-1a",
                "0.1.0",
            ]),
            row(["11234567-89ab-cdef-0123-456789abcdef", "db-1", "unreachable", "-", "0.1.0"]),
        ];
        lay_out(&heads, &rows, width, false)
    }

    #[test]
    fn wide_terminals_show_everything() {
        assert_eq!(
            table(Some(200)),
            [
                "ID                                    NAME                    STATUS       LABELS                             VERSION",
                "01234567-89ab-cdef-0123-456789abcdef  web-1.example.internal  healthy      env=prod,tier=web,zone=eu-west-1a  0.1.0",
                "11234567-89ab-cdef-0123-456789abcdef  db-1                    unreachable  -                                  0.1.0",
            ]
        );
    }

    #[test]
    fn eighty_columns_leave_out_what_matters_least() {
        assert_eq!(
            table(Some(80)),
            [
                "ID                                    NAME                    STATUS       VERS…",
                "01234567-89ab-cdef-0123-456789abcdef  web-1.example.internal  healthy      0.1.0",
                "11234567-89ab-cdef-0123-456789abcdef  db-1                    unreachable  0.1.0",
            ]
        );
    }

    #[test]
    fn forty_columns_still_fit() {
        let lines = table(Some(40));
        assert!(lines.iter().all(|line| measure_text_width(line) <= 40), "{lines:#?}");
        assert!(lines[1].starts_with("01234567"), "{lines:#?}");
    }

    #[test]
    fn every_width_fits() {
        for width in 1..250 {
            for line in table(Some(width)) {
                assert!(measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_pipe_shortens_nothing_and_wide_letters_count_twice() {
        assert_eq!(table(None), table(Some(1000)));
        let rows = vec![vec![Cell { text: "日本".into(), style: None }, Cell { text: "x".into(), style: None }]];
        let lines = lay_out(&[head("A", 1, 1), head("B", 2, 1)], &rows, None, false);
        assert_eq!(lines, ["A     B", "日本  x"]);
    }

    #[test]
    fn numbers_stand_right_and_colour_does_not_change_widths() {
        let heads = [head("N", 1, 1), Head { title: "COUNT", keep: 2, min: 3, right: true }];
        let rows = vec![vec![
            Cell { text: "a".into(), style: Some(Style::new().green()) },
            Cell { text: "7".into(), style: None },
        ]];
        assert_eq!(lay_out(&heads, &rows, Some(40), false)[1], "a      7");
        let painted = &lay_out(&heads, &rows, Some(40), true)[1];
        assert!(painted.contains("\u{1b}[32m") && measure_text_width(painted) == 8, "{painted:?}");
    }
}
