//! Bodies, slow clients, many clients, ids and headers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::helpers::{Running, one_routine};

async fn connect(service: &Running) -> TcpStream {
    TcpStream::connect(service.service.http_address()).await.unwrap()
}

/// What comes until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_its_length_is_said_or_not() {
    let service = Running::start(one_routine).await;
    let at_most = " ".repeat(8 << 20);
    for path in ["/v1/restore/timestamp", "/v1/backups/full/daily", "/v1/config/apply"] {
        let answer = service.send(Method::POST, path, &[], at_most.clone()).await;
        assert_ne!(answer.status.as_u16(), 413, "{path}");
        let mut stream = connect(&service).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 8388609\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 413", "{path}");
        let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
        let mut stream = connect(&service).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..9 {
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 413", "{path}, in chunks");
    }
    assert_eq!(service.get("/health").await.body, "Ok");
}

#[tokio::test]
async fn whoever_sends_too_slowly_is_not_waited_for() {
    let service = Running::start(|dir| {
        format!(
            "service: {{http: {{timeout: 200, read-timeout: 300, idle-timeout: 200}}}}\n{}",
            one_routine(dir)
        )
    })
    .await;
    let mut half_a_head = connect(&service).await;
    half_a_head.write_all(b"GET /health HT").await.unwrap();
    let mut half_a_body = connect(&service).await;
    let head = b"POST /v1/restore/timestamp HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    half_a_body.write_all(head).await.unwrap();
    let mut idle = connect(&service).await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // Without the limits these would wait for ever.
    let ended = tokio::time::timeout(Duration::from_mins(1), async {
        (rest(&mut half_a_head).await, rest(&mut half_a_body).await, rest(&mut idle).await)
    });
    let (head, body, idle) = ended.await.unwrap();
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
}

/// Linux has all of 127.0.0.0/8 on its loopback.
#[tokio::test]
async fn ten_thousand_clients_have_each_their_own_limit() {
    let service =
        Running::start(|_| "service: {http: {rate: {tps: 1, size: 2, white-list: [127.0.0.1]}}}".to_owned())
            .await;
    let address = service.service.http_address();
    let mut limited = 0;
    for client in 0..10_000_u32 {
        // One in a hundred asks more often than it may.
        let times = if client % 100 == 0 { 6 } else { 1 };
        let from = Ipv4Addr::from_bits(0x7f01_0000 + client);
        let statuses = ask(address, from, times).await;
        assert_eq!(statuses[0], "200", "{from}");
        limited += usize::from(statuses.iter().any(|status| status == "429"));
    }
    assert_eq!(limited, 100);
    for _ in 0..10 {
        assert_eq!(service.get("/health").await.status.as_u16(), 200, "in the white list");
    }
}

async fn ask(address: SocketAddr, from: Ipv4Addr, times: usize) -> Vec<String> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    for at in 0..times {
        let end = if at + 1 == times { "Connection: close\r\n" } else { "" };
        let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n{end}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    let answers = rest(&mut stream).await;
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

#[tokio::test]
async fn every_answer_has_an_id_and_headers_for_browsers() {
    let service = Running::unconfigured().await;
    for (path, status) in [("/health", 200), ("/v1/jobs/0", 404), ("/v1/nothing", 404), ("/v1/jobs?x=1", 400)]
    {
        let answer = service.get(path).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.headers.get_all("x-content-type-options").iter().count(), 1);
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(answer.header("strict-transport-security"), "", "it is in clear");
        assert_eq!(answer.header("server"), concat!("holdfast/", env!("CARGO_PKG_VERSION")));
    }
    let given = service.send(Method::GET, "/health", &[("x-request-id", "abc-1.2_3")], "").await;
    assert_eq!(given.header("x-request-id"), "abc-1.2_3");
    let long = "x".repeat(65);
    for bad in ["a b", "a\"b", long.as_str(), ""] {
        let answer = service.send(Method::GET, "/health", &[("x-request-id", bad)], "").await;
        assert_eq!(answer.header("x-request-id").len(), 16, "{bad}");
    }
}

#[tokio::test]
async fn whoever_does_not_take_its_answers_is_not_waited_for() {
    let service = Running::start(|_| "service: {http: {write-timeout: 300}}".to_owned()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(service.service.http_address()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    // Without the limit the buffers fill, and then nothing moves any more.
    let ended = tokio::time::timeout(Duration::from_mins(1), async {
        while stream.write_all(request).await.is_ok() {}
    });
    assert!(ended.await.is_ok(), "the connection is still there");
    assert_eq!(service.get("/health").await.body, "Ok");
}
