//! What goes wrong, and that nothing half-written is left (ledger F7, F8, F9, F12).

use super::*;

fn folder(path: &str) -> Entry {
    Entry { path: path.into(), kind: EntryKind::Folder { mode: 0o755, mtime: (0, 0) } }
}

fn file(path: &str, size: u64) -> Entry {
    Entry { path: path.into(), kind: EntryKind::File { size, mode: 0o644, mtime: (0, 0) } }
}

#[test]
fn f7_an_altered_block_is_a_mismatch_and_nothing_is_visible() {
    let world = World::new();
    world.write("in", noise(3 << 20));
    let mut stream = world.read(world.source("in")).unwrap();
    let mut altered = stream.blocks[1].0.to_vec();
    altered[12345] ^= 1;
    let good = std::mem::replace(&mut stream.blocks[1].0, altered.into());
    let tree = world.begin(world.target("out"), &stream).unwrap();
    world.put(tree, 0, &stream.blocks[0]).unwrap();
    assert_eq!(kind(world.put(tree, 1, &stream.blocks[1])), FileErrorKind::Mismatch);
    // The link was at fault, not the tree: the right block is still taken.
    stream.blocks[1].0 = good;
    for index in 1..stream.blocks.len() {
        world.put(tree, index as u64, &stream.blocks[index]).unwrap();
        assert!(!world.path("out").exists());
    }
    world.commit(tree, stream.root).unwrap();
    assert_eq!(fs::read(world.path("out")).unwrap(), noise(3 << 20));
}

#[test]
fn f7_size_and_root_must_match() {
    let world = World::new();
    world.write("in", noise(2 << 20));
    world.write("out", "as it was");
    let stream = world.read(world.source("in")).unwrap();
    let mut other_root = stream.clone();
    other_root.root.0[0] ^= 1;
    assert_eq!(kind(world.receive(world.target("out"), &other_root)), FileErrorKind::Mismatch);

    let mut short = stream;
    let (data, _) = short.blocks.pop().unwrap();
    assert_eq!(kind(world.receive(world.target("out"), &short)), FileErrorKind::Mismatch);
    let cut = data.slice(..data.len() - 1);
    let hash = blocks::hash_of([&cut]);
    short.blocks.push((cut, hash));
    assert_eq!(kind(world.receive(world.target("out"), &short)), FileErrorKind::Mismatch);

    // The list says one thing, the stream another.
    let manifest = Manifest::new(vec![file("", 10)]).unwrap().encode().unwrap();
    let lying = stream_of(&manifest, &noise(11));
    assert_eq!(kind(world.receive(world.target("out"), &lying)), FileErrorKind::BadManifest);
    assert_eq!(fs::read(world.path("out")).unwrap(), b"as it was");
    world.assert_nothing_left();
}

#[test]
fn f8_no_space_is_said_before_the_first_byte() {
    let world = World::new();
    let stream = Stream { len: 1 << 60, manifest_len: 50, blocks: Vec::new(), root: Hash([0; 32]) };
    let error = world.begin(world.target("out"), &stream).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::NoSpace);
    assert!(error.name.ends_with("out"), "{error}");
    world.assert_nothing_left();
}

#[test]
fn f8_no_space_in_the_middle_is_cleaned_up() {
    const CHILD: &str = "XXNET_TEST_SMALL_FILES";
    if std::env::var_os(CHILD).is_none() {
        // A limit on file sizes holds for a whole process, so this test runs again in one of its own.
        let me = std::env::current_exe().unwrap();
        let name = "disk::tests::faults::f8_no_space_in_the_middle_is_cleaned_up";
        let run = std::process::Command::new(me).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let world = World::new();
    for size in [3 << 20, 9 << 20] {
        world.write("in/before", "first");
        world.write("in/large", noise(size));
        world.write("out/kept", "kept");
        let stream = world.read(world.source("in")).unwrap();
        let limit = libc::rlimit { rlim_cur: 2 << 20, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: `limit` lives through the call; the signal is only ignored.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
        }
        let error = world.receive(world.target("out"), &stream).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::NoSpace);
        assert!(error.name.ends_with("out/large"), "{error}");
        let names: Vec<_> =
            fs::read_dir(world.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
        let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    }
}

#[test]
fn f9_a_source_that_is_missing_special_or_a_folder() {
    let world = World::new();
    assert_eq!(kind(world.open(world.source("missing"))), FileErrorKind::NotFound);
    assert_eq!(kind(world.open(world.source("missing/deeper"))), FileErrorKind::NotFound);
    world.write("folder/file", "x");
    assert!(world.open(world.source("folder")).is_ok(), "a folder is a tree");
    assert_eq!(kind(world.open(Source::Path { path: b"/dev/null".to_vec() })), FileErrorKind::Special);
    let pipe = std::ffi::CString::new(bytes_of(&world.path("folder/pipe"))).unwrap();
    // SAFETY: the path lives through the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let error = world.open(world.source("folder")).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::Special);
    assert!(error.name.ends_with("folder/pipe"), "{error}");
    assert_eq!(kind(world.open(world.source("folder/pipe"))), FileErrorKind::Special);
}

/// Runs something as nobody, in a thread of its own: root may read anything.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            // SAFETY: the raw call changes this thread alone, unlike the library's; it takes no pointers.
            unsafe {
                if libc::geteuid() == 0 {
                    assert_eq!(libc::syscall(libc::SYS_setresuid, -1, 65534, -1), 0);
                }
            }
            work()
        });
        run.join().unwrap()
    })
}

#[test]
fn f9_a_source_that_cannot_be_read() {
    let world = World::new();
    fs::set_permissions(world.base.path(), Permissions::from_mode(0o755)).unwrap();
    world.write("in/open", "x");
    world.write("in/shut", "secret");
    fs::set_permissions(world.path("in/shut"), Permissions::from_mode(0o000)).unwrap();
    let (disk, file, folder) = (&world.disk, world.source("in/shut"), world.source("in"));
    for (source, ends) in [(file, "in/shut"), (folder, "in/shut")] {
        let result = as_nobody(|| disk.perform(DiskRequest::OpenSource { tree: TreeId(99), source }));
        let error = result.unwrap_err();
        assert_eq!(error.kind, FileErrorKind::PermissionDenied);
        assert!(error.name.ends_with(ends), "{error}");
    }
}

#[test]
fn f9_a_target_that_cannot_be_written_is_named() {
    let world = World::new();
    fs::set_permissions(world.base.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.path("shut")).unwrap();
    fs::set_permissions(world.path("shut"), Permissions::from_mode(0o555)).unwrap();
    world.write("in", "x");
    let stream = world.read(world.source("in")).unwrap();
    let disk = &world.disk;
    for (target, name) in [("shut/out", "shut"), ("shut", "shut")] {
        let target = world.target(target);
        let (stream_len, manifest_len) = (stream.len, stream.manifest_len);
        let request =
            DiskRequest::OpenTarget { tree: TreeId(99), target, stream_len, manifest_len, origin: None };
        let error = as_nobody(|| disk.perform(request)).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::PermissionDenied);
        assert!(error.name.ends_with(name), "{error}");
    }
    let error = world.receive(world.target("missing/folder/out"), &stream).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::NotFound);
    assert!(error.name.ends_with("missing/folder"), "{error}");
    let error = world.receive(world.target("in/out"), &stream).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::NotFound);
}

#[test]
fn f9_a_source_that_changes_during_the_transfer() {
    fn write(options: &mut fs::OpenOptions, path: &Path) {
        std::io::Write::write_all(&mut options.open(path).unwrap(), b"!").unwrap();
    }
    type Change = (&'static str, &'static dyn Fn(&Path));
    let changes: &[Change] = &[
        ("written", &|path| write(fs::File::options().write(true), path)),
        ("appended", &|path| write(fs::File::options().append(true), path)),
        ("truncated", &|path| fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap()),
        ("replaced", &|path| {
            let other = path.with_extension("other");
            fs::write(&other, noise(3 << 20)).unwrap();
            fs::rename(&other, path).unwrap();
        }),
        ("removed", &|path| fs::remove_file(path).unwrap()),
    ];
    for (what, change) in changes {
        let world = World::new();
        let path = world.write("in/file", noise(3 << 20));
        // Before its first block is read, when nothing is open yet.
        let (tree, ..) = world.open(world.source("in")).unwrap();
        change(&path);
        let error = world.block(tree, 0).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::Changed, "{what}");
        assert!(error.name.ends_with("in/file"), "{error}");

        // In the middle. What is open already can be read on after it was replaced or removed: it is what was scanned,
        // and only the count of its names differs.
        let path = world.write("in/file", noise(3 << 20));
        let (tree, ..) = world.open(world.source("in")).unwrap();
        world.block(tree, 0).unwrap();
        change(&path);
        assert_eq!(kind(world.block(tree, 1)), FileErrorKind::Changed, "{what}");
        assert_eq!(kind(world.root(tree)), FileErrorKind::Changed, "{what}");
    }
}

#[test]
fn f12_names_that_leave_the_work_folder_are_refused() {
    let world = World::new();
    let folder = world.folder();
    world.write("in", "x");
    world.write("work/secret", "s");
    let stream = world.read(world.source("in")).unwrap();
    for name in ["..", "../secret", "a/../../secret", "/etc/passwd", ""] {
        let name = name.as_bytes().to_vec();
        let output = Source::Output { folder, name: name.clone() };
        assert_eq!(kind(world.open(output)), FileErrorKind::Escapes);
        let target = Target::Work { folder, name };
        assert_eq!(kind(world.begin(target, &stream)), FileErrorKind::Escapes);
    }
    // Links that a command has left.
    let path = world.disk.folders.path(folder);
    symlink("../secret", path.join("up")).unwrap();
    symlink("/etc/passwd", path.join("absolute")).unwrap();
    symlink("..", path.join("above")).unwrap();
    fs::write(path.join("inside"), "i").unwrap();
    symlink("inside", path.join("good")).unwrap();
    for name in ["up", "absolute", "above", "above/secret", "."] {
        let output = Source::Output { folder, name: name.into() };
        assert_eq!(kind(world.open(output)), FileErrorKind::Escapes, "{name}");
    }
    let output = Source::Output { folder, name: b"good".to_vec() };
    world.copy(output, world.target("out")).unwrap();
    assert_eq!(fs::read(world.path("out")).unwrap(), b"i");
    // Nothing is written through a link that leads out.
    let target = Target::Work { folder, name: b"above/planted".to_vec() };
    assert!(world.receive(target, &stream).is_err());
    assert!(!world.path("work/planted").exists());
    // A device by its name alone.
    let output = Source::Output { folder, name: b"missing".to_vec() };
    assert_eq!(kind(world.open(output)), FileErrorKind::NotFound);
    assert_eq!(
        kind(world.open(Source::Output { folder, name: b"inside/x".to_vec() })),
        FileErrorKind::NotFound
    );
}

#[test]
fn f12_a_manifest_that_leaves_the_tree_is_refused_and_leaves_nothing() {
    let world = World::new();
    let link = |path: &str, target: &str| Entry {
        path: path.into(),
        kind: EntryKind::Link { target: target.into() },
    };
    let bad = [
        vec![folder(""), file("../planted", 3)],
        vec![folder(""), file("/planted", 3)],
        vec![folder(""), link("l", "/etc")],
        vec![folder(""), link("l", "../..")],
    ];
    for entries in bad {
        // The encoder refuses them, so the good ones' bytes are bent.
        let plain: Vec<Entry> = entries
            .iter()
            .map(|entry| {
                let swap =
                    |bytes: &[u8]| bytes.iter().map(|b| if b"./".contains(b) { b'_' } else { *b }).collect();
                let kind = match &entry.kind {
                    EntryKind::Link { target } => EntryKind::Link { target: swap(target) },
                    kind => kind.clone(),
                };
                Entry { path: swap(&entry.path), kind }
            })
            .collect();
        let mut bytes = Manifest { entries: plain.clone() }.encode().unwrap();
        for (good, bad) in plain.iter().zip(&entries) {
            let texts = |entry: &Entry| match &entry.kind {
                EntryKind::Link { target } => vec![entry.path.clone(), target.clone()],
                _ => vec![entry.path.clone()],
            };
            for (good, bad) in texts(good).iter().zip(texts(bad)).filter(|(good, _)| !good.is_empty()) {
                let at = bytes.windows(good.len()).position(|window| window == good.as_slice()).unwrap();
                bytes[at..at + good.len()].copy_from_slice(&bad);
            }
        }
        let content = entries.iter().map(Entry::content_len).sum::<u64>();
        let stream = stream_of(&bytes, &noise(content as usize));
        let error = world.receive(world.target("out"), &stream).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::Escapes, "{entries:?}: {error}");
        assert!(!world.path("planted").exists() && !world.path("out").exists());
        world.assert_nothing_left();
    }
    let garbage = stream_of(&noise(100), b"");
    assert_eq!(kind(world.receive(world.target("out"), &garbage)), FileErrorKind::BadManifest);
}

#[test]
fn f12_an_existing_link_is_never_written_through() {
    let world = World::new();
    world.write("victim", "untouched");
    world.write("in/a/file", "new");
    world.write("one", "new");
    symlink("victim", world.path("out-file")).unwrap();
    world.copy(world.source("one"), world.target("out-file")).unwrap();
    assert!(fs::symlink_metadata(world.path("out-file")).unwrap().is_file());
    // Inside a folder that is merged into, a link is not a folder.
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::create_dir(world.path("out")).unwrap();
    symlink("../elsewhere", world.path("out/a")).unwrap();
    assert_eq!(kind(world.copy(world.source("in"), world.target("out"))), FileErrorKind::InTheWay);
    assert!(!world.path("elsewhere/file").exists());
    assert_eq!(fs::read(world.path("victim")).unwrap(), b"untouched");
}

#[test]
fn a_folder_and_a_file_in_each_others_way_change_nothing() {
    let world = World::new();
    world.write("file", "x");
    world.write("folder/a", "new a");
    world.write("folder/clash", "a file");
    world.write("out/a", "old a");
    world.write("out/clash/inner", "a folder");
    world.write("taken", "a file");
    let clash = world.copy(world.source("folder"), world.target("out")).unwrap_err();
    assert_eq!(clash.kind, FileErrorKind::InTheWay);
    assert!(clash.name.ends_with("out/clash"), "{clash}");
    assert_eq!(fs::read(world.path("out/a")).unwrap(), b"old a");
    assert_eq!(kind(world.copy(world.source("file"), world.target("out"))), FileErrorKind::InTheWay);
    assert_eq!(kind(world.copy(world.source("folder"), world.target("taken"))), FileErrorKind::InTheWay);
    assert_eq!(fs::read(world.path("taken")).unwrap(), b"a file");
    world.assert_nothing_left();
}

#[test]
fn a_disk_that_ends_in_the_middle_leaves_nothing() {
    let world = World::new();
    world.write("in/a", noise(2 << 20));
    let stream = world.read(world.source("in")).unwrap();
    let tree = world.begin(world.target("out"), &stream).unwrap();
    world.put(tree, 0, &stream.blocks[0]).unwrap();
    assert_eq!(world.leftovers().len(), 1);
    let World { base, disk, next } = world;
    drop(disk);
    let disk = Shared::new(Folders::new(None, None));
    World { base, disk, next }.assert_nothing_left();
}

#[test]
fn unknown_trees_and_blocks_are_errors() {
    let world = World::new();
    let tree = TreeId(4711);
    assert!(matches!(kind(world.block(tree, 0)), FileErrorKind::System(_)));
    assert!(matches!(kind(world.commit(tree, Hash([0; 32]))), FileErrorKind::System(_)));
    assert_eq!(world.disk.perform(DiskRequest::CloseTree { tree, keep: false }), Ok(DiskDone::Nothing));
    world.write("in", "x");
    let (tree, ..) = world.open(world.source("in")).unwrap();
    for index in [1, u64::MAX] {
        assert_eq!(kind(world.block(tree, index)), FileErrorKind::Mismatch);
    }
    let stream = world.read(world.source("in")).unwrap();
    let target = world.begin(world.target("out"), &stream).unwrap();
    for index in [1, u64::MAX] {
        assert_eq!(kind(world.put(target, index, &stream.blocks[0])), FileErrorKind::Mismatch);
    }
    assert_eq!(kind(world.commit(target, stream.root)), FileErrorKind::Mismatch);
    world.close(target);
}

#[test]
fn x4_what_a_killed_process_left_half_written_is_removed_by_the_next() {
    let world = World::new();
    world.write("in/a", noise(2 << 20));
    let stream = world.read(world.source("in")).unwrap();
    let living = world.begin(world.target("out"), &stream).unwrap();
    world.put(living, 0, &stream.blocks[0]).unwrap();
    let mine = world.leftovers();
    assert_eq!(mine.len(), 1);
    world.write(".xxnet-0123456789abcdef/half", "written");
    world.write(".xxnet-0123456789abcde0", "written");
    world.write(".xxnet-not-a-staged-tree", "the user's");
    let folder = crate::fs::Dir::at_path(world.base.path()).unwrap();
    // Young ones may be about to be locked; those that are locked are somebody's.
    target::sweep(&folder, Duration::from_secs(60));
    assert_eq!(world.leftovers().len(), 4);
    target::sweep(&folder, Duration::ZERO);
    let mut left = world.leftovers();
    left.sort();
    let mut expected = [mine[0].clone(), world.path(".xxnet-not-a-staged-tree")];
    expected.sort();
    assert_eq!(left, expected);
    for index in 1..stream.blocks.len() {
        world.put(living, index as u64, &stream.blocks[index]).unwrap();
    }
    world.commit(living, stream.root).unwrap();
    assert_eq!(fs::read(world.path("out/a")).unwrap(), noise(2 << 20));
}
