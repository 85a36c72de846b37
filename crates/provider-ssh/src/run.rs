//! One command on a connection: given, fed, heard, and ended when its time is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reeve_ports::remote::{End, Outcome, OutputSink, Pipe, RemoteError, RemoteErrorKind, RemoteOrder};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::connection::{Connection, unreachable_host};
use crate::shell::{self, PidLine};

/// Silence after the end of a command after which nobody waits for output of what it left behind in the background.
const LINGER: Duration = Duration::from_secs(1);
/// How long output may come after the end at all.
const LINGER_AT_MOST: Duration = Duration::from_secs(30);
/// Input goes out in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;

/// What a command reads.
pub enum Input {
    Bytes(Bytes),
    /// Read while it is sent.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

/// Runs an order that has been validated.
pub async fn run(
    connection: &Arc<Connection>,
    order: &RemoteOrder,
    input: Input,
    sink: &mut dyn OutputSink,
) -> Result<Outcome, RemoteError> {
    let deadline = Instant::now() + order.timeout;
    let Ok(place) = timeout_at(deadline, connection.sessions().acquire()).await else {
        let text = format!("{} was busy with other commands for {}", connection.label(), seconds(order.timeout));
        return Err(RemoteError::new(RemoteErrorKind::Refused, text));
    };
    let Ok(opened) = timeout_at(deadline, connection.channel()).await else {
        let text = format!("{} did not give a session within {}", connection.label(), seconds(order.timeout));
        return Err(unreachable_host(text));
    };
    let text = shell::text(order);
    let (read, write) = Channel::split(opened?);
    let write = Arc::new(write);
    let session =
        Session { connection: Arc::clone(connection), write: Arc::clone(&write), read, pid: PidLine::default() };
    let mut command = Running { session: Some(session) };
    if let Err(error) = write.exec(true, shell::command_line(&text)).await {
        command.session = None;
        return Err(unreachable_host(format!("the connection to {} is gone: {error}", connection.label())));
    }
    let heard = Heard { sink, most: order.output_bytes, total: 0, handed: 0 };
    let outcome = attend(command, &write, Bytes::from(text), input, heard, deadline, order.timeout).await;
    drop(place);
    connection.touch();
    outcome
}

/// A command that was given to the host. Dropped before it is over, it is ended in the background.
struct Running {
    /// None once it is over.
    session: Option<Session>,
}

/// The channel of a command, and what it told of itself.
struct Session {
    connection: Arc<Connection>,
    write: Arc<ChannelWriteHalf<Msg>>,
    read: ChannelReadHalf,
    pid: PidLine,
}

async fn attend(
    mut command: Running,
    write: &ChannelWriteHalf<Msg>,
    text: Bytes,
    input: Input,
    mut heard: Heard<'_>,
    deadline: Instant,
    limit: Duration,
) -> Result<Outcome, RemoteError> {
    let mut feeding = std::pin::pin!(feed(write, text, input));
    let mut fed = false;
    let mut end: Option<(End, Instant)> = None;
    let mut eof = false;
    while let Some(session) = &mut command.session {
        let patience = match &end {
            Some((_, at)) => (Instant::now() + LINGER).min(*at + LINGER_AT_MOST),
            None => deadline,
        };
        let message = tokio::select! {
            message = timeout_at(patience, session.read.wait()) => message,
            result = &mut feeding, if !fed => {
                fed = true;
                match result {
                    Ok(()) => {}
                    // Commands need not read all their input; whether the connection stands shows when reading.
                    Err(FeedError::Connection) => {}
                    Err(FeedError::Local(error)) => {
                        command.end().await;
                        let text = format!("what was to be sent cannot be read: {error}");
                        return Err(RemoteError::invalid(text));
                    }
                }
                continue;
            }
        };
        match message {
            Err(_) if end.is_some() => break,
            Err(_) => return Err(command.time_is_over(limit).await),
            Ok(None | Some(ChannelMsg::Close)) => break,
            Ok(Some(ChannelMsg::Data { data })) => heard.hand_on(Pipe::Stdout, &data),
            Ok(Some(ChannelMsg::ExtendedData { data, .. })) => {
                session.pid.filter(&data, |bytes| heard.hand_on(Pipe::Stderr, bytes));
            }
            Ok(Some(ChannelMsg::Failure)) => {
                let text = format!("{} runs no commands for this login", session.connection.label());
                command.session = None;
                return Err(RemoteError::new(RemoteErrorKind::Refused, text));
            }
            Ok(Some(ChannelMsg::ExitStatus { exit_status })) => end = Some((End::Exited(exit_status), Instant::now())),
            Ok(Some(ChannelMsg::ExitSignal { signal_name, .. })) => {
                end = Some((End::Signalled(signal_word(&signal_name)), Instant::now()));
            }
            Ok(Some(ChannelMsg::Eof)) => eof = true,
            Ok(Some(_)) => {}
        }
        if eof && end.is_some() {
            break;
        }
    }
    let mut session = command.session.take();
    if let Some(session) = &mut session {
        session.pid.flush(|bytes| heard.hand_on(Pipe::Stderr, bytes));
    }
    let label = session.as_ref().map_or("the host", |session| session.connection.label());
    let Some((end, _)) = end else {
        let text = format!("the connection to {label} broke while the command ran: it may have done its work or not");
        return Err(RemoteError::new(RemoteErrorKind::Lost, text));
    };
    if write.close().await.is_err() {
        debug!(host = label, "the connection ended with its command");
    }
    Ok(Outcome { end, output_bytes: heard.total, omitted_bytes: heard.total - heard.handed })
}

enum FeedError {
    Connection,
    Local(std::io::Error),
}

/// Sends what the shell evaluates, then what the command reads.
async fn feed(write: &ChannelWriteHalf<Msg>, text: Bytes, input: Input) -> Result<(), FeedError> {
    let send = async |piece: Bytes| write.data_bytes(piece).await.map_err(|_| FeedError::Connection);
    send(text).await?;
    match input {
        Input::Bytes(bytes) => {
            if !bytes.is_empty() {
                send(bytes).await?;
            }
        }
        Input::Stream(mut reader) => {
            let mut buffer = vec![0; PIECE_BYTES];
            loop {
                let read = reader.read(&mut buffer).await.map_err(FeedError::Local)?;
                let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
                send(Bytes::copy_from_slice(piece)).await?;
            }
        }
    }
    write.eof().await.map_err(|_| FeedError::Connection)
}

/// What the host printed, counted and bounded.
struct Heard<'a> {
    sink: &'a mut dyn OutputSink,
    most: u64,
    total: u64,
    handed: u64,
}

impl Heard<'_> {
    fn hand_on(&mut self, pipe: Pipe, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = usize::try_from(self.most - self.handed).unwrap_or(usize::MAX);
        let taken = &bytes[..bytes.len().min(room)];
        if !taken.is_empty() {
            self.handed += taken.len() as u64;
            self.sink.write(pipe, taken);
        }
    }
}

impl Running {
    async fn time_is_over(mut self, limit: Duration) -> RemoteError {
        let label = self.session.as_ref().map(|session| session.connection.label().to_owned()).unwrap_or_default();
        let after = if self.end().await { "it was ended" } else { "whether it could be ended is not known" };
        let text = format!("the command on {label} took longer than {}; {after}", seconds(limit));
        RemoteError::new(RemoteErrorKind::TimedOut, text)
    }

    /// Ends the command, and says whether the host agrees that it is gone.
    async fn end(&mut self) -> bool {
        match self.session.take() {
            Some(session) => end(session).await,
            None => true,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(end(session));
        }
    }
}

/// Asks the sshd to signal the session (which it does for some logins only), and a shell beside it to end its group.
async fn end(session: Session) -> bool {
    let Session { connection, write, mut read, mut pid } = session;
    let grace = RemoteOrder::GRACE;
    let ending = async {
        write.signal(Sig::TERM).await?;
        // Given up so early that the command has not told its number yet, it is still running.
        while pid.is_awaited() {
            match read.wait().await {
                Some(ChannelMsg::ExtendedData { data, .. }) => pid.filter(&data, |_| {}),
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        let mut ended = false;
        if let Some(pid) = pid.pid {
            let mut channel = connection.channel().await.map_err(|_| russh::Error::Disconnect)?;
            channel.exec(false, shell::kill_line(pid, grace.as_secs())).await?;
            while let Some(message) = channel.wait().await {
                if let ChannelMsg::ExitStatus { exit_status } = message {
                    ended = exit_status == 0;
                }
            }
        }
        write.close().await?;
        Ok::<bool, russh::Error>(ended)
    };
    match timeout(grace + Duration::from_secs(4), ending).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(_)) => false,
        Err(_) => {
            // It does not even answer to this: the next order gets a connection of its own.
            connection.close("no answer").await;
            false
        }
    }
}

fn signal_word(signal: &Sig) -> String {
    match signal {
        Sig::Custom(word) => word.chars().filter(char::is_ascii_alphanumeric).take(20).collect(),
        known => format!("{known:?}"),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}
