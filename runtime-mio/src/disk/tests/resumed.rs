//! What did not come whole and is taken up again, and copies for others (ledger F4, F10).

use super::*;
use kept::tidy_to;
use xxnet_core::disk::Origin;

/// What is done to what is kept, and what it is called.
type Damage = (&'static str, fn(&Path));

const ORIGIN: Origin = Origin { publisher: InstanceId([3; 16]), stamp: 77 };

impl World {
    /// With a source of this content.
    fn with_source(content: impl AsRef<[u8]>) -> (Self, Stream) {
        let world = Self::new();
        world.write("in", content);
        let stream = world.read(world.source("in")).unwrap();
        (world, stream)
    }

    /// Opens a target for an attempt; says how many blocks are there.
    fn begin_from(&self, origin: Origin, stream: &Stream) -> (TreeId, FolderId, u64) {
        let (tree, folder) = (self.tree(), self.folder());
        let target = Target::Work { folder, name: b"in".to_vec() };
        let (stream_len, manifest_len, origin) = (stream.len, stream.manifest_len, Some(origin));
        let request = DiskRequest::OpenTarget { tree, target, stream_len, manifest_len, origin };
        match self.disk.perform(request).unwrap() {
            DiskDone::Resumed { blocks } => (tree, folder, blocks),
            DiskDone::Nothing => (tree, folder, 0),
            other => panic!("{other:?}"),
        }
    }

    fn put_blocks(&self, tree: TreeId, stream: &Stream, which: impl IntoIterator<Item = usize>) {
        for index in which {
            self.put(tree, index as u64, &stream.blocks[index]).unwrap();
        }
    }

    fn keep(&self, tree: TreeId) {
        assert_eq!(self.disk.perform(DiskRequest::CloseTree { tree, keep: true }), Ok(DiskDone::Nothing));
    }

    /// So many blocks come, and are left to the next one.
    fn keep_first(&self, blocks: usize, origin: Origin, stream: &Stream) {
        let (tree, ..) = self.begin_from(origin, stream);
        self.put_blocks(tree, stream, 0..blocks);
        self.keep(tree);
    }

    /// The same folders, and a process that knows nothing of what the last one did; that was killed.
    fn killed(self) -> Self {
        let Self { base, disk, next } = self;
        // Its files stay, and nothing of it is closed.
        std::mem::forget(disk);
        let (old, work, kept) =
            (base.path().join("work"), base.path().join("work-2"), base.path().join("kept"));
        kept::save(&crate::fs::Dir::at_path(&old).unwrap(), &kept);
        fs::remove_dir_all(&old).unwrap();
        fs::create_dir(&work).unwrap();
        fs::rename(&work, &old).unwrap();
        let folders = Folders::new(Some(old), Some(kept));
        let disk = Shared::new(folders);
        Self { base, disk, next }
    }

    /// The rest of the blocks come, and the tree is what the source has.
    fn finish(&self, (tree, folder, there): (TreeId, FolderId, u64), stream: &Stream) -> PathBuf {
        self.put_blocks(tree, stream, there as usize..stream.blocks.len());
        self.commit(tree, stream.root).unwrap();
        self.close(tree);
        self.disk.folders.path(folder).join("in")
    }

    /// Where the one content that is kept is.
    fn the_kept(&self) -> PathBuf {
        let all: Vec<_> =
            fs::read_dir(self.path("kept")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    fn keeps_nothing(&self) -> bool {
        !self.path("kept").exists()
    }
}

#[test]
fn f10_after_a_kill_it_goes_on_after_every_block() {
    let content = noise((5 << 20) - 1000);
    for cut in 0..=5 {
        let (world, stream) = World::with_source(&content);
        let (tree, ..) = world.begin_from(ORIGIN, &stream);
        world.put_blocks(tree, &stream, 0..cut);
        let world = world.killed();
        let begun = world.begin_from(ORIGIN, &stream);
        assert_eq!(begun.2, cut as u64, "what was verified is there");
        assert!(world.keeps_nothing(), "one alone takes it up");
        assert_eq!(world.begin_from(ORIGIN, &stream).2, 0);
        assert_eq!(fs::read(world.finish(begun, &stream)).unwrap(), content);
    }
}

#[test]
fn f10_a_folder_goes_on_as_it_was() {
    let world = World::new();
    world.write("in/a", noise(2_500_000));
    world.write("in/b/empty", "");
    world.write("in/b/small", "small");
    world.write("in/c/late", noise(3_000_000));
    world.write("in/d", "last");
    symlink("b/small", world.path("in/link")).unwrap();
    fs::create_dir(world.path("in/e")).unwrap();
    fs::set_permissions(world.path("in/c/late"), Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(world.path("in/a"), Permissions::from_mode(0o755)).unwrap();
    let stream = world.read(world.source("in")).unwrap();
    assert_eq!(stream.blocks.len(), 6);
    let mut seen = Vec::new();
    // Blocks behind a gap do not count, though they may have completed files.
    for which in [vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2], vec![0, 1, 2, 4, 5], vec![0, 1, 3, 4, 5], vec![0]] {
        let there = (0..).zip(&which).take_while(|(index, block)| index == *block).count() as u64;
        let copy = World::new();
        let (tree, ..) = copy.begin_from(ORIGIN, &stream);
        copy.put_blocks(tree, &stream, which);
        let copy = copy.killed();
        // Killed behind its last byte, a file has not got its mode and time.
        let kept = copy.the_kept().join("tree/a");
        fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
        fs::File::open(&kept).unwrap().set_modified(SystemTime::now()).unwrap();
        let begun = copy.begin_from(ORIGIN, &stream);
        assert_eq!(begun.2, there);
        let came = copy.finish(begun, &stream);
        assert!(came.join("e").is_dir());
        let again = copy.read(Source::Path { path: bytes_of(&came) }).unwrap();
        seen.push((again.root == stream.root, again.len == stream.len));
        copy.assert_nothing_left();
    }
    assert!(seen.iter().all(|same| *same == (true, true)), "names, bytes, modes, times: {seen:?}");
}

fn shorten(path: &Path, by: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - by).unwrap();
}

#[test]
fn f10_what_was_torn_is_not_believed() {
    let content = noise(5 << 20);
    let damage: [Damage; 6] = [
        ("a byte", |kept| {
            let mut bytes = fs::read(kept.join("tree")).unwrap();
            bytes[2_500_000] ^= 1;
            fs::write(kept.join("tree"), bytes).unwrap();
        }),
        ("the end of the tree", |kept| {
            fs::OpenOptions::new().write(true).open(kept.join("tree")).unwrap().set_len(2_500_000).unwrap();
        }),
        ("the end of the journal", |kept| {
            shorten(&kept.join("journal"), 2 * 40 + 7);
        }),
        ("the last block's record, behind which its file was completed", |kept| {
            shorten(&kept.join("journal"), 40);
            fs::set_permissions(kept.join("tree"), Permissions::from_mode(0o444)).unwrap();
        }),
        ("all of the tree", |kept| fs::remove_file(kept.join("tree")).unwrap()),
        ("the manifest", |kept| {
            let mut bytes = fs::read(kept.join("journal")).unwrap();
            bytes[60] ^= 0xff;
            fs::write(kept.join("journal"), bytes).unwrap();
        }),
    ];
    for ((what, damage), there) in damage.into_iter().zip([2, 2, 2, 4, 0, 0]) {
        let (world, stream) = World::with_source(&content);
        world.keep_first(5, ORIGIN, &stream);
        damage(&world.the_kept());
        let begun = world.begin_from(ORIGIN, &stream);
        assert_eq!(begun.2, there, "{what}");
        assert_eq!(fs::read(world.finish(begun, &stream)).unwrap(), content, "{what}");
        world.assert_nothing_left();
        assert!(world.keeps_nothing(), "{what}");
    }
}

#[test]
fn f10_only_the_same_state_of_the_same_publishers_source_is_taken_up() {
    let (world, stream) = World::with_source(noise(3 << 20));
    world.keep_first(2, ORIGIN, &stream);
    let longer = Stream { len: stream.len + 1, ..stream.clone() };
    let others = [
        (Origin { publisher: InstanceId([4; 16]), ..ORIGIN }, &stream),
        (Origin { stamp: 78, ..ORIGIN }, &stream),
        (ORIGIN, &longer),
    ];
    for (origin, stream) in others {
        let (tree, _, there) = world.begin_from(origin, stream);
        assert_eq!(there, 0, "{origin:?}");
        world.close(tree);
    }
    assert_eq!(world.begin_from(ORIGIN, &stream).2, 2);
}

#[test]
fn f10_what_is_not_worth_it_or_not_wanted_is_not_kept() {
    let (world, stream) = World::with_source(noise(3 << 20));
    world.write("small", noise(1000));
    let small = world.read(world.source("small")).unwrap();
    world.keep_first(1, ORIGIN, &small);
    assert!(world.keeps_nothing(), "a single block");
    let (tree, ..) = world.begin_from(ORIGIN, &stream);
    world.put_blocks(tree, &stream, 0..2);
    world.close(tree);
    assert!(world.keeps_nothing(), "not wanted");
    // A commit that fails: its root says that these are other bytes.
    let (tree, ..) = world.begin_from(ORIGIN, &stream);
    world.put_blocks(tree, &stream, 0..stream.blocks.len());
    assert_eq!(kind(world.commit(tree, Hash([0; 32]))), FileErrorKind::Mismatch);
    world.close(tree);
    // One that has begun to be put into its place is not as it was any more.
    let (tree, folder, _) = world.begin_from(ORIGIN, &stream);
    world.put_blocks(tree, &stream, 0..stream.blocks.len());
    fs::create_dir(world.disk.folders.path(folder).join("in")).unwrap();
    assert_eq!(kind(world.commit(tree, stream.root)), FileErrorKind::InTheWay);
    world.keep(tree);
    assert!(world.keeps_nothing());
    world.assert_nothing_left();
}

/// As if what is kept had been so for longer.
fn age(kept: &Path, by: Duration) {
    let file = fs::OpenOptions::new().append(true).open(kept.join("journal")).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - by).unwrap();
}

#[test]
fn f10_what_is_kept_goes_when_its_time_is_over() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (world, stream) = World::with_source(noise(3 << 20));
    let is_time = |later: Duration| world.disk.take_turn(clock::now() + later);
    assert!(!is_time(2 * HOUR), "nothing is kept");
    world.keep_first(2, ORIGIN, &stream);
    assert!(!is_time(HOUR / 2));
    assert!(is_time(2 * HOUR) && !is_time(2 * HOUR), "somebody looks, and nobody else");
    world.disk.tidy();
    assert!(!world.keeps_nothing() && is_time(2 * HOUR), "it was too early");
    age(&world.the_kept(), HOUR);
    world.disk.tidy();
    assert!(world.keeps_nothing() && !is_time(2 * HOUR));
}

#[test]
fn f10_what_is_kept_is_bounded_in_bytes_and_in_age() {
    let (world, stream) = World::with_source(noise(3 << 20));
    let kept = world.path("kept");
    let origin = |stamp| Origin { stamp, ..ORIGIN };
    let keep = |stamp| {
        world.keep_first(2, origin(stamp), &stream);
        // As if it had been a while ago, the first longest.
        for entry in fs::read_dir(&kept).unwrap() {
            age(&entry.unwrap().path(), Duration::from_secs(60));
        }
    };
    (1..=4).for_each(keep);
    fs::create_dir(kept.join("gone-0")).unwrap();
    fs::write(kept.join("stray"), "x").unwrap();
    let count = || fs::read_dir(&kept).map_or(0, Iterator::count);
    tidy_to(&kept, stream.len * 3, Duration::from_secs(3600));
    assert_eq!(count(), 3, "the oldest is too much, and so is what belongs to nobody");
    tidy_to(&kept, u64::MAX, Duration::from_secs(150));
    assert_eq!(count(), 2, "the next one is too old");
    assert_eq!(world.begin_from(origin(1), &stream).2, 0);
    assert_eq!(world.begin_from(origin(4), &stream).2, 2);
    tidy_to(&kept, 0, Duration::from_secs(3600));
    assert!(world.keeps_nothing(), "nor is an empty folder left");
}

#[test]
fn f10_kept_blocks_give_way_where_space_is_needed() {
    let (world, stream) = World::with_source(noise(3 << 20));
    world.keep_first(2, ORIGIN, &stream);
    let too_long = Stream { len: 1 << 60, manifest_len: 50, blocks: Vec::new(), root: Hash([0; 32]) };
    assert_eq!(kind(world.begin(world.target("out"), &too_long)), FileErrorKind::NoSpace);
    assert!(world.keeps_nothing());
}

#[test]
fn f4_a_copy_is_whole_and_its_own() {
    let world = World::new();
    world.write("in/large", noise(3 << 20));
    world.write("in/small", "small");
    symlink("small", world.path("in/link")).unwrap();
    fs::set_permissions(world.path("in/large"), Permissions::from_mode(0o444)).unwrap();
    let stream = world.read(world.source("in")).unwrap();
    let (tree, first, _) = world.begin_from(ORIGIN, &stream);
    world.put_blocks(tree, &stream, 0..3);
    let second = world.folder();
    let copy = |folder, root| {
        world.disk.perform(DiskRequest::CommitCopy { tree, root, folder, name: b"d/in".to_vec() })
    };
    assert_eq!(kind(copy(second, stream.root)), FileErrorKind::Mismatch, "not before all of it is here");
    world.put_blocks(tree, &stream, 3..stream.blocks.len());
    assert_eq!(kind(copy(second, Hash([0; 32]))), FileErrorKind::Mismatch);
    copy(second, stream.root).unwrap();
    let at = |folder, name: &str| world.disk.folders.path(folder).join(name);
    assert!(!at(first, "in").exists(), "the tree itself is not there yet");
    fs::set_permissions(at(second, "d/in/large"), Permissions::from_mode(0o644)).unwrap();
    fs::write(at(second, "d/in/large"), "a command has changed its copy").unwrap();
    world.commit(tree, stream.root).unwrap();
    assert_eq!(kind(copy(second, stream.root)), FileErrorKind::Mismatch, "it has gone where it was wanted");
    world.close(tree);
    assert_eq!(world.read(Source::Path { path: bytes_of(&at(first, "in")) }).unwrap().root, stream.root);
    assert_eq!(fs::read(at(second, "d/in/small")).unwrap(), b"small");
    assert_eq!(fs::read_link(at(second, "d/in/link")).unwrap(), Path::new("small"));
    world.assert_nothing_left();
}
