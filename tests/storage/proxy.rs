//! A proxy in front of a server that does harm to chosen requests. One request per connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pages::Pages;
use crate::still::Still;

/// Where a body is cut, unless it is shorter than twice that.
const CUT_BYTES: usize = 1000;

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing.
    None,
    /// The connection ends before the request is passed on.
    Refused,
    /// It is passed on, and its answer is lost.
    Lost,
    /// It is passed on twice, one after the other; the answer is that to the second.
    Twice,
    /// It is not passed on; this is the answer: status, headers, code.
    Answer(u16, &'static str, &'static str),
    /// The connection is reset while the request's body is on its way.
    ResetSent,
    /// The connection is reset in the middle of the answer.
    Reset,
    /// The answer ends in the middle, in order.
    Cut,
    /// As [`Harm::Cut`], and the answer's head says that this is all.
    Short,
    /// It is not passed on, and no answer comes.
    Stall,
    /// The answer stands still in its middle.
    StallBody,
    /// A bit of the request's body is another one.
    FlipSent,
    /// A bit of the answer's body is another one.
    Flip,
    /// Not this page of a list, but the one after it.
    SkipPage,
    /// This page of a list, which says that it is the last one.
    LastPage,
    /// This page of a list, which says that there is more, and not where.
    NoToken,
    /// This page of a list, which says that it is the next one too.
    SamePage,
}

/// Which requests are meant: their method, and what is in the first line beside it.
#[derive(Debug, Clone, Copy)]
pub struct Aim(pub &'static str, pub &'static str);

struct Plan {
    aim: Aim,
    steps: VecDeque<Harm>,
    always: Option<Harm>,
    /// How many requests were harmed.
    met: usize,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    port: u16,
    pace: Arc<Still>,
    plan: Mutex<Option<Plan>>,
    pages: Mutex<Option<Pages>>,
}

impl Proxy {
    /// In front of the server on `port`. Those who wait for an answer that it holds back do it by `pace`.
    #[allow(clippy::disallowed_methods)] // A double outside the program: it ends with the test.
    pub async fn start(port: u16, pace: Arc<Still>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { port, pace, plan: Mutex::default(), pages: Mutex::default() });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        // Whoever ends a connection early is under test.
                        let _ = serve(client, &shared).await;
                    });
                }
            }
        });
        Self { port: own, shared, task }
    }

    /// From now on harms the requests that are meant, one after the other, and those after them by `always`.
    pub fn harm(&self, aim: Aim, steps: &[Harm], always: Option<Harm>) {
        let steps = steps.iter().copied().collect();
        *self.shared.plan.lock().unwrap() = Some(Plan { aim, steps, always, met: 0 });
    }

    /// No harm any more; how many requests were harmed.
    pub fn heal(&self) -> usize {
        self.shared.plan.lock().unwrap().take().map_or(0, |plan| plan.met)
    }

    /// Lists come in pages of so many rows from now on.
    pub fn page_by(&self, rows: usize) {
        *self.shared.pages.lock().unwrap() = Some(Pages::of(rows));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn harm_of(&self, first: &str) -> Harm {
        let mut plan = self.plan.lock().unwrap();
        let Some(plan) = plan.as_mut() else { return Harm::None };
        if !first.starts_with(plan.aim.0) || !first.contains(plan.aim.1) {
            return Harm::None;
        }
        let harm = plan.steps.pop_front().or(plan.always).unwrap_or(Harm::None);
        plan.met += usize::from(harm != Harm::None);
        harm
    }

    /// Holds a connection until the other end leaves it.
    async fn stall(&self, mut client: TcpStream) -> std::io::Result<()> {
        let _standing = self.pace.stall();
        while client.read(&mut [0; 1024]).await? > 0 {}
        Ok(())
    }

    /// What the server answers: its head and its body, put together.
    async fn ask(&self, head: &str, sent: &[u8]) -> std::io::Result<Answer> {
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).await?;
        server.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes()).await?;
        server.write_all(sent).await?;
        let (head, mut body) = head_of(&mut server).await?;
        server.read_to_end(&mut body).await?;
        Ok(Answer::new(&head, body))
    }
}

/// An answer of the server.
struct Answer {
    /// Its lines but those about its length; each with its end.
    head: String,
    /// What it says of its length.
    length: Option<usize>,
    body: Vec<u8>,
}

impl Answer {
    fn new(head: &str, body: Vec<u8>) -> Self {
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let length = header(head, "content-length");
        let about_length = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            ["content-length", "transfer-encoding", "connection"].contains(&name.as_str())
        };
        let lines = head.lines().filter(|line| !line.is_empty() && !about_length(line));
        let head = lines.flat_map(|line| [line, "\r\n"]).collect();
        Self { head, length, body: if is_chunked { unchunked(&body) } else { body } }
    }

    /// Its head, which says that so many bytes come.
    fn head(&self, length: usize) -> Vec<u8> {
        format!("{}connection: close\r\ncontent-length: {length}\r\n\r\n", self.head).into_bytes()
    }

    /// Where it is cut.
    fn cut(&self) -> usize {
        (self.body.len() / 2).min(CUT_BYTES)
    }
}

/// The body that comes in chunks.
fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&chunks[..end]).unwrap().split(';').next().unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 2 + size + 2..];
    }
    body
}

/// Another bit: in the name of a row if there is one, else in the middle.
fn flip(bytes: &mut [u8]) {
    let row = bytes.windows(4).position(|four| four == b"/row").map(|at| at + 1);
    let at = row.unwrap_or(bytes.len() / 2);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}

async fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (head, mut sent) = head_of(&mut client).await?;
    let first = head.lines().next().unwrap_or_default().to_owned();
    let length = header(&head, "content-length").unwrap_or(0);
    let harm = shared.harm_of(&first);
    if head.to_ascii_lowercase().contains("expect: 100-continue") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let enough = if harm == Harm::ResetSent { length / 2 } else { length };
    while sent.len() < enough {
        if client.read_buf(&mut sent).await? == 0 {
            return Ok(());
        }
    }
    match harm {
        Harm::Refused => return Ok(()),
        Harm::ResetSent => return reset(client),
        Harm::Stall => return shared.stall(client).await,
        Harm::Answer(status, headers, code) => {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
            let body = if first.starts_with("HEAD") { "" } else { &body };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} no\r\n{headers}content-type: application/xml\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        Harm::FlipSent => flip(&mut sent),
        _ => {}
    }
    let known = shared.pages.lock().unwrap().as_ref().and_then(|pages| pages.kept(&first));
    let mut answer = match known {
        Some(head) => Answer { head, length: None, body: Vec::new() },
        None => shared.ask(&head, &sent).await?,
    };
    if harm == Harm::Twice {
        answer = shared.ask(&head, &sent).await?;
    }
    if let Some(pages) = shared.pages.lock().unwrap().as_mut()
        && let Some(page) = pages.page(&first, &answer.head, &answer.body, harm)
    {
        answer.body = page;
    }
    give(client, &first, answer, harm, shared).await
}

/// Gives the server's answer, or what is left of it.
async fn give(
    mut client: TcpStream,
    first: &str,
    mut answer: Answer,
    harm: Harm,
    shared: &Shared,
) -> std::io::Result<()> {
    if harm == Harm::Flip {
        flip(&mut answer.body);
    }
    let whole = if first.starts_with("HEAD") { answer.length.unwrap_or(0) } else { answer.body.len() };
    let cut = answer.cut();
    let (said, given) = match harm {
        Harm::Lost => return Ok(()),
        Harm::Short => (cut, cut),
        Harm::Cut | Harm::Reset | Harm::StallBody => (whole, cut),
        _ => (whole, answer.body.len()),
    };
    // Without a body there is no middle of it.
    let has_head = given > 0 || !matches!(harm, Harm::Cut | Harm::Reset | Harm::StallBody);
    if has_head {
        client.write_all(&answer.head(said)).await?;
        client.write_all(&answer.body[..given]).await?;
        client.flush().await?;
    }
    match harm {
        Harm::Reset => {
            // What came before a reset is seen only if it was read before.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            reset(client)
        }
        Harm::StallBody => shared.stall(client).await,
        _ => client.shutdown().await,
    }
}

/// Ends a connection without a word.
fn reset(client: TcpStream) -> std::io::Result<()> {
    client.set_zero_linger()?;
    drop(client);
    Ok(())
}

/// What comes up to the empty line, and what was read beyond it.
pub async fn head_of(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

pub fn header(head: &str, name: &str) -> Option<usize> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.trim().parse().ok()
}
