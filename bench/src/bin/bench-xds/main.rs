//! What a big mesh costs a proxy: first sync, one change, many changes, everything again.
//!
//! This process is the control plane, the backends and the caller; the proxy is a process of its own. Prints one line of
//! JSON. `bench/xds.py` runs it for each proxy and compares.

mod mesh;
mod process;
mod server;
mod traffic;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use mesh::Shape;
use process::Proxy;
use serde_json::json;
use server::ControlPlane;
use traffic::{Caller, backend, paced};

/// How long a change may take before it counts as lost.
const LOST: Duration = Duration::from_secs(30);

/// Measures one proxy.
#[derive(Debug, Parser)]
struct Arguments {
    /// The proxy's binary; takes Envoy's command line.
    #[arg(long)]
    proxy: PathBuf,
    /// Number of clusters, and of virtual hosts.
    #[arg(long, default_value_t = 10_000)]
    clusters: usize,
    /// Endpoints in each cluster.
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// Use the delta protocol.
    #[arg(long)]
    delta: bool,
    /// Single changes to measure.
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Seconds of 1,000 changes each.
    #[arg(long, default_value_t = 30)]
    storm: u64,
    /// Seconds of paced calls, with and without a resend of the mesh.
    #[arg(long, default_value_t = 5)]
    calls: u64,
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let shape = Shape {
        clusters: arguments.clusters,
        endpoints: arguments.endpoints,
        listener: free_port()?,
        backends: [backend('a')?, backend('b')?],
    };
    let socket = server::bind()?;
    let port = socket.local_addr()?.port();
    let control_plane = ControlPlane::start(shape, socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let started = Instant::now();
    let proxy = Proxy::start(&arguments.proxy, port, free_port()?, arguments.delta)?;
    // The last virtual host: with it everything is there.
    first_answer(&shape, shape.clusters - 1)?;
    let first = started.elapsed();
    let first_cpu = proxy.cpu()?;
    std::thread::sleep(Duration::from_secs(2));
    let (peak, pss) = (proxy.peak()?, proxy.pss()?);

    // One endpoint moves; calls go on until one is answered by the other backend.
    let mut seen = Vec::new();
    let mut caller = Caller::new(shape.listener);
    let host = Shape::host(7);
    for number in 0..arguments.changes {
        let target = (number + 1) % 2;
        let begin = Instant::now();
        runtime.block_on(control_plane.move_endpoint(7, target));
        wait_for(&mut caller, &host, target, begin)?;
        seen.push(begin.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    seen.sort_unstable();

    // The same without calls: what a change costs.
    let before = (proxy.cpu()?, control_plane.answers().0);
    for number in 0..arguments.changes {
        runtime.block_on(control_plane.move_endpoint(8, (number + 1) % 2));
        std::thread::sleep(Duration::from_millis(10));
    }
    wait_for(&mut caller, &Shape::host(8), arguments.changes % 2, Instant::now())?;
    let change_cpu = (proxy.cpu()? - before.0) / arguments.changes.max(1) as u32;

    // 1,000 changes a second, then every cluster must be as it was told last.
    let (storm_seconds, storm_cpu) = storm(&arguments, &shape, &control_plane, &runtime, &proxy)?;
    let after_storm = proxy.pss()?;

    let pace = Duration::from_millis(1);
    let calls = arguments.calls as usize * 1000;
    let quiet = paced(shape.listener, &host, calls, pace)?;
    let resend = std::thread::scope(|scope| {
        let caller = scope.spawn(|| paced(shape.listener, &host, calls, pace));
        runtime.block_on(control_plane.resend());
        caller.join().map_err(|_| io::Error::other("the caller panicked"))?
    })?;
    let (accepted, refused) = control_plane.answers();
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let percentile = |sorted: &[Duration], part: f64| {
        let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().map_or(0.0, milliseconds)
    };
    let report = json!({
        "first_request_ms": milliseconds(first),
        "first_sync_cpu_ms": milliseconds(first_cpu),
        "peak_rss_kib": peak,
        "pss_kib": pss,
        "change_visible_ms_median": percentile(&seen, 0.5),
        "change_visible_ms_p99": percentile(&seen, 0.99),
        "change_cpu_ms": milliseconds(change_cpu),
        "storm_seconds": storm_seconds,
        "storm_cpu_ms_per_change": storm_cpu,
        "pss_after_storm_kib": after_storm,
        "pss_at_end_kib": proxy.pss()?,
        "quiet_p50_ms": percentile(&quiet, 0.5),
        "quiet_p99_ms": percentile(&quiet, 0.99),
        "resend_p99_ms": percentile(&resend, 0.99),
        "accepted": accepted,
        "refused": refused,
    });
    use io::Write as _;
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

/// Calls until there is an answer.
fn first_answer(shape: &Shape, cluster: usize) -> io::Result<()> {
    let begin = Instant::now();
    let mut caller = Caller::new(shape.listener);
    loop {
        if let Ok((200, _)) = caller.call(&Shape::host(cluster)) {
            return Ok(());
        }
        if begin.elapsed() > LOST * 4 {
            return Err(io::Error::other("the proxy never served"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Calls until the answer comes from the right backend.
fn wait_for(caller: &mut Caller, host: &str, target: usize, begin: Instant) -> io::Result<()> {
    let letter = ['a', 'b'][target];
    loop {
        if caller.call(host).is_ok_and(|answer| answer == (200, Some(letter))) {
            return Ok(());
        }
        if begin.elapsed() > LOST {
            return Err(io::Error::other(format!("a change of {host} never came into force")));
        }
    }
}

/// Sends many changes; how long it took and what CPU time each cost.
fn storm(
    arguments: &Arguments,
    shape: &Shape,
    control_plane: &ControlPlane,
    runtime: &tokio::runtime::Runtime,
    proxy: &Proxy,
) -> io::Result<(f64, f64)> {
    let changes = arguments.storm * 1000;
    let spread = 500.min(shape.clusters);
    let before = proxy.cpu()?;
    let begin = Instant::now();
    let mut targets = vec![0; spread];
    for number in 0..changes {
        let cluster = (number as usize).wrapping_mul(7919) % spread;
        targets[cluster] = 1 - targets[cluster];
        runtime.block_on(control_plane.move_endpoint(cluster, targets[cluster]));
        let due = begin + Duration::from_millis(number);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
    }
    let sent = begin.elapsed().as_secs_f64();
    let mut caller = Caller::new(shape.listener);
    for (cluster, target) in targets.iter().enumerate() {
        wait_for(&mut caller, &Shape::host(cluster), *target, Instant::now())?;
    }
    let cpu = (proxy.cpu()? - before).as_secs_f64() * 1000.0 / changes.max(1) as f64;
    Ok((sent, cpu))
}
