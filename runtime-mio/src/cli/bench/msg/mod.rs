//! The messaging library beside a plain program on the same sockets: latency, rates, memory.

mod floor;

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
    if wanted("round trip") {
        rows.push(round_trip(args)?);
    }
    if wanted("one way, 64 bytes") {
        let ours = one_way(args, 64, 4_000_000, || vec![7; 64])?;
        let floor = floor::one_way(64, 20_000_000, 1000, pin).map_err(io("measure the floor"))?;
        rows.push(rate("one way, 64 bytes", &ours, &floor));
    }
    if wanted("dicts of three keys") {
        let mut n = 0;
        let dict = move || {
            n += 1;
            Dict::from([("job", n.into()), ("name", "build".into()), ("done", true.into())])
        };
        let ours = one_way(args, 0, 2_000_000, dict)?;
        let floor = floor::one_way(64, 20_000_000, 1000, pin).map_err(io("measure the floor"))?;
        rows.push(rate("dicts of three keys", &ours, &floor));
    }
    if wanted("one way, 64 KiB") {
        let large = bytes::Bytes::from(vec![7; 64 << 10]);
        let ours = one_way(args, 64 << 10, 100_000, move || large.clone())?;
        let floor = floor::one_way(64 << 10, 100_000, 1, pin).map_err(io("measure the floor"))?;
        let gigabytes = |rate: &Rate| rate.per_second() * rate.size as f64 / 1e9;
        let (ours, floor) = (gigabytes(&ours), gigabytes(&floor));
        rows.push(Row { name: "one way, 64 KiB", unit: "GB/s", ours, floor });
    }
    let value: Vec<Value> = rows.iter().map(Row::json).collect();
    let mut text = String::new();
    for row in &rows {
        let ratio = row.ours / row.floor;
        let _ = writeln!(
            text,
            "{:24} {:10.3} {:6} floor {:10.3}   ratio {ratio:6.3}",
            row.name, row.ours, row.unit, row.floor
        );
    }
    show(args.json, &Value::from(value), &text)
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "value": rounded(self.ours, 4),
            "floor": rounded(self.floor, 4),
            "ratio": rounded(self.ours / self.floor, 4),
        })
    }
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
    let ours = median(std::thread::spawn(work).join().map_err(|_| Failure::new("a thread ended"))??);
    let floor = std::thread::spawn(move || {
        pin(0);
        floor::round_trips(64, count)
    });
    let floor = floor.join().map_err(|_| Failure::new("a thread ended"))?;
    let floor = median(floor.map_err(io("measure the floor"))?);
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
