//! x
use xxnet_sim::runner::run_messages;
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    if args.len() == 1 {
        let o = run_messages(args[0], true);
        for l in &o.trace {
            println!("{l}");
        }
        println!("{:?}", o.result);
        println!("hash {:016x}", o.report.hash);
        return;
    }
    let mut by: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
    let mut m = xxnet_sim::Messages::default();
    let mut s = xxnet_sim::Sessions::default();
    let t = std::time::Instant::now();
    let mut shown = 0;
    let mut sim = 0;
    for seed in args[0]..args[0] + args[1] {
        let o = run_messages(seed, false);
        m.merge(&o.report.messages);
        s.merge(&o.report.sessions);
        sim += o.report.simulated;
        if let Err(f) = o.result {
            if by.get(f.oracle).is_none_or(|v| v.len() < 3) && shown < 40 {
                println!("{seed}: {f}");
                shown += 1;
            }
            by.entry(f.oracle.to_string()).or_default().push(seed);
        }
    }
    println!("{m:?}\n{s:?}\n{:.1} s, {} simulated", t.elapsed().as_secs_f64(), sim / 1_000_000);
    for (o, v) in by {
        println!("{o}: {} {:?}", v.len(), &v[..v.len().min(12)]);
    }
}
