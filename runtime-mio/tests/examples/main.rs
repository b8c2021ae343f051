//! Every example does what it says.
// The helpers are test code too, which the linter cannot see; the examples' own `main` is not called here.
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../../examples/chat.rs"]
mod chat;
#[path = "../../examples/request_reply.rs"]
mod request_reply;
#[path = "../../examples/seed_client_server.rs"]
mod seed_client_server;

use std::io::{BufReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use xxnet_core::{ClusterKey, Dict};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::NetOptions;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn k9_the_seeds_client_and_server() {
    let (told, listening) = channel();
    let serving = std::thread::spawn(move || {
        seed_client_server::server("127.0.0.1:0".parse().unwrap(), |at| told.send(at).unwrap())
            .map_err(|error| error.to_string())
    });
    let question = Dict::from([("n", 7.into())]);
    let answer = seed_client_server::client(listening.recv_timeout(LONG).unwrap(), &question).unwrap();
    assert_eq!(answer, Dict::from([("you said", question.clone().into())]));
    assert_eq!(serving.join().unwrap(), Ok(question));
}

#[test]
fn k9_a_client_without_a_server_says_why() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = seed_client_server::client(free.into(), &Dict::new()).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Lines as they are written.
struct Lines(std::sync::mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until the pieces so far are this.
fn until(heard: &Receiver<String>, wanted: &str) {
    let mut all = String::new();
    while all != wanted {
        all += &heard.recv_timeout(LONG).unwrap_or_else(|_| panic!("'{wanted}' never came, only '{all}'"));
    }
}

#[test]
fn n1_a_line_reaches_everybody_who_chats() {
    // Two call a third, and one of them is heard by both: through whom it has called itself.
    let (hub, at_hub) = chat::open("127.0.0.1:0").unwrap();
    let (guest, at_guest) = chat::open("127.0.0.1:0").unwrap();
    let start = |net: Net, peers: Vec<_>| {
        let (input, typed) = std::io::pipe().unwrap();
        let (said, heard) = channel();
        let chatting = std::thread::spawn(move || {
            chat::chat(&net, peers, BufReader::new(input), Lines(said)).map_err(|error| error.to_string())
        });
        (typed, heard, chatting)
    };
    let (mut hub_types, hub_hears, hub_chats) = start(hub, vec![]);
    let (mut guest_types, guest_hears, guest_chats) = start(guest, vec![at_hub.clone()]);
    writeln!(guest_types, "hello, hub").unwrap();
    until(&hub_hears, &format!("{at_guest}: hello, hub\n"));
    // Whoever has written is known.
    writeln!(hub_types, "hello, guest").unwrap();
    until(&guest_hears, &format!("{at_hub}: hello, guest\n"));
    drop((guest_types, hub_types));
    assert_eq!((guest_chats.join().unwrap(), hub_chats.join().unwrap()), (Ok(()), Ok(())));
    let mut rest = String::new();
    hub_hears.iter().for_each(|piece| rest += &piece);
    assert_eq!(rest, "");
}

/// A service and somebody who asks it.
fn asker() -> (Net, Net, request_reply::Asker) {
    let net = || Net::start(NetOptions::new(ClusterKey([9; 32]))).unwrap();
    let (service, client) = (net(), net());
    let at = service.listen("127.0.0.1:0").unwrap();
    (service, client.clone(), request_reply::Asker::new(client, at))
}

#[test]
fn every_callback_fires_once_with_its_own_answer_in_any_order() {
    let (service, client, asker) = asker();
    // Ten at a time are answered, the last one first.
    let serving = std::thread::spawn(move || {
        for _ in 0..100 {
            let mut asked: Vec<_> = service.iter().take(10).collect();
            while let Some(message) = asked.pop() {
                let mut dict = message.dict().unwrap();
                let n = dict.remove("question").unwrap().as_int().unwrap();
                dict.insert("answer", n * 2);
                service.send(message.from(), dict).unwrap();
            }
        }
        service.shutdown(LONG)
    });
    let (told, answers) = channel();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (asker, told) = (&asker, told.clone());
            scope.spawn(move || {
                for n in (0..250).map(|n| thread * 1000 + n) {
                    let told = told.clone();
                    asker.ask(n, move |answer| told.send((n, answer)).unwrap()).unwrap();
                }
            });
        }
    });
    drop(told);
    let mut seen: Vec<_> = (0..1000).map(|_| answers.recv_timeout(LONG).unwrap()).collect();
    seen.sort_by_key(|(n, _)| *n);
    assert!(seen.iter().all(|(n, answer)| *answer == Ok((n * 2).into())));
    seen.dedup_by_key(|(n, _)| *n);
    assert_eq!(seen.len(), 1000);
    assert_eq!(serving.join().unwrap(), 0);
    client.shutdown(Duration::ZERO);
    assert!(answers.recv_timeout(LONG).is_err(), "one fired twice");
}

#[test]
fn a_question_without_an_answer_fires_too() {
    let (service, client, asker) = asker();
    let (told, answers) = channel();
    let ask = |question: &str| {
        let told = told.clone();
        asker.ask(question, move |answer| told.send(answer).unwrap()).unwrap();
    };
    let serving = std::thread::spawn(move || {
        request_reply::serve(&service, |question| match question.as_str() {
            Some("name") => Ok("service".into()),
            // Taken, and never answered: the service ends over it.
            Some("die") => {
                service.shutdown(Duration::ZERO);
                Err("too late".to_owned())
            }
            _ => Err("no such question".to_owned()),
        });
    });
    let answer = |question| {
        ask(question);
        answers.recv_timeout(LONG).unwrap()
    };
    assert_eq!(answer("name"), Ok("service".into()));
    assert_eq!(answer("?"), Err("no such question".to_owned()));
    assert_eq!(answer("die"), Err("the other end closed the connection".to_owned()));
    serving.join().unwrap();
    // Nobody listens any more: not delivered.
    ask("name");
    client.shutdown(Duration::ZERO);
    assert!(answers.recv_timeout(LONG).unwrap().is_err());
    assert!(asker.ask("name", |_| panic!("asked after the end")).is_err());
}

#[test]
fn the_examples_say_how_they_are_run() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        let mut text = String::new();
        std::fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let line = format!("//! cargo run -p xxnet-runtime-mio --example {name}");
        assert!(text.contains(&line), "{name} does not say how it is run");
    }
}
