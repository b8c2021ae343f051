//! Inputs and outputs at the command line.

use crate::harness::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn f11_folders_travel_both_ways_with_what_is_in_them() {
    let cluster = Cluster::new(1, 1);
    let home = &cluster.home;
    std::fs::create_dir_all(home.here("in/deep/empty")).unwrap();
    std::fs::write(home.here("in/deep/a b.txt"), "spaces\n").unwrap();
    std::fs::write(home.here("in/-dash"), "dash\n").unwrap();
    std::fs::write(home.here("in/größe"), "").unwrap();
    std::fs::set_permissions(home.here("in/-dash"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("deep/a b.txt", home.here("in/link")).unwrap();
    let ended =
        cluster.run(&["-i", "in:there/in", "-o", "out:back", "--", "sh", "-c", "cp -a there/in out; ls out"]);
    ended.expect(0);
    assert_eq!(home.read("back/deep/a b.txt"), "spaces\n");
    assert_eq!(home.read("back/größe"), "");
    assert!(home.here("back/deep/empty").is_dir());
    assert_eq!(std::fs::read_link(home.here("back/link")).unwrap().to_str(), Some("deep/a b.txt"));
    let mode = std::fs::metadata(home.here("back/-dash")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn f11_large_files_arrive_whole() {
    let cluster = Cluster::new(1, 1);
    let bytes: Vec<u8> = (0..9_000_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    cluster.home.write("large", &bytes);
    cluster.run(&["-i", "large", "-o", "copy", "--", "cp", "large", "copy"]).expect(0);
    assert!(std::fs::read(cluster.home.here("copy")).unwrap() == bytes);
}

#[test]
fn t10_an_output_that_was_not_made() {
    let cluster = Cluster::new(1, 1);
    cluster.run(&["-o", "none.txt", "--", "true"]).expect(125).says("did not make the output none.txt");
    assert!(!cluster.home.here("none.txt").exists());
    // The command's own code says more.
    let ended = cluster.run(&["-o", "none.txt", "--", "sh", "-c", "exit 9"]);
    ended.expect(9).says("none.txt");
    // What was made comes back all the same.
    cluster.run(&["-o", "none.txt", "-o", "one.txt", "--", "sh", "-c", "echo 1 > one.txt"]).expect(125);
    assert_eq!(cluster.home.read("one.txt"), "1\n");
}

#[test]
fn t10_an_output_that_leads_out_of_the_folder() {
    let cluster = Cluster::new(1, 1);
    cluster.run(&["-o", "passwd", "--", "ln", "-s", "/etc/passwd", "passwd"]).expect(125);
    assert!(!cluster.home.here("passwd").is_file());
    // A folder is a fine output.
    cluster.run(&["-o", "d", "--", "sh", "-c", "mkdir d; echo x > d/x"]).expect(0);
    assert_eq!(cluster.home.read("d/x"), "x\n");
}

#[test]
fn f12_names_that_leave_the_folder_are_refused_before_anything_happens() {
    let home = Home::new();
    home.write("a", "x");
    for args in
        [["-i", "a:../a"], ["-i", "a:/tmp/a"], ["-i", "a:b/../../c"], ["-o", "../a"], ["-o", "/etc/x:a"]]
    {
        let ended = finish(home.xxnet(["run"].iter().chain(&args).chain(&["--", "true"])));
        ended.expect(125).says("leads out of the work folder");
    }
}

#[test]
fn f9_a_missing_input_is_said_at_once_and_without_a_registry() {
    let home = Home::new();
    finish(home.xxnet(["run", "-i", "none.txt", "--", "true"])).expect(125).says("none.txt: no such file");
    finish(home.xxnet(["run", "-C", "none", "--", "true"])).expect(125).says("none: no such file");
    home.write("a", "x");
    finish(home.xxnet(["run", "-i", "a", "-i", "a", "--", "true"])).expect(125).says("both be called a");
}

#[test]
fn f8_an_output_that_cannot_be_written_is_said_at_once_and_without_a_registry() {
    let home = Home::new();
    finish(home.xxnet(["run", "-o", "a:none/a", "--", "true"])).expect(125).says("there is no folder none");
    home.write("file", "x");
    finish(home.xxnet(["run", "-o", "a:file/a", "--", "true"])).expect(125).says("there is no folder file");
    std::fs::create_dir(home.here("locked")).unwrap();
    std::fs::set_permissions(home.here("locked"), std::fs::Permissions::from_mode(0o500)).unwrap();
    for args in [["-o", "a:locked/a"], ["-C", "locked"]] {
        let mut command = home.xxnet(["run"].iter().chain(&args).chain(&["--", "true"]));
        as_anybody(&mut command);
        finish(command).expect(125).says("permission denied");
    }
}

#[test]
fn t1_a_folder_is_shipped_built_and_brought_back() {
    let cluster = Cluster::new(1, 1);
    let home = &cluster.home;
    std::fs::create_dir_all(home.here("project/src")).unwrap();
    home.write("project/src/main.txt", "source\n");
    home.write("project/old", "old\n");
    home.write("project/gone", "gone\n");
    let script = "mkdir build && tr a-z A-Z < src/main.txt > build/binary && chmod +x build/binary && echo new > old && rm gone";
    cluster.run(&["-C", "project", "--", "sh", "-c", script]).expect(0);
    assert_eq!(home.read("project/build/binary"), "SOURCE\n");
    assert_eq!(home.read("project/old"), "new\n");
    assert!(!home.here("project/gone").exists());
    assert_eq!(home.read("project/src/main.txt"), "source\n");
    let mode = std::fs::metadata(home.here("project/build/binary")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100);
}

#[test]
fn f13_what_could_not_replace_the_users_own_is_said() {
    let cluster = Cluster::new(1, 1);
    let home = &cluster.home;
    let name = |n: u32| format!("d/file-{n:02}");
    std::fs::create_dir_all(home.here("d")).unwrap();
    (0..12).for_each(|n| home.write(&name(n), "shipped\n"));
    let go = home.at("go");
    let script = format!(
        "echo on; while [ ! -e {} ]; do sleep 0.01; done; for f in *; do echo changed > $f; done",
        go.display()
    );
    // How many files the user changes meanwhile: none is not worth a word, many are not all named.
    for (meanwhile, named) in [(0, 0), (2, 2), (12, 10)] {
        (0..12).for_each(|n| home.write(&name(n), "shipped\n"));
        let mut running = Running::start(cluster.xxnet(["run", "-q", "-C", "d", "--", "sh", "-c", &script]));
        running.until_out("on");
        (0..meanwhile).for_each(|n| home.write(&name(n), "the user's own\n"));
        std::fs::write(&go, "").unwrap();
        let ended = running.finish();
        std::fs::remove_file(&go).unwrap();
        ended.expect(0);
        for n in 0..meanwhile {
            assert_eq!(home.read(&name(n)), "the user's own\n");
            let beside = home.here(&(name(n) + ".xxnet-new"));
            assert_eq!(std::fs::read_to_string(&beside).unwrap(), "changed\n");
            std::fs::remove_file(beside).unwrap();
        }
        (meanwhile..12).for_each(|n| assert_eq!(home.read(&name(n)), "changed\n"));
        let lines: Vec<&str> = ended.err.lines().collect();
        for (n, line) in (0..named).zip(&lines) {
            let own = home.here(&name(n));
            let wanted = format!("xxnet: {} has changed here", own.display());
            assert!(
                line.starts_with(&wanted) && line.contains(&format!("as file-{n:02}.xxnet-new")),
                "{line}"
            );
        }
        let more = usize::from(meanwhile > named);
        assert_eq!(lines.len(), named as usize + more, "{}", ended.err);
        assert!(more == 0 || lines[10].contains("and 2 more"), "{}", ended.err);
    }
}

#[test]
fn t1_a_c_project_is_made_elsewhere() {
    let tools = ["make", "cc"].map(|tool| std::process::Command::new(tool).arg("--version").output().is_ok());
    if tools.contains(&false) {
        eprintln!("no make or no cc here: not tested");
        return;
    }
    let cluster = Cluster::new(1, 1);
    let home = &cluster.home;
    std::fs::create_dir(home.here("c")).unwrap();
    home.write("c/hello.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n");
    home.write("c/Makefile", "hello: hello.c\n\tcc -o hello hello.c\n");
    cluster.run(&["-C", "c", "--", "make"]).expect(0);
    let hello = std::process::Command::new(home.here("c/hello")).output().unwrap();
    assert_eq!(hello.stdout, b"hello\n");
    let again = cluster.run(&["-C", "c", "--", "make"]);
    again.expect(0);
    assert!(again.out.contains("up to date"), "times are not kept:\n{}", again.out);
}

/// Root may write everywhere, unless it gives that up.
fn as_anybody(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    const DAC_OVERRIDE: libc::c_ulong = 1;
    const DAC_READ_SEARCH: libc::c_ulong = 2;
    let give_up = || {
        for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
        Ok(())
    };
    unsafe { command.pre_exec(give_up) };
}

#[test]
fn f13_two_tasks_that_bring_one_name_back_each_bring_it_whole() {
    let cluster = Cluster::new(2, 2);
    let home = &cluster.home;
    const SIZE: usize = 24 << 20;
    home.write("out", "as it was");
    // Each fills the file with its own byte; a folder with one file in it comes along, for the same reason.
    let make = |byte: char| {
        let script = format!(
            "head -c {SIZE} /dev/zero | tr '\\0' {byte} > out; mkdir dir; cp out dir/{byte}; sleep 0.2"
        );
        Running::start(cluster.xxnet(["run", "-o", "out", "-o", "dir", "--", "sh", "-c", &script]))
    };
    let mut both = [make('a'), make('b')];
    let whole = |bytes: &[u8]| bytes.len() == SIZE && bytes.iter().all(|byte| *byte == bytes[0]);
    // Whenever anybody looks, there is one or the other, and never a part of it.
    while both.iter_mut().any(Running::lives) {
        let seen = std::fs::read(home.here("out")).unwrap();
        assert!(seen == b"as it was" || whole(&seen), "{} bytes of something else", seen.len());
    }
    for running in both {
        running.finish().expect(0);
    }
    for file in ["dir/a", "dir/b"] {
        assert!(whole(&std::fs::read(home.here(file)).unwrap()), "{file}: a folder is filled by both");
    }
    assert!(whole(&std::fs::read(home.here("out")).unwrap()));
    let names: Vec<_> =
        std::fs::read_dir(home.here("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names.iter().all(|name| ["out", "dir"].contains(&name.to_str().unwrap())),
        "left over: {names:?}"
    );
}
