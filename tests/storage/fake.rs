//! A fake: a server that notes what it is asked, and answers as it is told. For what no real server here can do.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::proxy::{head_of, header};

pub struct Fake {
    pub address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// `answer` is given the whole request, and gives status, headers (each with its line end) and body.
    #[allow(clippy::disallowed_methods)] // A double outside the program: it ends with the test.
    pub async fn start(answer: fn(&str) -> (u16, &'static str, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let Ok((head, mut rest)) = head_of(&mut client).await else { continue };
                while rest.len() < header(&head, "content-length").unwrap_or(0) {
                    client.read_buf(&mut rest).await.unwrap();
                }
                let request = format!("{head}{}", String::from_utf8_lossy(&rest));
                let (status, headers, body) = answer(&request);
                notes.lock().unwrap().push(request);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                client.write_all(answer.as_bytes()).await.unwrap();
                client.shutdown().await.unwrap();
            }
        });
        Self { address, asked, task }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}
