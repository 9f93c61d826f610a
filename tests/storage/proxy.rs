//! A proxy in front of a server that does harm to chosen requests. One request per connection.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the request is passed on.
    Refused,
    /// It is passed on, and its answer is lost.
    Lost,
    /// It is not passed on; this is the answer.
    Answer(u16, &'static str),
    /// The answer ends after so many bytes of its body, in the middle of it.
    Cut(usize),
}

/// The next so many requests whose first line contains this are harmed.
struct Plan {
    line: &'static str,
    fault: Fault,
    left: u32,
}

pub struct Proxy {
    pub port: u16,
    plan: Arc<Mutex<Option<Plan>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// In front of the server on `port`.
    #[allow(clippy::disallowed_methods)] // A double outside the program: it ends with the test.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let plan: Arc<Mutex<Option<Plan>>> = Arc::default();
        let plans = Arc::clone(&plan);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let plan = Arc::clone(&plans);
                tokio::spawn(async move {
                    // Whoever ends a connection early is under test.
                    let _ = serve(client, port, &plan).await;
                });
            }
        });
        Self { port: own, plan, task }
    }

    /// From now on harms the next `times` requests whose first line contains `line`.
    pub fn harm(&self, line: &'static str, fault: Fault, times: u32) {
        *self.plan.lock().unwrap() = Some(Plan { line, fault, left: times });
    }

    /// How many are still to be harmed.
    pub fn left(&self) -> u32 {
        self.plan.lock().unwrap().take().map_or(0, |plan| plan.left)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, port: u16, plan: &Mutex<Option<Plan>>) -> std::io::Result<()> {
    let (head, mut rest) = head_of(&mut client).await?;
    let length = header(&head, "content-length").unwrap_or(0);
    while rest.len() < length {
        if client.read_buf(&mut rest).await? == 0 {
            return Ok(());
        }
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    let fault = {
        let mut plan = plan.lock().unwrap();
        plan.as_mut().filter(|plan| plan.left > 0 && first.contains(plan.line)).map(|plan| {
            plan.left -= 1;
            plan.fault
        })
    };
    match fault {
        Some(Fault::Refused) => return Ok(()),
        Some(Fault::Answer(status, headers)) => {
            let answer =
                format!("HTTP/1.1 {status} no\r\n{headers}connection: close\r\ncontent-length: 0\r\n\r\n");
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        _ => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes()).await?;
    server.write_all(&rest).await?;
    let (head, mut body) = head_of(&mut server).await?;
    server.read_to_end(&mut body).await?;
    match fault {
        Some(Fault::Lost) => return Ok(()),
        Some(Fault::Cut(bytes)) => body.truncate(bytes),
        _ => {}
    }
    client.write_all(head.as_bytes()).await?;
    client.write_all(&body).await?;
    client.shutdown().await
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
