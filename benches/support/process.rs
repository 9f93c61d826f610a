//! A program in a process of its own, and what it costs by /proc.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The unit of CPU times in /proc/<pid>/stat: `USER_HZ`, 100 on every Linux we know.
const TICK_US: u64 = 10_000;

/// A process that ends with this value.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts `program` with a subcommand, whose output is a file of its name in `dir`.
    pub fn start(program: &Path, dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(dir.join(format!("{}.log", arguments[0]))).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).stdout(log);
        Self(command.spawn().unwrap())
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).unwrap()
    }

    /// User and system time so far, in microseconds.
    pub fn cpu_us(&self) -> u64 {
        times_us(&self.proc_file("stat"), 0)
    }

    /// The most that it has held, in MiB; none once it has ended.
    pub fn peak_mib(&self) -> Option<f64> {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1024.0)
    }
}

/// User and system time of the processes that this one has waited for, in microseconds.
pub fn ended_children_cpu_us() -> u64 {
    times_us(&std::fs::read_to_string("/proc/self/stat").unwrap(), 2)
}

fn times_us(stat: &str, skip: usize) -> u64 {
    // The fields behind the name, which is in brackets and may hold anything: proc(5), utime is field 14.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11 + skip);
    fields.take(2).map(|field| field.parse::<u64>().unwrap()).sum::<u64>() * TICK_US
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens: one minute, which only what cannot start at all needs.
pub async fn wait_for(address: &str) {
    for _ in 0..3000 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}
