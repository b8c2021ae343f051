//! A chat without a server: each line of standard input goes to everybody who is known, and whoever writes is known from then
//! on.
//!
//! ```sh
//! cargo run -p xxnet-runtime-mio --example chat -- 127.0.0.1:7801                  # one, who waits to be called
//! cargo run -p xxnet-runtime-mio --example chat -- 127.0.0.1:7802 127.0.0.1:7801   # another, who calls
//! ```

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xxnet_core::{Address, ClusterKey, Dict};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{NetEvent, NetOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// All who chat need the same key. This one is no secret: it stands here.
const KEY: ClusterKey = ClusterKey(*b"the key of an example, no secret");

/// Listens on an address. Peers know us by it.
pub(crate) fn open(listen: &str) -> Result<(Net, Address)> {
    let net = Net::start(NetOptions::new(KEY))?;
    let at = net.listen(listen)?;
    Ok((net, at))
}

/// Sends each line of `input` to all peers, and writes what comes to `output`, until the input ends.
pub(crate) fn chat(
    net: &Net,
    peers: impl IntoIterator<Item = Address>,
    input: impl BufRead,
    output: impl Write + Send + 'static,
) -> Result<()> {
    let peers: BTreeSet<Address> = peers.into_iter().collect();
    let (peers, output) = (Arc::new(Mutex::new(peers)), Arc::new(Mutex::new(output)));
    let say = move |line: String| {
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that is gone misses what is said; the input's end is what ends us.
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    };
    // Two threads end with the net: one hears what is said, the other what could not be.
    let (hears, heard_by, known) = (net.clone(), say.clone(), Arc::clone(&peers));
    std::thread::spawn(move || {
        for message in hears.iter() {
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(message.from().clone());
            let text = message.dict().ok();
            let text = text.as_ref().and_then(|dict| dict.get("text")?.as_str()).unwrap_or("?");
            heard_by(format!("{}: {text}", message.from()));
        }
    });
    let events = net.events();
    let watcher = std::thread::spawn(move || {
        while let Ok(event) = events.next() {
            if let NetEvent::Undelivered { to, reason, messages } = event {
                say(format!("({} lines may not have reached {to}: {reason})", messages.len()));
            }
        }
    });
    for line in input.lines() {
        let dict = Dict::from([("text", line?.into())]);
        let peers = peers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for peer in peers {
            // Queued, and sent in order; who is not there yet gets it when they are.
            net.send(peer, &dict)?;
        }
    }
    net.shutdown(Duration::from_secs(5));
    watcher.join().map_err(|_| "the watcher panicked")?;
    Ok(())
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let listen = words.next().ok_or("say where to listen, then whom to call: 127.0.0.1:7801 [ADDR…]")?;
    let peers = words.map(|word| Ok(word.parse()?)).collect::<Result<Vec<Address>>>()?;
    let (net, at) = open(&listen)?;
    eprintln!("you are {at}; Ctrl-D ends");
    chat(&net, peers, std::io::stdin().lock(), std::io::stdout())
}
