//! Many clients at once, slow ones and large bodies: the memory of the program, which runs in a process of its own, stays
//! bounded, others are answered meanwhile, and it ends as it should. Linux only: its memory is read from /proc.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::process::{Served, serve};

/// The most memory that the process had so far, in KiB.
fn peak_kib(Served(child): &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// A connection from an address of its own: Linux has all of 127.0.0.0/8 on its loopback.
async fn connect(address: SocketAddr, client: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from_bits(0x7f02_0000 + client), 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

async fn is_healthy(address: SocketAddr) {
    let answer = reqwest::get(format!("http://{address}/health")).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "Ok");
}

fn ends_well(mut program: Served) {
    let told = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status().unwrap();
    assert!(told.success() && program.0.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_client_addresses_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (program, address, _log) = serve(&dir, "service: {http: {port: 0}, logger: {format: JSON}}\n");
    let address: SocketAddr = address.parse().unwrap();
    let ask = async |clients: std::ops::Range<u32>| {
        for client in clients {
            let mut stream = connect(address, client).await;
            stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    };
    // What a first thousand needs is there for all.
    ask(0..1_000).await;
    let before = peak_kib(&program);
    ask(1_000..11_000).await;
    let more = peak_kib(&program) - before;
    assert!(more < 16 << 10, "{more} KiB more for 10,000 addresses");
    ends_well(program);
}

/// 300 that send half a head, 200 half a small body, and 100 that send 7 of the 8 MiB that a body may have, and rest there:
/// 700 MiB, of which the service takes what eight of them have.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_with_large_bodies_take_bounded_memory_and_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "service: {http: {port: 0, timeout: 60000, read-timeout: 60000}, logger: {format: JSON}}\n";
    let (program, address, _log) = serve(&dir, yaml);
    let address: SocketAddr = address.parse().unwrap();
    is_healthy(address).await;
    let before = peak_kib(&program);

    let mut held = Vec::new();
    for client in 0..500 {
        let mut stream = connect(address, client).await;
        let head: &[u8] = if client < 300 {
            b"POST /v1/restore/full HTTP/1.1\r\nHos"
        } else {
            b"POST /v1/restore/full HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        };
        stream.write_all(head).await.unwrap();
        held.push(stream);
    }
    let chunk = vec![b' '; 64 << 10];
    let mut sent = 0;
    for client in 500..600 {
        let mut stream = connect(address, client).await;
        let head = "POST /v1/restore/full HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..112 {
            // Whoever is not read from any more has to wait.
            let written = stream.write_all(&chunk);
            if tokio::time::timeout(Duration::from_millis(200), written).await.is_err() {
                break;
            }
            sent += chunk.len();
        }
        held.push(stream);
        is_healthy(address).await;
    }
    assert!(sent > (8 * 7) << 20, "eight of them were taken whole: {sent} bytes");
    let more = peak_kib(&program) - before;
    assert!(more < 200 << 10, "{more} KiB more for 600 slow clients");

    // Who was not slow is served, also with a large body of its own once the others are gone.
    drop(held);
    let client = reqwest::Client::new();
    let large = client.post(format!("http://{address}/v1/restore/full")).body(" ".repeat(8 << 20));
    assert_eq!(large.send().await.unwrap().status().as_u16(), 400);
    let larger = client.post(format!("http://{address}/v1/restore/full")).body(" ".repeat((8 << 20) + 1));
    // It may be told while it still sends.
    if let Ok(answer) = larger.send().await {
        assert_eq!(answer.status().as_u16(), 413);
    }
    is_healthy(address).await;
    ends_well(program);
}
