//! Names and link targets that stay where they belong.

use alloc::vec::Vec;
use core::fmt;

/// Longest component of a path in bytes.
pub const MAX_COMPONENT: usize = 255;
/// Longest path or link target in bytes.
pub const MAX_PATH: usize = 4096;

/// What is wrong with a name, a path or a link's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It begins with `/`.
    Absolute,
    /// It leads out of its folder: a `..` in a name, or one too many (or behind a name) in a link's target.
    Escapes,
    /// A component is `.` or empty, in the path of an entry.
    NotPlain,
    /// It has a NUL byte.
    Nul,
    /// It, or a component, is over the limit.
    TooLong,
    /// A component is a device's name on this system.
    Device,
}

/// A family of systems, by what their names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// A device is a file like any other: no name is one by itself, and `aux.c` is a fine name for a source.
    Unix,
    /// Some names are devices in every folder, whatever their case and whatever stands behind a dot.
    Windows,
}

impl Platform {
    /// The one that this was built for.
    pub const HERE: Self = if cfg!(windows) { Self::Windows } else { Self::Unix };

    /// Whether opening a file of this name would reach a device instead: on Windows `NUL`, `con.txt` or `Com1 .log`. Spaces and
    /// dots at the end mean nothing there, nor does what follows the first dot or colon.
    pub fn is_device(self, component: &[u8]) -> bool {
        if self == Self::Unix {
            return false;
        }
        let stem = component.split(|byte| matches!(byte, b'.' | b':')).next().unwrap_or_default();
        let stem = stem.trim_ascii_end();
        let is = |name: &str| stem.eq_ignore_ascii_case(name.as_bytes());
        let port = |digit: &[u8]| matches!(digit, [b'0'..=b'9'] | [0xc2, 0xb9 | 0xb2 | 0xb3]);
        match stem.split_at_checked(3) {
            Some((name, digit)) if port(digit) => {
                [&b"COM"[..], b"LPT"].iter().any(|port| name.eq_ignore_ascii_case(port))
            }
            _ => ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].into_iter().any(is),
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Absolute => "is absolute; it must be relative to its folder",
            Self::Escapes => "leads out of its folder",
            Self::NotPlain => "has an empty component or a single dot",
            Self::Nul => "has a NUL byte",
            Self::TooLong => "is too long",
            Self::Device => "is the name of a device on this system",
        })
    }
}

impl core::error::Error for NameError {}

/// Whether this can be the name of an input or output in a work folder: relative, and inside it. Slashes are allowed, and
/// so is `.` alone, which is the folder itself; `./a//b` is `a/b`, see [`clean_name`].
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &[u8]) -> Result<(), NameError> {
    check_name_on(name, Platform::HERE)
}

/// As [`check_name`], for a folder on another system than this.
///
/// # Errors
/// What is wrong with it there.
pub fn check_name_on(name: &[u8], platform: Platform) -> Result<(), NameError> {
    check_common(name)?;
    for component in name.split(|&byte| byte == b'/') {
        check_component(component, platform)?;
    }
    Ok(())
}

/// A name in its one plain form, so that names can be compared: without empty components and single dots, `.` if nothing
/// else is left.
///
/// # Errors
/// As [`check_name`].
pub fn clean_name(name: &[u8]) -> Result<Vec<u8>, NameError> {
    check_name(name)?;
    let mut clean = Vec::with_capacity(name.len());
    for component in name.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(component);
    }
    if clean.is_empty() {
        clean.push(b'.');
    }
    Ok(clean)
}

/// Whether this can be the path of an entry that is not the root.
pub(super) fn check_path(path: &[u8], platform: Platform) -> Result<(), NameError> {
    check_common(path)?;
    for component in path.split(|&byte| byte == b'/') {
        if component.is_empty() || component == b"." {
            return Err(NameError::NotPlain);
        }
        check_component(component, platform)?;
    }
    Ok(())
}

/// Whether a link at `path` may point at `target`: it stays inside the tree even if names on its way are links themselves.
pub(super) fn check_target(path: &[u8], target: &[u8], platform: Platform) -> Result<(), NameError> {
    check_common(target)?;
    // The link's own folder is real (each parent is a folder's entry), so `..` means what it says, but only until the
    // first name: that may be another link, and `..` would then go on from where that one leads.
    let mut above = path.iter().filter(|&&byte| byte == b'/').count();
    let mut named = false;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if named => return Err(NameError::Escapes),
            b".." => above = above.checked_sub(1).ok_or(NameError::Escapes)?,
            name => {
                check_component(name, platform)?;
                named = true;
            }
        }
    }
    Ok(())
}

/// The folder that holds `path`; empty for the root.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

fn check_common(path: &[u8]) -> Result<(), NameError> {
    match path {
        [] => Err(NameError::Empty),
        [b'/', ..] => Err(NameError::Absolute),
        _ if path.len() > MAX_PATH => Err(NameError::TooLong),
        _ if path.contains(&0) => Err(NameError::Nul),
        _ => Ok(()),
    }
}

fn check_component(component: &[u8], platform: Platform) -> Result<(), NameError> {
    match component {
        b".." => Err(NameError::Escapes),
        _ if platform.is_device(component) => Err(NameError::Device),
        _ if component.len() > MAX_COMPONENT => Err(NameError::TooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f12_names_stay_in_the_work_folder() {
        for good in
            [&b"."[..], b"a", b"a/b.txt", b"./a", b"-rf", b"..a", b"a b", b"\xff\xfe", "grüße".as_bytes()]
        {
            assert_eq!(check_name(good), Ok(()), "{}", good.escape_ascii());
        }
        assert_eq!(check_name(b""), Err(NameError::Empty));
        assert_eq!(check_name(b"/"), Err(NameError::Absolute));
        assert_eq!(check_name(b"/etc/passwd"), Err(NameError::Absolute));
        assert_eq!(check_name(b".."), Err(NameError::Escapes));
        assert_eq!(check_name(b"a/../../b"), Err(NameError::Escapes));
        assert_eq!(check_name(b"a/.."), Err(NameError::Escapes));
        assert_eq!(check_name(b"a\0"), Err(NameError::Nul));
        assert_eq!(check_name(&[b'x'; 256]), Err(NameError::TooLong));
        assert_eq!(check_name(&b"x/".repeat(2049)), Err(NameError::TooLong));
    }

    #[test]
    fn f12_a_devices_name_is_refused_where_it_is_one() {
        let devices = [
            "NUL",
            "nul",
            "CON",
            "con.h",
            "aux.c",
            "Aux.tar.gz",
            "PRN",
            "COM1",
            "com0.log",
            "Lpt9",
            "COM\u{b9}",
            "lpt\u{b3}.x",
            "NUL.",
            "NUL  ",
            "nul . .",
            "NUL .txt",
            "con:stream",
            "CONIN$",
            "conout$.txt",
        ];
        for device in devices {
            for name in [device.into(), alloc::format!("a/{device}"), alloc::format!("{device}/b")] {
                let on = |platform| check_name_on(name.as_bytes(), platform);
                assert_eq!(on(Platform::Windows), Err(NameError::Device), "{name}");
                // The Linux kernel has an aux.c; whoever has such a file may send it.
                assert_eq!(on(Platform::Unix), Ok(()), "{name}");
            }
        }
        let files = [
            "nulls",
            "console",
            "aux_",
            "_aux",
            "COM",
            "COM10",
            "com1x.c",
            "LPT",
            "lpt\u{b5}",
            "a.nul",
            " nul",
            "CONIN",
        ];
        for name in files {
            assert_eq!(check_name_on(name.as_bytes(), Platform::Windows), Ok(()), "{name}");
        }
        assert_eq!(check_name_on(b"../nul", Platform::Windows), Err(NameError::Escapes));
    }

    #[test]
    fn one_name_has_one_form() {
        assert_eq!(clean_name(b"./a//b/."), Ok(b"a/b".to_vec()));
        assert_eq!(clean_name(b"a"), Ok(b"a".to_vec()));
        assert_eq!(clean_name(b"././"), Ok(b".".to_vec()));
        assert_eq!(clean_name(b"a/../b"), Err(NameError::Escapes));
    }
}
