//! One whole session as it travels: `tests/golden/session.hex`, which `WIRE.md` shows, is what two machines say.

#[allow(dead_code)]
#[path = "../golden/vectors.rs"]
mod vectors;

use crate::world::*;
use std::path::Path;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::handshake::{MAX_PAYLOAD, RefuseCode};
use xxnet_core::net::NetAction;
use xxnet_core::pack::{DataHeader, Decoder, encode};
use xxnet_core::*;

const B: &str = "10.0.0.2:7000";

/// Node 0, who has the smaller id and listens nowhere, talks with node 1; the link breaks once.
fn session() -> World {
    let mut world = World::new(2);
    let kind = ConnectionKind::session(KindId::MESSAGES, LinkRule::OnePerPair, Role::Both);
    for node in [0, 1] {
        let token = world.token(node);
        world.command(node, ConnectionCommand::Register { token, kind: kind.clone() });
    }
    world.listener(1, B);
    world.command(1, ConnectionCommand::Advertise { address: Some(address(B)) });
    let (a, b) = world.join(0, 1, KindId::MESSAGES, B);
    world.send_all(0, a, &["one"]);
    world.run();
    assert_eq!(world.texts(1), ["one"]);
    world.send_all(1, b, &["answer"]);
    world.run();
    assert_eq!(world.texts(0), ["answer"]);
    world.acknowledge();
    // The second is received and not taken when the link breaks, the third is lost with it.
    world.send_all(0, a, &["two"]);
    world.run();
    world.break_link(world.newest_end(0));
    world.send_all(0, a, &["three"]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.texts(1), ["two", "three"]);
    world.acknowledge();
    world.close(0, a).unwrap();
    world.run();
    world
}

/// Every pack that was sent, in order: who said it, what it is, and its bytes.
fn said(world: &World) -> Vec<(String, Vec<u8>)> {
    const NAMES: [&str; 17] = [
        "", "HELLO", "WELCOME", "CONFIRM", "REFUSE", "PING", "PONG", "GOODBYE", "USE", "USING", "ACK", "",
        "", "", "", "", "DICT",
    ];
    let mut packs = Vec::new();
    for (node, action) in &world.log {
        let NetAction::Send { buffers, .. } = action else { continue };
        let mut decoder = Decoder::new(1 << 20);
        decoder.feed(buffers.concat().into());
        while let Some(pack) = decoder.next().unwrap() {
            let name = NAMES[usize::from(pack.pack_type.0)];
            let name = format!("{} {}: {name}", packs.len() + 1, ["A", "B"][*node]);
            packs.push((name, encode(&pack).unwrap().concat()));
        }
    }
    packs
}

/// As the files have it, without comments.
fn shown(vectors: &[(String, Vec<u8>)]) -> String {
    let lines = |bytes: &[u8]| {
        let lines: Vec<_> =
            bytes.chunks(16).map(|line| line.iter().map(|b| format!("{b:02x} ")).collect()).collect();
        lines.iter().map(|line: &String| format!("{}\n", line.trim_end())).collect::<String>()
    };
    vectors.iter().map(|(name, bytes)| format!("= {name}\n{}\n", lines(bytes))).collect()
}

#[test]
fn p9_a_recorded_session_is_what_two_machines_say() {
    let said = said(&session());
    assert!(said == vectors::read("session.hex"), "the machines say:\n\n{}", shown(&said));
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("WIRE.md");
    std::fs::read_to_string(page).unwrap()
}

#[test]
fn p9_the_page_shows_the_recorded_session() {
    let page = page();
    let blocks: Vec<_> = page.split("```hex\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let shown = vectors::parse("WIRE.md", &blocks.concat());
    assert!(shown == vectors::read("session.hex"), "WIRE.md and tests/golden/session.hex differ");
}

#[test]
fn p9_the_page_states_the_limits_and_codes_of_the_code() {
    let (page, limits) = (page(), Limits::default());
    let mib = |bytes: u32| format!("{} MiB", bytes >> 20);
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    let header = format!("write {}, take {0} to {}", DataHeader::SIZE, DataHeader::MAX_SIZE);
    let rows = [
        ("bytes of the header without this field:".to_owned(), header),
        ("a dial that is not answered is given up |".into(), seconds(limits.connect)),
        ("from the TCP connection to the last handshake pack |".into(), seconds(limits.handshake)),
        ("also ping when nothing was heard for so long |".into(), seconds(limits.heartbeat)),
        (
            "a peer that says nothing to that: the link is dead |".into(),
            format!(
                "{} more, so {} of silence",
                seconds(limits.suspect - limits.heartbeat),
                seconds(limits.suspect)
            ),
        ),
        ("whose peer does not close, is cut |".into(), seconds(limits.close)),
        ("a session without a link is over |".into(), seconds(limits.session_timeout)),
        (
            "an acknowledgement waits for a message to go with |".into(),
            format!("{} ms", limits.ack_delay.as_millis()),
        ),
        (
            "and after a dial that failed |".into(),
            format!("{}, doubled each time to {}", seconds(limits.backoff.0), seconds(limits.backoff.1)),
        ),
        ("`max_data` |".into(), mib(limits.max_data)),
        ("`window` |".into(), mib(limits.session_window)),
        ("data of a pack before the handshake is through |".into(), format!("{MAX_PAYLOAD} bytes")),
        ("links that shake hands at once |".into(), limits.max_handshakes.to_string()),
        ("dicts and lists nest at most".into(), Dict::MAX_DEPTH.to_string()),
        ("for people; at most".into(), format!("{} bytes", Config::MAX_NAME)),
    ];
    for (what, value) in rows {
        assert!(page.contains(&format!("{what} {value}")), "the page should say: {what} {value}");
    }
    let codes = page.split("## 4. Refusals").nth(1).and_then(|rest| rest.split("## 5.").next()).unwrap();
    let listed =
        codes.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u16>().ok());
    assert!(listed.eq(RefuseCode::ALL.into_iter().map(|code| code as u16)), "{codes}");
}
