//! Output that grows at the server: printed as far as it is there, or followed to its end. And the reading of streams,
//! whatever they carry.

use serde_json::Value;

use crate::Session;
use crate::api::Api;
use crate::failure::{Failure, OK, Outcome};
use crate::follow::{Follow, Offsets, Source, Step};
use crate::sse::Event;

/// Prints what there is, from a byte on.
pub(super) async fn print(session: &mut Session<'_>, api: &Api, path: &str, mut offset: u64) -> Outcome<u8> {
    loop {
        let (text, headers) = api.text(path, &vec![("offset", offset.to_string())]).await?;
        session.world.out.raw(&text)?;
        let next = headers.get("x-next-offset").and_then(|next| next.to_str().ok()?.parse::<u64>().ok());
        match next {
            Some(next) if next > offset && !text.is_empty() => offset = next,
            _ => return Ok(OK),
        }
    }
}

/// Prints output from a byte on until it ends, and gives what the stream says at its end; `None` when somebody pressed
/// Ctrl-C.
pub(super) async fn tail(session: &mut Session<'_>, path: &str, offset: u64) -> Outcome<Option<Value>> {
    let mut source = Source::beginning(path.to_owned());
    source.last_event_id = (offset > 0).then(|| offset.to_string());
    let mut offsets = Offsets::default();
    read(session, source, |session, event| {
        let data = || serde_json::from_str::<Value>(&event.data).map_err(|error| Failure::local(error.to_string()));
        match event.kind.as_str() {
            "output" => {
                let chunk = data()?;
                session.world.out.raw(fresh(&mut offsets, path, &chunk, event.id.as_deref()))?;
                Ok(None)
            }
            "end" => data().map(Some),
            _ => Ok(None),
        }
    })
    .await
}

/// Reads a stream until `take` has what it looks for; `None` when somebody pressed Ctrl-C.
pub(super) async fn read<T>(
    session: &mut Session<'_>,
    source: Source,
    mut take: impl FnMut(&mut Session<'_>, &Event) -> Outcome<Option<T>>,
) -> Outcome<Option<T>> {
    let mut follow = Follow::start(session.api()?, source, session.world.pace);
    loop {
        let step = tokio::select! {
            step = follow.next() => step,
            () = session.world.interrupt.next() => return Ok(None),
        };
        match step {
            Step::Events(events) => {
                for event in &events {
                    if let Some(found) = take(session, event)? {
                        session.world.out.flush()?;
                        return Ok(Some(found));
                    }
                }
                session.world.out.flush()?;
            }
            Step::Lost(why) => session.world.out.note(&format!("connection lost ({why}), trying again"))?,
            Step::Resumed => session.world.out.note("connected again")?,
            Step::Failed(failure) => return Err(failure),
        }
    }
}

/// The part of an `output` event's text that `of` has not shown yet.
pub fn fresh<'a>(offsets: &mut Offsets, of: &str, chunk: &'a Value, event_id: Option<&str>) -> &'a str {
    let number = |key: &str| chunk.get(key).and_then(Value::as_u64);
    let text = chunk.get("text").and_then(Value::as_str).unwrap_or_default();
    let next = number("next_offset").or_else(|| event_id?.parse().ok());
    offsets.accept(of, number("offset").unwrap_or(0), next, text)
}
