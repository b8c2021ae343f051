//! Reads the files of `tests/golden`.

use std::path::Path;

/// The vectors of a file in order: name and bytes.
pub(crate) fn read(file: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(file, &text)
}

/// The vectors of a text, which stands in `file`.
pub(crate) fn parse(file: &str, text: &str) -> Vec<(String, Vec<u8>)> {
    let mut vectors: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("= ") {
            assert!(vectors.iter().all(|(other, _)| other != name), "{file}: {name} stands twice");
            vectors.push((name.into(), Vec::new()));
            continue;
        }
        let hex = line.split('#').next().unwrap_or_default();
        for byte in hex.split_whitespace() {
            let byte = u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{file}: {line}"));
            vectors.last_mut().unwrap_or_else(|| panic!("{file}: bytes without a name")).1.push(byte);
        }
    }
    vectors
}

/// Compares a file with what it must hold: each vector decodes to its value, and encodes back byte for byte; no vector and no
/// value is left over.
pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(
    file: &str,
    expected: Vec<(String, T)>,
    decode: impl Fn(&str, &[u8]) -> T,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let vectors = read(file);
    let names: Vec<_> = vectors.iter().map(|(name, _)| name.as_str()).collect();
    let wanted: Vec<_> = expected.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, wanted, "{file}");
    for ((name, bytes), (_, value)) in vectors.iter().zip(&expected) {
        assert_eq!(decode(name, bytes), *value, "{file}: {name}");
        assert_eq!(encode(value), *bytes, "{file}: {name}");
    }
}
