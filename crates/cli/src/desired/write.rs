//! Writing a file of desired state: the same state always gives the same text, sorted, an object a block, so that two
//! files can be compared line by line.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::document::VERSION;
use super::{Kind, Present};
use crate::failure::{Failure, Outcome};
use crate::out::one_line;

/// The file's text.
pub fn text(sections: &BTreeMap<Kind, BTreeMap<String, Present>>) -> Outcome<String> {
    let mut text = format!(
        "# The desired state of a fleet, written by `reeve export`. `reeve apply -f FILE` brings a server to it.\nversion: {VERSION}\n"
    );
    for (kind, objects) in sections {
        if objects.is_empty() {
            text.push_str(&format!("\n{}: {{}}\n", kind.section()));
            continue;
        }
        text.push_str(&format!("\n{}:\n", kind.section()));
        for (name, present) in objects {
            let object = Map::from_iter([(name.clone(), Value::Object(present.spec.clone()))]);
            let block = serde_saphyr::to_string(&object).map_err(|error| Failure::local(error.to_string()))?;
            for (number, line) in block.lines().enumerate() {
                if line.is_empty() {
                    text.push('\n');
                    continue;
                }
                text.push_str("  ");
                text.push_str(line);
                if number == 0
                    && let Some(comment) = &present.comment
                {
                    text.push_str(&format!(" # {}", one_line(comment)));
                }
                text.push('\n');
            }
        }
    }
    Ok(text)
}
