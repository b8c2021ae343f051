//! The messaging library beside a plain program on the same sockets: latency, rates, memory.

mod codec;
mod floor;
mod many;

use super::super::errors::{Failure, Outcome};
use super::{MsgArgs, rounded, show};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use xxnet_core::{ClusterKey, Dict};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{IntoPayload, NetOptions};

/// So many messages of so many bytes, in this time.
pub(super) struct Rate {
    count: u64,
    size: usize,
    took: Duration,
}

impl Rate {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// One line of the report.
struct Row {
    name: &'static str,
    unit: &'static str,
    ours: f64,
    floor: f64,
}

pub(super) fn msg(args: &MsgArgs) -> Outcome {
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| name.contains(only));
    let mut rows = Vec::new();
    // Memory first: later the process has had more, and gives not all of it back.
    if wanted("memory, 100,000 queued") {
        let [queued, after] = on_threads(queued)?;
        rows.push(Row { name: "memory, 100,000 queued", unit: "MiB", ours: queued / MIB, floor: 0.0 });
        rows.push(Row { name: "memory, once they are taken", unit: "MiB", ours: after / MIB, floor: 0.0 });
    }
    if wanted("a thousand connections") {
        let trips = 200_000 * u64::from(args.scale);
        let ours = on_threads(move || many::many(1000, trips, pin))?;
        let floor = on_threads(move || floor::many(1000, 64, trips, pin).map_err(io("measure the floor")))?;
        let (per_second, floor) = (ours.per_second / 1e3, floor / 1e3);
        rows.push(Row { name: "a thousand connections", unit: "k/s", ours: per_second, floor });
        rows.push(Row { name: "memory, an idle end", unit: "KiB", ours: ours.idle / 1024.0, floor: 0.0 });
    }
    if wanted("round trip") {
        rows.push(round_trip(args)?);
    }
    if wanted("one way, 64 bytes") {
        let ours = one_way(args, 64, 4_000_000, || vec![7; 64])?;
        rows.push(rate("one way, 64 bytes", &ours, &floor_one_way(64, 20_000_000, 1000)?));
        rows.push(rate("  floor of one write each", &ours, &floor_one_way(64, 1_000_000, 1)?));
    }
    if wanted("dicts of three keys") {
        let mut n = 0;
        let dict = move || {
            n += 1;
            Dict::from([("job", n.into()), ("name", "build".into()), ("done", true.into())])
        };
        let ours = one_way(args, 0, 2_000_000, dict)?;
        rows.push(rate("dicts of three keys", &ours, &floor_one_way(64, 20_000_000, 1000)?));
    }
    if wanted("one way, 64 KiB") {
        let large = bytes::Bytes::from(vec![7; 64 << 10]);
        let ours = one_way(args, 64 << 10, 100_000, move || large.clone())?;
        let floor = floor_one_way(64 << 10, 100_000, 1)?;
        let gigabytes = |rate: &Rate| rate.per_second() * rate.size as f64 / 1e9;
        let (ours, floor) = (gigabytes(&ours), gigabytes(&floor));
        rows.push(Row { name: "one way, 64 KiB", unit: "GB/s", ours, floor });
    }
    if wanted("codec") {
        let [encode, decode] = on_threads(move || {
            pin(0);
            codec::codec()
        })?;
        rows.push(Row { name: "codec, encode", unit: "us", ours: encode.0, floor: encode.1 });
        rows.push(Row { name: "codec, decode", unit: "us", ours: decode.0, floor: decode.1 });
    }
    let value: Vec<Value> = rows.iter().map(Row::json).collect();
    let mut text = String::new();
    for row in &rows {
        let _ = write!(text, "{:28} {:10.3} {:4}", row.name, row.ours, row.unit);
        let _ = match row.ratio() {
            Some(ratio) => writeln!(text, "   floor {:10.3}   ratio {ratio:6.3}", row.floor),
            None => writeln!(text),
        };
    }
    show(args.json, &Value::from(value), &text)
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "value": rounded(self.ours, 4),
            "floor": self.ratio().map(|_| rounded(self.floor, 4)),
            "ratio": self.ratio().map(|ratio| rounded(ratio, 4)),
        })
    }

    /// Memory has no floor.
    fn ratio(&self) -> Option<f64> {
        (self.floor > 0.0).then(|| self.ours / self.floor)
    }
}

fn floor_one_way(size: usize, count: u64, batch: usize) -> Outcome<Rate> {
    on_threads(move || floor::one_way(size, count, batch, pin).map_err(io("measure the floor")))
}

fn rate(name: &'static str, ours: &Rate, floor: &Rate) -> Row {
    Row { name, unit: "M/s", ours: ours.per_second() / 1e6, floor: floor.per_second() / 1e6 }
}

fn net() -> Outcome<Net> {
    Net::start(NetOptions::new(ClusterKey([0; 32]))).map_err(|error| Failure::new(error.to_string()))
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    super::cannot(what)
}

fn fail(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the measurement failed: {error}"))
}

/// This thread, and those it starts, run on one core from now on.
fn pin(core: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the set is initialised, and lives through the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

const MIB: f64 = 1024.0 * 1024.0;

/// On threads of its own, so that pinning them pins nothing else.
fn on_threads<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    std::thread::spawn(work).join().map_err(|_| Failure::new("a thread of the measurement ended"))?
}

/// Bytes of memory that this process has; what it has freed is given back first.
fn resident() -> f64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0
}

/// Memory while 100,000 messages of 64 bytes wait for a peer that takes none of them, and once it has taken all.
fn queued() -> Outcome<[f64; 2]> {
    let (server, client) = (net()?, net()?);
    let to = client.to(server.listen("127.0.0.1:0").map_err(fail)?).map_err(fail)?;
    to.send(vec![7; 64]).map_err(fail)?;
    server.recv().map_err(fail)?;
    client.flush(Duration::from_secs(10)).map_err(fail)?;
    let before = resident();
    for _ in 0..100_000 {
        to.send(vec![7; 64]).map_err(fail)?;
    }
    // A window of them lies at the receiver, in this very process.
    let queued = resident() - before;
    for _ in 0..100_000 {
        server.recv().map_err(fail)?;
    }
    client.flush(Duration::from_secs(10)).map_err(fail)?;
    let after = resident() - before;
    client.shutdown(Duration::ZERO);
    Ok([queued, after])
}

/// Both ends on one core: what a message costs, and no wake-up across cores.
fn round_trip(args: &MsgArgs) -> Outcome<Row> {
    let count = 20_000 * args.scale as usize;
    let work = move || -> Outcome<Vec<Duration>> {
        pin(0);
        let (server, client) = (net()?, net()?);
        let to = server.listen("127.0.0.1:0").map_err(fail)?;
        let echo = std::thread::spawn(move || {
            for message in server.iter() {
                let _ = server.send(message.from(), message.bytes());
            }
        });
        let to = client.to(to).map_err(fail)?;
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            to.send(vec![7; 64]).map_err(fail)?;
            client.recv().map_err(fail)?;
            took.push(began.elapsed());
        }
        client.shutdown(Duration::from_secs(1));
        drop(echo);
        Ok(took)
    };
    let ours = median(on_threads(work)?);
    let floor = on_threads(move || {
        pin(0);
        floor::round_trips(64, count).map_err(io("measure the floor"))
    });
    let floor = median(floor?);
    Ok(Row { name: "round trip, 64 bytes", unit: "us", ours, floor })
}

/// In microseconds.
fn median(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took.get(took.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e6
}

/// The sender's threads on one core, the receiver's on the other.
fn one_way<P: IntoPayload>(
    args: &MsgArgs,
    size: usize,
    count: u64,
    mut make: impl FnMut() -> P + Send + 'static,
) -> Outcome<Rate> {
    let count = count * u64::from(args.scale);
    let (tell, told) = std::sync::mpsc::channel();
    let receiver = std::thread::spawn(move || -> Outcome<Instant> {
        pin(1);
        let server = net()?;
        tell.send(server.listen("127.0.0.1:0").map_err(fail)?).map_err(fail)?;
        for _ in 0..count {
            let message = server.recv().map_err(fail)?;
            if message.is_dict() {
                std::hint::black_box(message.dict().map_err(fail)?);
            }
        }
        let ended = Instant::now();
        // The last acknowledgement goes out before it ends.
        let _ = server.recv_timeout(Duration::from_millis(50));
        server.shutdown(Duration::ZERO);
        Ok(ended)
    });
    let to = told.recv().map_err(fail)?;
    let sender = std::thread::spawn(move || -> Outcome<Instant> {
        pin(0);
        let client = net()?;
        let to = client.to(to).map_err(fail)?;
        let began = Instant::now();
        for _ in 0..count {
            to.send(make()).map_err(fail)?;
        }
        client.flush(Duration::from_secs(60)).map_err(fail)?;
        client.shutdown(Duration::ZERO);
        Ok(began)
    });
    let ended = || Failure::new("a thread of the measurement ended");
    let began = sender.join().map_err(|_| ended())??;
    let end = receiver.join().map_err(|_| ended())??;
    Ok(Rate { count, size, took: end.duration_since(began) })
}
