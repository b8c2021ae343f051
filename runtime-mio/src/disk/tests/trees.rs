//! What travels, and that it arrives as it was (ledger F11, F6).

use super::*;

#[test]
fn f11_sizes_around_a_block() {
    let world = World::new();
    for size in [0, 1, BLOCK as usize - 40, BLOCK as usize - 1, BLOCK as usize, BLOCK as usize + 1, 5 << 20] {
        let content = noise(size);
        world.write("in", &content);
        world.copy(world.source("in"), world.target("out")).unwrap();
        assert_eq!(fs::read(world.path("out")).unwrap(), content, "{size} bytes");
    }
    world.assert_nothing_left();
}

#[test]
fn f11_names_that_are_no_utf8_keep_their_bytes() {
    let world = World::new();
    let names: [&[u8]; 6] =
        [b"\xff\xfe raw", b"-rf", b" a b ", "grüße 漢".as_bytes(), b"new\nline", b"*?'\"\\"];
    let folder = world.path("in");
    for name in names {
        let inner = folder.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    world.copy(world.source("in"), world.target("out")).unwrap();
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        assert_eq!(fs::read(world.path("out").join(name).join(name)).unwrap(), name.as_bytes());
    }
    // And as the tree itself.
    let odd = std::ffi::OsStr::from_bytes(b"\xf0odd");
    let (from, to) = (folder.join(odd), world.base.path().join(odd));
    fs::write(&from, "odd").unwrap();
    let (path, target) = (bytes_of(&from), bytes_of(&to));
    world.copy(Source::Path { path }, Target::Path { path: target }).unwrap();
    assert_eq!(fs::read(to).unwrap(), b"odd");
}

#[test]
fn f11_mode_modification_time_links_and_empty_folders_are_kept() {
    let world = World::new();
    let file = world.write("in/a/file", "x");
    world.write("in/a/deep/script", "#!/bin/sh\n");
    fs::create_dir_all(world.path("in/empty/inner")).unwrap();
    world.write("in/zero", "");
    symlink("a/file", world.path("in/link")).unwrap();
    symlink("../a", world.path("in/empty/to-folder")).unwrap();
    symlink("nowhere", world.path("in/dangling")).unwrap();
    let times = [
        ("in/a/file", Duration::new(1_000_000_000, 123_456_789)),
        ("in/zero", Duration::new(1, 1)),
        ("in/a/deep", Duration::new(77, 0)),
        ("in/empty/inner", Duration::new(88, 999_999_999)),
    ];
    let modes = [
        ("in/a/deep/script", 0o754),
        ("in/a/file", 0o400),
        ("in/zero", 0o000),
        ("in/empty/inner", 0o555),
        ("in/a", 0o511),
    ];
    for (name, time) in times {
        let opened = fs::File::open(world.path(name)).unwrap();
        opened.set_modified(SystemTime::UNIX_EPOCH + time).unwrap();
    }
    for (name, mode) in modes {
        fs::set_permissions(world.path(name), Permissions::from_mode(mode)).unwrap();
    }
    // Unreadable files can be read by root alone.
    if fs::File::open(world.path("in/zero")).is_err() {
        fs::set_permissions(world.path("in/zero"), Permissions::from_mode(0o600)).unwrap();
    }
    world.copy(world.source("in"), world.target("out")).unwrap();

    for entry in ["a", "a/file", "a/deep", "a/deep/script", "empty", "empty/inner", "zero", ""] {
        let (before, after) = (world.path("in").join(entry), world.path("out").join(entry));
        let (before, after) = (fs::metadata(before).unwrap(), fs::metadata(after).unwrap());
        assert_eq!(before.mode(), after.mode(), "mode of {entry}");
        let time = |data: &fs::Metadata| (data.mtime(), data.mtime_nsec());
        assert_eq!(time(&before), time(&after), "time of {entry}");
    }
    for (link, to) in [("link", "a/file"), ("empty/to-folder", "../a"), ("dangling", "nowhere")] {
        assert_eq!(fs::read_link(world.path("out").join(link)).unwrap(), Path::new(to));
    }
    assert_eq!(fs::read(world.path("out/link")).unwrap(), fs::read(file).unwrap());
}

#[test]
fn f11_ten_thousand_small_files() {
    let world = World::new();
    for number in 0..10_000 {
        world.write(&format!("in/{}/{number}", number % 100), format!("content of {number}"));
    }
    let stream = world.read(world.source("in")).unwrap();
    assert!(stream.blocks.len() < 3, "batched by block: {}", stream.blocks.len());
    world.receive(world.target("out"), &stream).unwrap();
    for number in 0..10_000 {
        let content = fs::read(world.path(&format!("out/{}/{number}", number % 100))).unwrap();
        assert_eq!(content, format!("content of {number}").into_bytes());
    }
}

#[test]
fn f11_a_manifest_of_several_blocks() {
    let world = World::new();
    fs::create_dir(world.path("in")).unwrap();
    let long = "n".repeat(240);
    for number in 0..10_000 {
        fs::write(world.path(&format!("in/{long}{number}")), number.to_string()).unwrap();
    }
    let stream = world.read(world.source("in")).unwrap();
    assert!(stream.manifest_len > 2 * BLOCK);
    world.receive(world.target("out"), &stream).unwrap();
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 10_000);
    assert_eq!(fs::read(world.path(&format!("out/{long}4321"))).unwrap(), b"4321");
}

#[test]
fn a_link_that_the_user_names_is_followed() {
    let world = World::new();
    world.write("real/file", "content");
    symlink("real", world.path("link")).unwrap();
    symlink("real/file", world.path("file-link")).unwrap();
    world.copy(world.source("link"), world.target("out")).unwrap();
    assert_eq!(fs::read(world.path("out/file")).unwrap(), b"content");
    world.copy(world.source("file-link"), world.target("file-out")).unwrap();
    assert!(fs::symlink_metadata(world.path("file-out")).unwrap().is_file());
}

#[test]
fn f6_resumes_where_the_verified_blocks_end() {
    let world = World::new();
    let content = noise(6 << 20);
    world.write("in", &content);
    let stream = world.read(world.source("in")).unwrap();
    for broken_after in 0..stream.blocks.len() {
        let tree = world.begin(world.target("out"), &stream).unwrap();
        for (index, block) in (0..).zip(&stream.blocks[..broken_after]) {
            world.put(tree, index, block).unwrap();
        }
        // Some come twice after the break; the rest come once, not in order but for the manifest's.
        let from = broken_after.saturating_sub(2);
        let mut rest: Vec<_> = (from..stream.blocks.len()).collect();
        let ordered = usize::from(from == 0).min(rest.len());
        rest[ordered..].reverse();
        for index in rest {
            world.put(tree, index as u64, &stream.blocks[index]).unwrap();
        }
        world.commit(tree, stream.root).unwrap();
        world.close(tree);
        assert_eq!(fs::read(world.path("out")).unwrap(), content);
        fs::remove_file(world.path("out")).unwrap();
    }
}

#[test]
fn f6_another_state_of_the_source_has_another_stamp() {
    let world = World::new();
    let path = world.write("in/file", "first");
    let stamp = || world.open(world.source("in")).unwrap().3;
    let first = stamp();
    assert_eq!(stamp(), first);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "other").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_ne!(stamp(), first, "same size, same modification time, other change time");
}

#[test]
fn blocks_read_side_by_side_have_the_same_hashes() {
    let world = World::new();
    for number in 0..200 {
        world.write(&format!("in/{number}"), noise(number * 331));
    }
    let stream = world.read(world.source("in")).unwrap();
    let (tree, ..) = world.open(world.source("in")).unwrap();
    let disk = &world.disk;
    std::thread::scope(|scope| {
        for (index, (_, hash)) in (0..).zip(&stream.blocks) {
            scope.spawn(move || {
                let read = disk.perform(DiskRequest::ReadBlock { tree, index });
                assert!(matches!(read, Ok(DiskDone::Block { hash: same, .. }) if same == *hash));
            });
        }
    });
    assert_eq!(world.root(tree), Ok(stream.root));
}

#[test]
fn a_folder_is_merged_into_one_that_is_there() {
    let world = World::new();
    world.write("in/new", "new");
    world.write("in/both/theirs", "theirs");
    world.write("in/both/same", "their version");
    world.write("in/fresh/deep/file", "deep");
    fs::set_permissions(world.path("in/fresh/deep"), Permissions::from_mode(0o555)).unwrap();
    world.write("out/both/mine", "mine");
    world.write("out/both/same", "my version");
    world.copy(world.source("in"), world.target("out")).unwrap();
    let read = |name: &str| fs::read_to_string(world.path("out").join(name)).unwrap();
    let names = ["new", "both/theirs", "both/same", "both/mine", "fresh/deep/file"];
    assert_eq!(names.map(read), ["new", "theirs", "their version", "mine", "deep"]);
    let mode = fs::metadata(world.path("out/fresh/deep")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o555);
    world.assert_nothing_left();
}

#[test]
fn attempts_folders_are_made_empty_and_removed_whole() {
    let world = World::new();
    let folder = world.folder();
    let path = world.disk.folders.path(folder);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    fs::create_dir_all(path.join("a/b")).unwrap();
    fs::write(path.join("a/b/c"), "x").unwrap();
    fs::set_permissions(path.join("a/b"), Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(path.join("a"), Permissions::from_mode(0o000)).unwrap();
    for _ in 0..2 {
        let removed = world.disk.perform(DiskRequest::RemoveFolder { folder });
        assert_eq!(removed, Ok(DiskDone::Nothing));
        assert!(!path.exists());
    }
    assert_eq!(world.disk.folders.path(folder), path);
}

#[test]
fn two_publishers_with_one_short_name_have_two_folders() {
    let world = World::new();
    let id = |last| {
        let mut instance = [1; 16];
        instance[15] = last;
        let task = TaskId { publisher: InstanceId(instance), number: 1 };
        FolderId { task, attempt: AttemptNumber(1) }
    };
    for last in [1, 2] {
        world.disk.perform(DiskRequest::MakeFolder { folder: id(last) }).unwrap();
    }
    let paths = [1, 2].map(|last| world.disk.folders.path(id(last)));
    assert_ne!(paths[0], paths[1]);
    world.disk.perform(DiskRequest::RemoveFolder { folder: id(2) }).unwrap();
    assert!(paths[0].exists() && !paths[1].exists());
}

/// Figures for people: `cargo test --release -p xxnet-runtime-mio --lib -- --ignored --nocapture bench_disk`.
#[test]
#[ignore = "takes its time and 4 GiB of disk"]
fn bench_disk() {
    let world = World::new();
    let size = 1 << 30;
    world.write("in", noise(size));
    let time = |what: &str, work: &mut dyn FnMut()| {
        let (start, busy) = (std::time::Instant::now(), cpu_seconds());
        work();
        let (seconds, busy) = (start.elapsed().as_secs_f64(), cpu_seconds() - busy);
        println!("{what}: {seconds:.3} s, {:.2} GB/s, {busy:.3} s of processor", size as f64 / seconds / 1e9);
    };
    for _ in 0..2 {
        time("cp", &mut || {
            let mut cp = std::process::Command::new("cp");
            let cp = cp.arg("--reflink=never").arg(world.path("in")).arg(world.path("copy")).status();
            assert!(cp.unwrap().success());
        });
        fs::remove_file(world.path("copy")).unwrap();
    }
    let (tree, len, manifest_len, _) = world.open(world.source("in")).unwrap();
    let count = len.div_ceil(BLOCK);
    for _ in 0..2 {
        time("read and hash", &mut || (0..count).for_each(|index| drop(world.block(tree, index).unwrap())));
    }
    let root = world.root(tree).unwrap();
    for _ in 0..2 {
        let stream = Stream { len, manifest_len, blocks: Vec::new(), root };
        time("read, hash, verify, write, commit", &mut || {
            let target = world.begin(world.target("out"), &stream).unwrap();
            for index in 0..count {
                let block = world.block(tree, index).unwrap();
                world.put(target, index, &block).unwrap();
            }
            world.commit(target, root).unwrap();
            world.close(target);
        });
        fs::remove_file(world.path("out")).unwrap();
    }
}
