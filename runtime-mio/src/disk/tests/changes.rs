//! `run -C`: a folder travels there, and what changed in it travels back.

use super::*;

/// A folder that was shipped into an attempt's.
struct Trip {
    world: World,
    shipped: TreeId,
    folder: FolderId,
}

impl Trip {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = World::new();
        fs::create_dir(world.path("project")).unwrap();
        for (name, content) in files {
            world.write(&format!("project/{name}"), content);
        }
        let (shipped, len, manifest_len, _) = world.open(world.source("project")).unwrap();
        let blocks = (0..len.div_ceil(BLOCK)).map(|index| world.block(shipped, index).unwrap()).collect();
        let stream = Stream { len, manifest_len, blocks, root: world.root(shipped).unwrap() };
        let folder = world.folder();
        world.receive(Target::Work { folder, name: b".".to_vec() }, &stream).unwrap();
        Self { world, shipped, folder }
    }

    /// Where the command runs.
    fn there(&self, name: &str) -> PathBuf {
        self.world.disk.folders.path(self.folder).join(name)
    }

    /// The user's own.
    fn here(&self, name: &str) -> PathBuf {
        self.world.path("project").join(name)
    }

    fn changes(&self) -> Stream {
        self.world.read(Source::Changes { folder: self.folder }).unwrap()
    }

    /// The changes come back: the names of what landed beside the user's own.
    fn back(&self) -> Vec<String> {
        let (path, stream) = (bytes_of(&self.here("")), self.changes());
        let tree = self.world.begin(Target::Merge { path, shipped: self.shipped }, &stream).unwrap();
        for (index, block) in (0..).zip(&stream.blocks) {
            self.world.put(tree, index, block).unwrap();
        }
        let done = self.world.commit(tree, stream.root).unwrap();
        self.world.close(tree);
        self.world.assert_nothing_left();
        let DiskDone::Committed { beside } = done else { panic!("{done:?}") };
        assert_eq!(beside.count, beside.first.len() as u64);
        for aside in &beside.first {
            let own = Path::new(&aside.own);
            assert!(own.with_file_name(&aside.name).exists(), "{aside:?}");
            assert!(
                own.starts_with(self.here(""))
                    && aside.name.starts_with(own.file_name().unwrap().to_str().unwrap())
            );
        }
        beside.first.into_iter().map(|aside| aside.name).collect()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.here(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn paths(&self) -> Vec<(String, EntryKind)> {
        let stream = self.changes();
        let bytes = Bytes::from(stream.blocks.iter().flat_map(|(data, _)| data.to_vec()).collect::<Vec<_>>());
        let manifest = Manifest::decode(&bytes[..stream.manifest_len as usize]).unwrap();
        let path = |entry: &Entry| String::from_utf8(entry.path.clone()).unwrap();
        manifest.entries.iter().map(|entry| (path(entry), entry.kind.clone())).collect()
    }
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn what_did_not_change_stays_there() {
    let trip = Trip::new(&[("a", "a"), ("d/b", "b"), ("d/e/c", "c")]);
    let paths: Vec<_> = trip.paths().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [""]);
    fs::write(trip.there("d/e/new"), "new").unwrap();
    let paths: Vec<_> = trip.paths().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["", "d", "d/e", "d/e/new"]);
}

#[test]
fn what_another_input_brought_is_no_change() {
    let trip = Trip::new(&[("a", "a")]);
    trip.world.write("other", "other");
    let target = Target::Work { folder: trip.folder, name: b"in/deep/other".to_vec() };
    trip.world.copy(trip.world.source("other"), target).unwrap();
    assert_eq!(read(trip.there("in/deep/other")), "other");
    assert_eq!(trip.paths().len(), 1);
}

#[test]
fn new_changed_and_deleted_come_back() {
    let trip = Trip::new(&[
        ("keep", "keep"),
        ("change", "before"),
        ("gone", "x"),
        ("dir/gone", "x"),
        ("dir2/x/y", "y"),
    ]);
    fs::write(trip.there("change"), "after").unwrap();
    fs::write(trip.there("new"), "new").unwrap();
    fs::create_dir_all(trip.there("made/deep")).unwrap();
    fs::write(trip.there("made/deep/file"), "deep").unwrap();
    fs::set_permissions(trip.there("made/deep"), Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(trip.there("keep"), Permissions::from_mode(0o755)).unwrap();
    symlink("new", trip.there("link")).unwrap();
    fs::remove_file(trip.there("gone")).unwrap();
    fs::remove_file(trip.there("dir/gone")).unwrap();
    fs::remove_dir_all(trip.there("dir2")).unwrap();
    let deleted: Vec<_> = trip
        .paths()
        .into_iter()
        .filter(|(_, kind)| *kind == EntryKind::Deleted)
        .map(|(path, _)| path)
        .collect();
    assert_eq!(deleted, ["dir/gone", "dir2", "gone"]);
    assert!(trip.back().is_empty(), "everything could land");
    assert_eq!(trip.names(), ["change", "dir", "keep", "link", "made", "new"]);
    assert_eq!(read(trip.here("change")), "after");
    assert_eq!(read(trip.here("made/deep/file")), "deep");
    assert_eq!(read(trip.here("link")), "new");
    assert_eq!(fs::metadata(trip.here("keep")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(trip.here("made/deep")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(fs::read_dir(trip.here("dir")).unwrap().count(), 0);
}

#[test]
fn f13_what_the_user_changed_meanwhile_is_left_alone() {
    let trip = Trip::new(&[
        ("both", "before"),
        ("gone-there", "x"),
        ("gone-here", "x"),
        ("d/mine", "x"),
        ("d/old", "x"),
    ]);
    fs::write(trip.there("both"), "the command's").unwrap();
    fs::write(trip.there("fresh"), "the command's").unwrap();
    fs::write(trip.there("gone-here"), "the command's").unwrap();
    fs::remove_file(trip.there("gone-there")).unwrap();
    fs::remove_dir_all(trip.there("d")).unwrap();
    fs::write(trip.here("both"), "the user's").unwrap();
    fs::write(trip.here("fresh"), "the user's").unwrap();
    fs::write(trip.here("gone-there"), "the user's").unwrap();
    fs::write(trip.here("d/mine"), "the user's").unwrap();
    fs::write(trip.here("d/added"), "the user's").unwrap();
    fs::remove_file(trip.here("gone-here")).unwrap();
    assert_eq!(trip.back(), ["both.xxnet-new", "fresh.xxnet-new", "gone-here.xxnet-new"]);
    for name in ["both", "fresh", "gone-there", "d/mine", "d/added"] {
        assert_eq!(read(trip.here(name)), "the user's", "{name}");
    }
    for name in ["both", "fresh", "gone-here"] {
        assert_eq!(read(trip.here(&format!("{name}.xxnet-new"))), "the command's", "{name}");
    }
    assert!(!trip.here("gone-here").exists());
    assert!(!trip.here("d/old").exists(), "deleted there, unchanged here");
}

#[test]
fn a_file_that_became_a_folder_and_the_other_way_round() {
    let trip = Trip::new(&[("file", "x"), ("folder/a", "a"), ("folder/b/c", "c"), ("mixed/a", "a")]);
    fs::remove_file(trip.there("file")).unwrap();
    fs::create_dir(trip.there("file")).unwrap();
    fs::write(trip.there("file/inner"), "inner").unwrap();
    for name in ["folder", "mixed"] {
        fs::remove_dir_all(trip.there(name)).unwrap();
        fs::write(trip.there(name), "now a file").unwrap();
    }
    fs::write(trip.here("mixed/users"), "the user's").unwrap();
    assert_eq!(trip.back(), ["mixed.xxnet-new"]);
    assert_eq!(read(trip.here("file/inner")), "inner");
    assert_eq!(read(trip.here("folder")), "now a file");
    assert_eq!(read(trip.here("mixed/users")), "the user's");
    assert_eq!(read(trip.here("mixed.xxnet-new")), "now a file");
}

#[test]
fn f13_a_whole_folder_that_collides_lands_beside() {
    let trip = Trip::new(&[("a", "a")]);
    fs::create_dir_all(trip.there("out/deep")).unwrap();
    fs::write(trip.there("out/deep/file"), "deep").unwrap();
    fs::write(trip.here("out"), "the user's").unwrap();
    assert_eq!(trip.back(), ["out.xxnet-new"], "a folder counts once, with all that is in it");
    assert_eq!(read(trip.here("out")), "the user's");
    assert_eq!(read(trip.here("out.xxnet-new/deep/file")), "deep");
}

#[test]
fn f13_a_second_run_finds_another_free_name() {
    let trip = Trip::new(&[("a", "before")]);
    fs::write(trip.there("a"), "the command's").unwrap();
    fs::write(trip.here("a"), "the user's").unwrap();
    fs::write(trip.here("a.xxnet-new"), "of the run before").unwrap();
    assert_eq!(trip.back(), ["a.xxnet-new-2"]);
    assert_eq!(read(trip.here("a")), "the user's");
    assert_eq!(read(trip.here("a.xxnet-new")), "of the run before");
    assert_eq!(read(trip.here("a.xxnet-new-2")), "the command's");
}

#[test]
fn the_user_can_be_at_it_with_another_run() {
    // A tree on its way in is not part of what is shipped.
    let trip = Trip::new(&[("a", "a")]);
    fs::write(trip.there("big"), noise(2 << 20)).unwrap();
    let stream = trip.changes();
    let path = bytes_of(&trip.here(""));
    let merge = Target::Merge { path, shipped: trip.shipped };
    let tree = trip.world.begin(merge, &stream).unwrap();
    trip.world.put(tree, 0, &stream.blocks[0]).unwrap();
    assert_eq!(trip.world.leftovers().len(), 1);
    let (again, ..) = trip.world.open(trip.world.source("project")).unwrap();
    let Tree::Source(source) = lock(&trip.world.disk.trees)[&again].clone() else { panic!("a source") };
    assert!(source.state_of(b"a").is_some());
    assert_eq!(source.root(&trip.world.disk.blocks).map(|_| ()), Ok(()));
    let (_, len, manifest_len, _) = trip.world.open(trip.world.source("project")).unwrap();
    assert_eq!(len - manifest_len, 1);
}
