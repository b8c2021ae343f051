//! One large input, verified at another executor, beside `cp --reflink=never`.

use super::super::errors::{Failure, Outcome};
use super::super::scratch::{Scratch, noise};
use super::super::table::bytes;
use super::{Cluster, FileArgs, cannot, rounded, show, task};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xxnet_core::executor::InputFile;

pub(super) fn file(args: &FileArgs) -> Outcome {
    let mut cluster = Cluster::start(Scratch::new(args.dir.as_deref())?)?;
    cluster.executor(1)?;
    let source = cluster.scratch.at("input");
    make(&source, args.size)?;
    warm(&source)?;

    let (mut floor, mut best, mut whole) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..args.rounds {
        floor = floor.min(copy(&source, &cluster.scratch.at("copy"))?);
        let input = InputFile { path: source.as_os_str().as_bytes().to_vec(), name: b"input".to_vec() };
        let published = cluster.publish(vec![task(&["true"], vec![input])])?;
        // The command is started only once its inputs are verified.
        let running = published.running.values().next().copied().unwrap_or(published.all);
        best = best.min(running.duration_since(published.began));
        whole = whole.min(published.all.duration_since(published.began));
    }
    let ratio = best.as_secs_f64() / floor.as_secs_f64();
    // For people: what f64 rounds away does not show.
    let rate = |time: Duration| args.size as f64 / time.as_secs_f64() / 1e9;
    let value = json!({
        "bytes": args.size,
        "rounds": args.rounds,
        "seconds": rounded(best.as_secs_f64(), 4),
        "gigabytes_per_second": rounded(rate(best), 3),
        "until_ended_seconds": rounded(whole.as_secs_f64(), 4),
        "floor_seconds": rounded(floor.as_secs_f64(), 4),
        "floor_gigabytes_per_second": rounded(rate(floor), 3),
        "ratio": rounded(ratio, 3),
    });
    let text = format!(
        "{:>9} verified at the executor  {:7.3} s   {:5.2} GB/s\n\
         floor: cp --reflink=never          {:7.3} s   {:5.2} GB/s\n\
         ratio                              {ratio:7.2} x\n",
        bytes(args.size),
        best.as_secs_f64(),
        rate(best),
        floor.as_secs_f64(),
        rate(floor),
    );
    show(args.json, &value, &text)
}

fn make(path: &Path, size: u64) -> Outcome {
    let cannot = cannot("write the file to be measured");
    let mut file = std::fs::File::create(path).map_err(&cannot)?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        noise(left, &mut buffer);
        let piece = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        file.write_all(&buffer[..piece]).map_err(&cannot)?;
        left -= piece as u64;
    }
    // Its way to the disk shall not fall into the measurement.
    file.sync_all().map_err(&cannot)
}

/// Reads it once, so that both sides find it in the cache.
fn warm(path: &Path) -> Outcome {
    let cannot = cannot("read the file to be measured");
    let mut file = std::fs::File::open(path).map_err(&cannot)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer).map_err(&cannot)? > 0 {}
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome<Duration> {
    let began = Instant::now();
    let status = Command::new("cp")
        .arg("--reflink=never")
        .args([from, to])
        .stdin(Stdio::null())
        .status()
        .map_err(cannot("run cp"))?;
    let took = began.elapsed();
    std::fs::remove_file(to).map_err(cannot("remove the copy"))?;
    if status.success() { Ok(took) } else { Err(Failure::new(format!("cp failed ({status})"))) }
}
