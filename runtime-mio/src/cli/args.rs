//! How the words of the command line are read: addresses, durations, `PATH:NAME`.
// The doc comments are help texts, in which [:PORT] is an option and no link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxnet_core::Address;

use super::errors::{Failure, Outcome, plain};

/// The port of a registry, where none is written.
pub(crate) const PORT: u16 = 7700;

/// Which registry is meant.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RegArgs {
    /// The registry, or several: HOST[:PORT], 192.0.2.1, [2001:db8::1]:7700 [env: XXNET_REG] [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR[,ADDR…]", value_delimiter = ',', value_parser = registry)]
    reg: Vec<Address>,
}

impl RegArgs {
    /// Those that were named; else those of `XXNET_REG`, where empty is as good as unset; else the usual one.
    ///
    /// # Errors
    /// `XXNET_REG` holds something else than addresses.
    pub(crate) fn registries(&self) -> Outcome<Vec<Address>> {
        if !self.reg.is_empty() {
            return Ok(self.reg.clone());
        }
        let set = std::env::var_os("XXNET_REG").unwrap_or_default();
        named(&set.to_string_lossy())
    }
}

/// Addresses with commas between; none means the usual one.
fn named(text: &str) -> Outcome<Vec<Address>> {
    let wrong = |why| Failure::usage(format!("XXNET_REG is wrong: {why}"));
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let found = words.map(|word| registry(word).map_err(wrong)).collect::<Outcome<Vec<Address>>>()?;
    let usual = || vec![Address::Socket(SocketAddr::from(([127, 0, 0, 1], PORT)))];
    Ok(if found.is_empty() { usual() } else { found })
}

/// An address of a registry; the port may be left out.
pub(crate) fn registry(text: &str) -> Result<Address, String> {
    for_all_hosts(ping_target(text)?)
}

/// Anybody's address; the port may be left out, if it is a registry's.
pub(crate) fn ping_target(text: &str) -> Result<Address, String> {
    dialled(address_with_port(text.trim())?)
}

/// Where messages go; the port is part of it.
pub(crate) fn message_target(text: &str) -> Result<Address, String> {
    dialled(text.trim().parse().map_err(|error| format!("{error}"))?)
}

/// Where messages are listened for; the port is part of it.
pub(crate) fn message_listen(text: &str) -> Result<Address, String> {
    text.trim().parse().map_err(|error| format!("{error}"))
}

/// Where to listen; the port may be left out for a registry, and a name is looked up later.
pub(crate) fn listen(text: &str) -> Result<Address, String> {
    for_all_hosts(address_with_port(text.trim())?)
}

fn address_with_port(text: &str) -> Result<Address, String> {
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(Address::Socket(SocketAddr::new(ip, PORT)));
    }
    if text.is_empty() {
        return Err(
            "an address is HOST:PORT, 192.0.2.1:7700, [2001:db8::1]:7700 or unix:/PATH; this one is empty"
                .to_owned(),
        );
    }
    let written = if text.contains(':') { text.to_owned() } else { format!("{text}:{PORT}") };
    written.parse::<Address>().map_err(|_| xxnet_core::address::AddressError(text.to_owned()).to_string())
}

/// An address that others are told to dial.
pub(crate) fn advertised(text: &str) -> Result<Address, String> {
    for_all_hosts(message_target(text)?)
}

/// Something can be there.
fn dialled(address: Address) -> Result<Address, String> {
    if address.is_wildcard() || !address.can_be_told() {
        return Err(format!("{address} stands for any address or port and cannot be dialled"));
    }
    Ok(address)
}

/// Members of a cluster tell each other where they listen.
fn for_all_hosts(address: Address) -> Result<Address, String> {
    if address.is_unix() {
        return Err(format!("{address} cannot be reached from other hosts; a cluster needs HOST:PORT"));
    }
    Ok(address)
}

/// The socket address to listen at: names are looked up once, now.
///
/// # Errors
/// A name that has no address.
pub(crate) fn resolve(address: &Address) -> Outcome<SocketAddr> {
    match address {
        Address::Socket(socket) => Ok(*socket),
        Address::Unix(_) => {
            Err(Failure::new(format!("cannot listen on {address}: no other host can reach it")))
        }
        Address::Name(name, port) => {
            (name.as_str(), *port).to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(
                || Failure::new(format!("cannot listen on {address}: the name {name} has no address")),
            )
        }
    }
}

/// Where an executor listens that was not told: on loopback if no registry is elsewhere, else on every interface.
pub(crate) fn default_listen(registries: &[Address]) -> SocketAddr {
    let v6 = registries.iter().any(|address| matches!(address, Address::Socket(socket) if socket.is_ipv6()));
    let local = registries.iter().all(Address::is_loopback);
    let ip: IpAddr = match (local, v6) {
        (true, false) => IpAddr::from([127, 0, 0, 1]),
        (true, true) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        (false, false) => IpAddr::from([0; 4]),
        (false, true) => IpAddr::from([0; 16]),
    };
    SocketAddr::new(ip, 0)
}

/// A span of time as people write it: `90`, `90s`, `1.5h`, `2m 30s`. More than none.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let found = humantime::parse_duration(text).ok().or_else(|| decimal(text));
    match found {
        Some(Duration::ZERO) => Err("it must be more than zero".to_owned()),
        Some(span) => Ok(span),
        None => Err(format!("'{text}' is no duration; write 90s, 5m, 1.5h or 2m 30s")),
    }
}

/// A number of seconds, or of the unit behind it, as `timeout` and `sleep` take it.
fn decimal(text: &str) -> Option<Duration> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 's') => (&text[..at], 1.0),
        (at, 'm') => (&text[..at], 60.0),
        (at, 'h') => (&text[..at], 3600.0),
        (at, 'd') => (&text[..at], 86400.0),
        _ => (text, 1.0),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then_some(())?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

/// A number of bytes: `500`, `64K`, `100M`, `2G`, with or without `iB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size; write 500, 64K, 100M or 2G");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// One `-i PATH[:NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputArg {
    /// On this machine.
    pub(crate) path: PathBuf,
    /// In the work folder.
    pub(crate) name: Vec<u8>,
}

/// Splits `PATH[:NAME]` at its last colon, unless the whole is a path that exists.
///
/// # Errors
/// No such path, or no name can be told from it.
pub(crate) fn input(text: &OsStr) -> Outcome<InputArg> {
    let whole = Path::new(text);
    let bytes = text.as_bytes();
    let colon = bytes.iter().rposition(|b| *b == b':').filter(|_| whole.symlink_metadata().is_err());
    let (path, name) = match colon {
        Some(at) => (Path::new(OsStr::from_bytes(&bytes[..at])), Some(bytes[at + 1..].to_vec())),
        None => (whole, None),
    };
    if path.as_os_str().is_empty() || name.as_ref().is_some_and(Vec::is_empty) {
        return Err(Failure::usage(format!(
            "'{}' is no input; write -i PATH or -i PATH:NAME",
            whole.display()
        )));
    }
    let cannot = |error: std::io::Error| {
        Failure::new(format!("cannot read the input {}: {}", path.display(), plain(&error)))
    };
    path.metadata().map_err(cannot)?;
    let name = match name {
        Some(name) => name,
        // `.` and `..` have no name of their own; the folder that they mean has.
        None => match path.file_name() {
            Some(name) => name.as_bytes().to_vec(),
            None => path
                .canonicalize()
                .map_err(cannot)?
                .file_name()
                .map(|name| name.as_bytes().to_vec())
                .ok_or_else(|| {
                    Failure::usage(format!("the input {0} has no name; write -i {0}:NAME", path.display()))
                })?,
        },
    };
    Ok(InputArg { path: path.to_path_buf(), name })
}

/// One `-o NAME[:PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputArg {
    /// In the work folder.
    pub(crate) name: Vec<u8>,
    /// On this machine.
    pub(crate) path: PathBuf,
}

/// Splits `NAME[:PATH]` at its first colon. A path that is a folder, or ends in `/`, is where the result goes into, as `cp`
/// has it.
///
/// # Errors
/// A name without a last part, or an empty path.
pub(crate) fn output(text: &OsStr) -> Outcome<OutputArg> {
    let bytes = text.as_bytes();
    let (name, path) = match bytes.iter().position(|b| *b == b':') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let wrong = || {
        Failure::usage(format!("'{}' is no output; write -o NAME or -o NAME:PATH", Path::new(text).display()))
    };
    let base = Path::new(OsStr::from_bytes(name)).file_name().ok_or_else(wrong)?;
    let path = match path {
        None => Path::new(".").join(base),
        Some([]) => return Err(wrong()),
        Some(path) => {
            let into = path.last() == Some(&b'/');
            let path = Path::new(OsStr::from_bytes(path));
            if into || path.is_dir() { path.join(base) } else { path.to_path_buf() }
        }
    };
    Ok(OutputArg { name: name.to_vec(), path })
}

/// One `-e K[=V]`; without a value it is our own variable's, and nothing if we have none.
///
/// # Errors
/// A name that is empty.
pub(crate) fn variable(text: &OsStr) -> Outcome<Option<(Vec<u8>, Vec<u8>)>> {
    let bytes = text.as_bytes();
    let (name, value) = match bytes.iter().position(|b| *b == b'=') {
        Some(at) => (&bytes[..at], Some(bytes[at + 1..].to_vec())),
        None => (bytes, std::env::var_os(text).map(OsString::into_vec)),
    };
    if name.is_empty() {
        return Err(Failure::usage(format!(
            "'{}' is no variable; write -e NAME=VALUE, or -e NAME for this shell's own value",
            Path::new(text).display()
        )));
    }
    Ok(value.map(|value| (name.to_vec(), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn registries_with_and_without_a_port() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:7700"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("::1", "[::1]:7700"),
            ("[::1]", "[::1]:7700"),
            ("[::1]:80", "[::1]:80"),
            ("host", "host:7700"),
            ("a-b.example:9", "a-b.example:9"),
        ] {
            assert_eq!(registry(text).unwrap().to_string(), address);
        }
        for text in
            ["", ":", "0.0.0.0:7700", ":7700", "host:0", "host:99999", "a b", "host:x", "1.2.3:4", "http://x"]
        {
            assert!(registry(text).is_err(), "{text} was taken");
        }
        assert!(listen("0.0.0.0:0").is_ok());
        assert!(advertised("host").is_err(), "an advertised address needs its port");
        for read in [registry, listen, advertised] {
            let why = read("unix:/run/x.sock").unwrap_err();
            assert!(why.ends_with("a cluster needs HOST:PORT"), "{why}");
        }
        for read in [ping_target, message_target, message_listen] {
            assert_eq!(read(" unix:/run/x.sock").unwrap().to_string(), "unix:/run/x.sock");
        }
        assert!(message_target("unix:#7").is_err());
    }

    #[test]
    fn xxnet_reg_may_be_empty_or_hold_several() {
        let read =
            |text: &str| named(text).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("").unwrap(), ["127.0.0.1:7700"]);
        assert_eq!(read(" , ").unwrap(), ["127.0.0.1:7700"]);
        assert_eq!(read("one, two:80,").unwrap(), ["one:7700", "two:80"]);
        let wrong = read("one,a b").unwrap_err();
        assert!(wrong.text.starts_with("XXNET_REG is wrong: 'a b'"), "{}", wrong.text);
    }

    #[test]
    fn executors_listen_where_their_registries_can_reach_them() {
        let at = |texts: &[&str]| {
            let registries: Vec<_> = texts.iter().map(|text| registry(text).unwrap()).collect();
            default_listen(&registries).to_string()
        };
        assert_eq!(at(&["127.0.0.1:1", "localhost:2"]), "127.0.0.1:0");
        assert_eq!(at(&["[::1]:1"]), "[::1]:0");
        assert_eq!(at(&["127.0.0.1:1", "192.0.2.1:1"]), "0.0.0.0:0");
        assert_eq!(at(&["host"]), "0.0.0.0:0");
        assert_eq!(at(&["[2001:db8::1]:1"]), "[::]:0");
        assert_eq!(at(&[]), "127.0.0.1:0");
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("1.5", 1500),
            ("0.5s", 500),
            ("1.5h", 5_400_000),
            ("2m 30s", 150_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "0", "0s", "-1", "1e99", "x", "5 parsecs", ".", "s", "1e5", "inf", "nan"] {
            assert!(duration(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in
            [("500", 500), ("64K", 65536), ("2G", 2 << 30), ("1MiB", 1 << 20), ("1MB", 1 << 20)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "0", "G", "1T", "-1", "99999999999G", "1.5G"] {
            assert!(size(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn inputs_with_colons() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        for name in ["a", "b:c"] {
            std::fs::write(at(name), "").unwrap();
        }
        let read = |text: &str| input(os(text)).map(|i| (i.path.to_str().unwrap().to_owned(), i.name));
        assert_eq!(read(&at("a")).unwrap(), (at("a"), b"a".to_vec()));
        assert_eq!(read(&at("a:x/y")).unwrap(), (at("a"), b"x/y".to_vec()));
        assert_eq!(read(&at("b:c")).unwrap(), (at("b:c"), b"b:c".to_vec()));
        assert_eq!(read(&at("b:c:d")).unwrap(), (at("b:c"), b"d".to_vec()));
        let folder = place.path().file_name().unwrap().as_bytes().to_vec();
        assert_eq!(input(place.path().as_os_str()).unwrap().name, folder);
        assert_eq!(input(place.path().join("").as_os_str()).unwrap().name, folder);
        assert_eq!(
            input(os(".")).unwrap().name,
            std::env::current_dir().unwrap().file_name().unwrap().as_bytes()
        );
        let missing = read(&at("none:x")).unwrap_err();
        assert!(missing.text.contains("none: no such file"), "{}", missing.text);
        assert!(read(&at("a:")).is_err());
        assert!(read(":a").is_err());
        assert!(read("/").is_err());
    }

    #[test]
    fn outputs_go_beside_us_or_into_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().to_str().unwrap();
        let read = |text: &str| output(os(text)).map(|o| (o.name, o.path.to_str().unwrap().to_owned()));
        assert_eq!(read("n.txt").unwrap(), (b"n.txt".to_vec(), "./n.txt".to_owned()));
        assert_eq!(read("out/n.txt").unwrap(), (b"out/n.txt".to_vec(), "./n.txt".to_owned()));
        assert_eq!(read("n:a:b").unwrap(), (b"n".to_vec(), "a:b".to_owned()));
        assert_eq!(read("out/n:none/").unwrap().1, "none/n");
        assert_eq!(read(&format!("n:{folder}")).unwrap().1, format!("{folder}/n"));
        for text in ["", ":x", "n:", "..", "a/.."] {
            assert!(read(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn variables_with_and_without_a_value() {
        let pair = |name: &str, value: &str| Some((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        assert_eq!(variable(os("A=b=c")).unwrap(), pair("A", "b=c"));
        assert_eq!(variable(os("A=")).unwrap(), pair("A", ""));
        assert_eq!(variable(os("XXNET_SURELY_NOT_SET")).unwrap(), None);
        let path = std::env::var("PATH").unwrap();
        assert_eq!(variable(os("PATH")).unwrap(), pair("PATH", &path));
        assert!(variable(os("=b")).is_err());
        assert!(variable(os("")).is_err());
    }
}
