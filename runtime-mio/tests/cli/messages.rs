//! `listen` and `send`: two processes, and what becomes of each message.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

/// `xxnet listen` that says where.
fn listener(home: &Home, more: &[&str]) -> (Running, String) {
    listener_at(home, "127.0.0.1:0", more)
}

fn listener_at(home: &Home, at: &str, more: &[&str]) -> (Running, String) {
    let mut running = Running::start(home.xxnet(["listen", at].iter().chain(more)));
    running.until_err("listening address=");
    let err = running.err();
    let address = err.split("listening address=").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    (running, address.to_owned())
}

fn rows(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `xxnet send ARGS…` that reads this.
fn send_lines(home: &Home, args: &[&str], lines: impl AsRef<[u8]>) -> Ended {
    let mut command = home.xxnet(["send"].iter().chain(args));
    let mut running = Running::start({
        command.stdin(Stdio::piped());
        command
    });
    running.stdin().write_all(lines.as_ref()).unwrap();
    running.finish()
}

#[test]
fn n1_messages_come_as_json_lines_with_their_senders_name() {
    let home = Home::new();
    let (mut listen, to) = listener(&home, &[]);
    let messages = [r#"{"answer":42,"of":["life",null,1.5]}"#, r#"{"ü":{"deep":true}}"#];
    let ended = finish(home.xxnet(["send", "--name", "asker", &to].iter().chain(&messages)));
    ended.expect(0);
    assert_eq!((&ended.out[..], &ended.err[..]), ("", ""), "it has nothing to say");
    send_lines(&home, &["--raw", &to], b"plain text\n\xff\xfe\xfd\n").expect(0);
    listen.until_lines(4);
    let rows = rows(&listen.out());
    for (row, message) in rows.iter().zip(&messages) {
        assert_eq!(row["name"], "asker");
        assert_eq!(row["data"], serde_json::from_str::<Value>(message).unwrap());
    }
    assert_eq!((&rows[2]["text"], &rows[3]["raw"]), (&json!("plain text"), &json!("//79")));
    assert!(rows.iter().all(|row| row["from"].as_str().unwrap().starts_with("127.0.0.1:")), "{rows:?}");
    assert!(listen.out().starts_with(r#"{"from":"#), "{}", listen.out());
    listen.signal(libc::SIGINT);
    listen.finish().expect(0);
}

#[test]
fn n1_lines_of_standard_input_arrive_once_and_in_order() {
    let home = Home::new();
    let (listen, to) = listener(&home, &["--count", "3000"]);
    let lines: String = (0..3000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    send_lines(&home, &[&to], format!("\n{lines}  \n")).expect(0);
    let ended = listen.finish();
    ended.expect(0);
    let numbers: Vec<_> = rows(&ended.out).iter().map(|row| row["data"]["n"].as_u64().unwrap()).collect();
    assert!(numbers.into_iter().eq(0..3000));
}

#[test]
fn n1_what_is_sent_before_anybody_listens_arrives() {
    let home = Home::new();
    let to = format!("127.0.0.1:{}", free_port());
    let mut send = Running::start(home.xxnet(["send", &to, r#"{"early":1}"#]));
    send.until_err(&format!("xxnet: nothing listens at {to}; trying for 1m"));
    let listen = Running::start(home.xxnet(["listen", "--count", "1", &to]));
    let ended = send.finish();
    ended.expect(0);
    assert_eq!((ended.err.lines().count(), &ended.out[..]), (1, ""), "{}", ended.err);
    assert_eq!(rows(&listen.finish().expect(0).out)[0]["data"], json!({ "early": 1 }));
}

#[test]
fn n4_when_the_listener_is_killed_the_sender_says_exactly_which_were_not_acknowledged() {
    const ALL: usize = 200;
    let home = Home::new();
    let to = format!("127.0.0.1:{}", free_port());
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = home.xxnet(["-q", "listen", &to]);
    let mut listen = command.stdout(Stdio::from(writer)).stderr(Stdio::inherit()).spawn().unwrap();
    drop(command);
    // 64 KiB each: a window holds fewer than 70 of them, the pipe behind standard output not even one.
    let lines: Vec<String> = (0..ALL).map(|n| format!("{n:03} {}", "x".repeat(65_000))).collect();
    let send = Running::start({
        home.write("lines", lines.join("\n"));
        let mut command = home.xxnet(["send", "--raw", "--timeout", "3s", &to]);
        command.stdin(std::fs::File::open(home.here("lines")).unwrap());
        command
    });
    let mut reader = BufReader::new(reader);
    let mut printed = 0;
    while printed < 100 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let row: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(row["text"], lines[printed]);
        printed += 1;
    }
    listen.kill().unwrap();
    listen.wait().unwrap();
    // What is whole in the pipe was written, too.
    let mut rest = String::new();
    let _ = reader.read_to_string(&mut rest);
    printed += rest.matches('\n').count();
    let ended = send.finish();
    ended.expect(1);
    let told: Vec<&str> = ended.out.lines().collect();
    let acknowledged = ALL - told.len();
    assert!(told.iter().eq(&lines[acknowledged..]), "neither a hole nor a repetition");
    assert!(acknowledged <= printed, "{acknowledged} acknowledged, {printed} written");
    assert!(acknowledged >= 30, "what was taken long ago is known to be: {acknowledged}");
    let sentence = ended.err.lines().last().unwrap();
    let count = format!("; {} messages were not acknowledged and are on standard output", told.len());
    assert!(sentence.contains(&count), "{}", ended.err);
    assert!(!sentence.contains("did not take"), "the cause is that the connection broke: {}", ended.err);
    // Every line was read, so that is all.
    assert!(!sentence.contains("no line after") || sentence.ends_with("no line after line 200 was sent"));
}

#[test]
fn n4_what_could_not_be_written_is_not_acknowledged() {
    let home = Home::new();
    let to = format!("127.0.0.1:{}", free_port());
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = home.xxnet(["-q", "listen", &to]);
    let listen = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    finish(home.xxnet(["-q", "send", &to, r#"{"n":1}"#])).expect(0);
    let mut line = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut line).unwrap();
    assert_eq!(rows(&line)[0]["data"], json!({ "n": 1 }));
    drop(reader);
    let ended = finish(home.xxnet(["send", &to, r#"{"n":2}"#, r#"{"n":3}"#]));
    ended.expect(1).says("2 messages were not acknowledged and are on standard output");
    assert_eq!(ended.out, "{\"n\":2}\n{\"n\":3}\n");
    let output = listen.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

#[test]
fn n8_a_listener_that_hangs_is_given_up_when_the_time_is_up() {
    let home = Home::new();
    let (mut listen, to) = listener(&home, &[]);
    finish(home.xxnet(["send", &to, r#"{"n":1}"#])).expect(0);
    listen.until_lines(1);
    listen.signal(libc::SIGSTOP);
    let ended = finish(home.xxnet(["send", "--timeout", "200ms", &to, r#"{"n":2}"#]));
    listen.signal(libc::SIGCONT);
    ended.expect(1).says(&format!("{to} did not take everything within 200ms; 1 message was not"));
    assert_eq!(ended.out, "{\"n\":2}\n");
}

#[test]
fn n10_an_address_that_refuses_is_said_at_once_and_tried_until_the_time_is_up() {
    let home = Home::new();
    let to = format!("127.0.0.1:{}", free_port());
    let ended = finish(home.xxnet(["send", "--timeout", "300ms", &to, r#"{"a":1}"#, r#"{"b":2}"#]));
    ended.expect(1);
    let told: Vec<&str> = ended.err.lines().collect();
    assert_eq!(
        told,
        [
            format!("xxnet: nothing listens at {to}; trying for 300ms"),
            format!(
                "xxnet: nothing listens at {to}; 2 messages were not acknowledged and are on standard output"
            ),
        ]
    );
    assert_eq!(ended.out, "{\"a\":1}\n{\"b\":2}\n");
    finish(home.xxnet(["-q", "send", "--timeout", "50ms", &to, "{}"])).expect(1).says("nothing listens");
}

#[test]
fn n10_what_answers_takes_no_messages() {
    let mut cluster = Cluster::new(1, 1);
    for to in [cluster.registry.address.clone(), cluster.executors[0].address.clone()] {
        let ended = finish(cluster.xxnet(["send", &to, "{}"]));
        ended.expect(1).says("takes no messages");
        assert_eq!(ended.out, "{}\n");
    }
    assert!(cluster.registry.lives() && cluster.executors[0].lives());
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in web.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    finish(cluster.xxnet(["send", &address, "{}"])).expect(1).says("HTTP");
    finish(cluster.xxnet(["ping", &address])).expect(1).says("HTTP");
    finish(cluster.xxnet(["send", "--timeout", "100ms", "-q", "no-such-host.invalid:1", "{}"]))
        .expect(1)
        .says("no host of that name");
}

#[test]
fn n12_another_key_is_one_sentence_and_the_listener_goes_on() {
    let (home, stranger) = (Home::new(), Home::new());
    let (mut listen, to) = listener(&home, &[]);
    finish(stranger.xxnet(["send", &to, "{}"])).expect(1).says("has another cluster key");
    finish(stranger.xxnet(["ping", &to])).expect(1).says("--key-file");
    listen.until_err("turned-away");
    finish(home.xxnet(["send", &to, r#"{"n":1}"#])).expect(0);
    listen.until_lines(1);
    assert_eq!(rows(&listen.out())[0]["data"], json!({ "n": 1 }));
}

#[test]
fn n2_a_unix_socket_between_two_processes() {
    let home = Home::new();
    let path = home.here("x.sock");
    let (mut listen, to) = listener_at(&home, "unix:./x.sock", &["--reply"]);
    assert_eq!(to, format!("unix:{}", path.display()));
    finish(home.xxnet(["send", "unix:./x.sock", r#"{"n":1}"#])).expect(0);
    finish(home.xxnet(["ping", "-c", "2", &to])).expect(0);
    listen.until_lines(1);
    let row = &rows(&listen.out())[0];
    assert_eq!(row["data"], json!({ "n": 1 }));
    assert!(row["from"].as_str().unwrap().starts_with("unix:#"), "{row}");
    finish(home.xxnet(["listen", &to])).expect(1).says("choose a path where no file is");

    // Killed, it leaves its file behind, which is in nobody's way; told to end, it does not.
    listen.signal(libc::SIGKILL);
    listen.finish();
    assert!(path.symlink_metadata().is_ok());
    finish(home.xxnet(["ping", &to])).expect(1).says("nothing listens at unix:");
    let (mut listen, _) = listener_at(&home, &to, &[]);
    finish(home.xxnet(["send", &to, r#"{"n":2}"#])).expect(0);
    listen.until_lines(1);
    listen.signal(libc::SIGTERM);
    listen.finish().expect(0);
    assert!(path.symlink_metadata().is_err());

    finish(home.xxnet(["listen", "unix:./none/x.sock"])).expect(1).says("a folder that is there");
    // A cluster is of many hosts.
    for words in [&["reg", "--listen", &to][..], &["exe", "--listen", &to], &["nodes", "--reg", &to]] {
        finish(home.xxnet(words)).expect(2).says("cannot be reached from other hosts");
    }
}

#[test]
fn n2_where_it_cannot_listen_is_one_sentence() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    finish(home.xxnet(["listen", &address])).expect(1).says("choose another port");
    finish(home.xxnet(["listen", "192.0.2.1:7800"])).expect(1).says("cannot listen on 192.0.2.1:7800");
    for wrong in ["127.0.0.1", "nonsense", "127.0.0.1:99999"] {
        finish(home.xxnet(["listen", wrong])).expect(2).says("is no address").says("or unix:/PATH");
        finish(home.xxnet(["send", wrong, "{}"])).expect(2).says("is no address");
    }
    finish(home.xxnet(["send", "127.0.0.1:0", "{}"])).expect(2).says("cannot be dialled");
    finish(home.xxnet(["listen"])).expect(2).says("xxnet listen --help");
}

#[test]
fn p1_what_is_no_message_says_where_and_what_stands_before_it_is_sent() {
    let home = Home::new();
    let (mut listen, to) = listener(&home, &[]);
    // Of what is given on the command line nothing is sent.
    finish(home.xxnet(["send", &to, "{}", r#"{"a": }"#]))
        .expect(2)
        .says("message 2, column 7: no JSON: expected");
    finish(home.xxnet(["send", &to, "[1]"])).expect(2).says("message 1: a message is a JSON object");
    let ended = send_lines(&home, &[&to], "{\"n\":1}\n\n{\"n\":2}\n{\"n\":3\n{\"n\":4}\n");
    ended.expect(2).says("line 4, column 6: no JSON: EOF");
    let large = format!("{{\"n\":5}}\n{{\"n\":\"{}\"}}\n", "x".repeat(5 << 20));
    send_lines(&home, &[&to], large).expect(2).says("line 2: ");
    listen.until_lines(3);
    let numbers: Vec<_> = rows(&listen.out()).iter().map(|row| row["data"]["n"].clone()).collect();
    assert_eq!(numbers, [1, 2, 5]);
}

#[test]
fn n14_ctrl_c_ends_both_and_tells_what_was_not_acknowledged() {
    let home = Home::new();
    let to = format!("127.0.0.1:{}", free_port());
    let mut send = Running::start({
        let mut command = home.xxnet(["send", &to]);
        command.stdin(Stdio::piped());
        command
    });
    let mut stdin = send.stdin();
    stdin.write_all(b"{\"n\":1}\n{\"n\":2}\n").unwrap();
    send.until_err("nothing listens");
    send.signal(libc::SIGINT);
    let ended = send.finish();
    ended.expect(130);
    assert_eq!(ended.out, "{\"n\":1}\n{\"n\":2}\n");
    assert!(ended.err.ends_with("on standard output; no line after line 2 was sent\n"), "{}", ended.err);
    for (count, number, code) in
        [(true, libc::SIGINT, 130), (true, libc::SIGTERM, 143), (false, libc::SIGTERM, 0)]
    {
        let (mut listen, to) = listener(&home, if count { &["--count", "2"] } else { &[] });
        finish(home.xxnet(["send", &to, "{}"])).expect(0);
        listen.until_lines(1);
        listen.signal(number);
        let ended = listen.finish();
        assert_eq!(ended.expect(code).out.lines().count(), 1);
        assert!(!ended.err.contains("xxnet: "), "{}", ended.err);
    }
}

#[test]
fn n1_a_reply_goes_back_over_the_link_that_is_there() {
    let home = Home::new();
    let (_listen, to) = listener(&home, &["--reply"]);
    let mut send = Running::start({
        let mut command = home.xxnet(["-v", "send", &to]);
        command.stdin(Stdio::piped());
        command
    });
    let mut stdin = send.stdin();
    stdin.write_all(b"{\"question\":7}\n").unwrap();
    send.until_err(r#"data={"question":7}"#);
    drop(stdin);
    send.finish().expect(0);
}
