//! Machines that have no room: on the file system, in the address space, among the descriptors.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slotguard::{Error, ErrorKind, Segment, Version};

use crate::{names_in, refused, small};
use harness::isolated::{MountFlags, isolated, isolated_in, mount};

/// Mounts a tmpfs of this many bytes.
fn mount_tmpfs(folder: &Path, bytes: u64) {
    mount("tmpfs", folder, &format!("size={bytes}"), MountFlags::empty());
}

fn free_bytes(folder: &Path) -> u64 {
    let about = rustix::fs::statvfs(folder).unwrap();
    about.f_bavail * about.f_frsize
}

#[test]
fn a_full_disk_is_an_error_at_creation_that_names_needed_and_free_bytes() {
    isolated_in(&["--mount"], |folder| {
        for bytes in [64 << 10, 1 << 20] {
            let place = folder.join(format!("tmpfs-{bytes}"));
            mount_tmpfs(&place, bytes);
            let free = free_bytes(&place);
            let large = || Segment::builder().records(1024).payload(4096);
            for result in [large().create(place.join("segment")), large().open_or_create(place.join("segment"))] {
                match refused(result, ErrorKind::NoSpace, &[&place.display().to_string(), &free.to_string(), "smaller"])
                {
                    Error::NoSpace { needed, free: named, .. } => {
                        assert_eq!(named, free);
                        assert!(needed > 1024 * 4096, "{needed}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(names_in(&place).is_empty(), "nothing is left");
            assert_eq!(free_bytes(&place), free, "not even without a name");
            drop(small().create(place.join("segment")).expect("a smaller one fits"));
        }
    });
}

#[test]
fn no_store_into_a_segment_ever_finds_the_disk_full() {
    isolated_in(&["--mount"], |folder| {
        let place = folder.join("tmpfs");
        mount_tmpfs(&place, 1 << 20);
        let path = place.join("segment");
        let segment = Segment::builder().records(400).lanes(2).payload(1024).create(&path).unwrap();
        assert!(segment.size() > 400 << 10);
        fill_up(&place);
        for record in 0..segment.records() {
            segment.record(record).unwrap().compare_and_swap(Version(0), &[7; 1024]).unwrap();
        }
        for record in 0..segment.records() {
            assert_eq!(segment.record(record).unwrap().verify().unwrap().version, Version(1));
        }
    });
}

/// Leaves a file system without one free byte.
fn fill_up(folder: &Path) {
    let mut file = std::fs::File::create(folder.join("filler")).unwrap();
    while file.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    assert_eq!(free_bytes(folder), 0);
}

#[test]
fn a_copy_with_holes_on_a_full_disk_is_refused_instead_of_crashing_later() {
    isolated_in(&["--mount"], |folder| {
        let original = folder.join("original");
        drop(Segment::builder().records(64).lanes(4).payload(1024).create(&original).unwrap());
        let content = std::fs::read(&original).unwrap();
        let place = folder.join("tmpfs");
        mount_tmpfs(&place, 1 << 20);
        let path = place.join("copy");
        let mut copy = std::fs::File::create(&path).unwrap();
        copy.write_all(&content[..4096]).unwrap();
        copy.set_len(content.len() as u64).unwrap();
        fill_up(&place);
        let needed = content.len().to_string();
        refused(Segment::open(&path), ErrorKind::NoSpace, &[&needed, " free"]);
        std::fs::remove_file(place.join("filler")).unwrap();
        drop(Segment::open(&path).expect("room again"));
        assert!(path.metadata().unwrap().blocks() * 512 >= content.len() as u64, "the holes are filled");
    });
}

fn limit(what: Resource, most: u64) {
    setrlimit(what, Rlimit { current: Some(most), maximum: getrlimit(what).maximum }).unwrap();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    isolated(|folder| {
        limit(Resource::Fsize, 10_000);
        let path = folder.join("segment");
        for result in [small().create(&path), small().open_or_create(&path), small().anonymous()] {
            match refused(result, ErrorKind::NoSpace, &["bytes needed", "10000 free"]) {
                Error::NoSpace { needed, free, .. } => assert!(needed > 10_000 && free == 10_000),
                other => panic!("{other:?}"),
            }
        }
        assert!(names_in(folder).is_empty());
    });
}

#[test]
fn running_out_of_descriptors_at_any_point_is_an_error_and_leaves_nothing() {
    isolated(|folder| {
        let path = folder.join("segment");
        let there = folder.join("there");
        drop(small().create(&there).unwrap());
        let mut fillers = Vec::new();
        let open_ones = || std::fs::read_dir("/proc/self/fd").unwrap().count() as i32 - 1;
        // Without gaps between the numbers, so that a limit of one more is room for one more.
        while fillers.last().is_none_or(|file: &std::fs::File| file.as_raw_fd() < open_ones() - 1) {
            fillers.push(std::fs::File::open("/dev/null").unwrap());
        }
        let before = open_ones();
        let attempts: [(&str, &dyn Fn() -> slotguard::Result<Segment>); 4] = [
            ("create", &|| small().create(&path)),
            ("open", &|| Segment::open(&there)),
            ("open_or_create", &|| small().open_or_create(&path)),
            ("anonymous", &|| small().anonymous()),
        ];
        for (name, attempt) in attempts {
            let mut refusals = 0;
            for most in before.. {
                limit(Resource::Nofile, most as u64);
                let result = attempt();
                limit(Resource::Nofile, before as u64 + 100);
                match result {
                    Ok(_) => break,
                    Err(_) => {
                        refused(result, ErrorKind::Io, &["Too many open files"]);
                        refusals += 1;
                    }
                }
                assert_eq!(open_ones(), before, "{name} gave every descriptor back");
                assert_eq!(names_in(folder), ["there"], "{name}");
                let left = Segment::open(&there).unwrap();
                assert_eq!(left.participants().unwrap().len(), 1, "{name} took no row");
            }
            assert!(refusals >= 3, "{name} needs more than {refusals} descriptors");
            let _ = Segment::remove(&path);
            assert_eq!(open_ones(), before, "{name} gave every descriptor back");
        }
    });
}

#[test]
fn an_address_space_that_is_too_small_is_an_error_and_leaves_nothing() {
    isolated(|folder| {
        let path = folder.join("segment");
        let there = folder.join("there");
        let large = || Segment::builder().records(4096).payload(4096);
        drop(large().create(&there).unwrap());
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let used: u64 = pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
        limit(Resource::As, used + (4 << 20));
        let names = ["cannot map", "Cannot allocate memory"];
        refused(large().create(&path), ErrorKind::Io, &names);
        refused(large().open_or_create(&path), ErrorKind::Io, &names);
        refused(large().anonymous(), ErrorKind::Io, &names);
        refused(Segment::open(&there), ErrorKind::Io, &names);
        assert_eq!(names_in(folder), ["there"]);
        setrlimit(
            Resource::As,
            getrlimit(Resource::As).maximum.map_or(Rlimit { current: None, maximum: None }, |most| Rlimit {
                current: Some(most),
                maximum: Some(most),
            }),
        )
        .unwrap();
        assert_eq!(Segment::open(&there).unwrap().participants().unwrap().len(), 1, "the refused took no row");
    });
}
