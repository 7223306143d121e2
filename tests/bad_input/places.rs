//! Paths that name no regular file of ours, and folders that will not have one.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{geteuid, getuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use slotguard::{Error, ErrorKind, Segment};

use crate::{fingerprint, names_in, refused, refused_by_every_way_in, small};
use harness::isolated::{MountFlags, folder, isolated, isolated_in, mount};

#[test]
fn what_is_no_file_is_no_segment_and_stays() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let refused_here = |path: &Path, found: &str| {
        let names: [&str; 4] = [&path.display().to_string(), found, "nothing was changed", "another path"];
        refused_by_every_way_in(path, ErrorKind::NotASegment, &names);
        refused(Segment::remove(path), ErrorKind::NotASegment, &names);
        assert!(std::fs::symlink_metadata(path).is_ok(), "{} is still there", path.display());
    };
    std::fs::create_dir(at("folder")).unwrap();
    refused_here(&at("folder"), "a directory");
    mkfifoat(CWD, at("pipe"), Mode::from_raw_mode(0o600)).unwrap();
    refused_here(&at("pipe"), "a pipe");
    let _listener = UnixListener::bind(at("socket")).unwrap();
    refused_here(&at("socket"), "a socket");
    refused_here(Path::new("/dev/null"), "device");
}

#[test]
fn a_symbolic_link_is_not_followed_wherever_it_leads() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    drop(small().create(at("segment")).unwrap());
    let target = fingerprint(&at("segment"));
    for (link, leads_to) in [("good", "segment"), ("dangling", "nowhere"), ("circle", "circle"), ("folder", ".")] {
        symlink(leads_to, at(link)).unwrap();
        refused_by_every_way_in(&at(link), ErrorKind::NotASegment, &["a symbolic link, which is not followed"]);
        refused(Segment::remove(at(link)), ErrorKind::NotASegment, &["a symbolic link"]);
    }
    assert_eq!(names_in(folder.path()), ["circle", "dangling", "folder", "good", "segment"]);
    assert_eq!(fingerprint(&at("segment")), target);
    Segment::open(at("folder").join("segment")).expect("a link to the folder is the folder's business");
}

#[test]
fn where_there_is_nothing_the_way_to_create_it_is_named() {
    let folder = folder();
    let path = folder.path().join("nothing");
    let names = [&path.display().to_string(), "there is no segment", "open_or_create"];
    refused(Segment::open(&path), ErrorKind::NotFound, &names);
    refused(small().open(&path), ErrorKind::NotFound, &names);
    refused(Segment::remove(&path), ErrorKind::NotFound, &names);
    assert!(names_in(folder.path()).is_empty());

    let deep = folder.path().join("no folder").join("segment");
    let names = [&folder.path().join("no folder").display().to_string(), "No such file"];
    refused(Segment::open(&deep), ErrorKind::NotFound, &[]);
    refused(small().create(&deep), ErrorKind::Io, &names);
    refused(small().open_or_create(&deep), ErrorKind::Io, &names);

    std::fs::write(&path, "a file").unwrap();
    let below = path.join("segment");
    refused(Segment::open(&below), ErrorKind::Io, &["cannot open", "Not a directory"]);
    refused(small().create(&below), ErrorKind::Io, &["Not a directory"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

/// From here on this process may only do what the permission bits say.
fn give_up_rights() {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).expect("giving up is always allowed");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn without_permission_owner_mode_and_ourselves_are_named() {
    isolated(|folder| {
        give_up_rights();
        let path = folder.join("closed");
        drop(small().create(&path).unwrap());
        let me = geteuid().as_raw();
        for mode in [0o000, 0o400, 0o200] {
            set_mode(&path, mode);
            let user = format!("belongs to user {me}");
            let names = [&path.display().to_string(), &user, &format!("mode {mode:o}"), "SegmentBuilder::mode"];
            refused_by_every_way_in(&path, ErrorKind::NotPermitted, &names);
            match refused(Segment::remove(&path), ErrorKind::NotPermitted, &names) {
                Error::NotPermitted { owner, mode: found, me: asking, .. } => {
                    assert_eq!((owner, found, asking), (me, mode, me));
                }
                other => panic!("{other:?}"),
            }
        }
        set_mode(&path, 0o600);
        Segment::open(&path).expect("permitted again");
    });
}

#[test]
fn a_folder_that_lets_nobody_in_is_named() {
    isolated(|folder| {
        give_up_rights();
        let closed = folder.join("closed");
        std::fs::create_dir(&closed).unwrap();
        let path = closed.join("segment");
        drop(small().create(&path).unwrap());
        let names = [&*closed.display().to_string(), "no permission", &format!("user {}", getuid().as_raw())];

        // May be looked into, not written to.
        set_mode(&closed, 0o500);
        refused(small().create(closed.join("new")), ErrorKind::NotPermitted, &names);
        refused(small().open_or_create(closed.join("new")), ErrorKind::NotPermitted, &names);
        drop(Segment::open(&path).expect("what is there can be opened"));
        refused(Segment::remove(&path), ErrorKind::NotPermitted, &names);
        drop(Segment::open(&path).expect("a removal that was refused has changed nothing"));

        // Not even that.
        set_mode(&closed, 0o600);
        refused(Segment::open(&path), ErrorKind::NotPermitted, &names);
        refused(small().open_or_create(&path), ErrorKind::NotPermitted, &names);
        refused(small().create(&path), ErrorKind::NotPermitted, &names);
        refused(Segment::remove(&path), ErrorKind::NotPermitted, &names);

        set_mode(&closed, 0o700);
        assert_eq!(names_in(&closed), ["segment"]);
    });
}

#[test]
fn a_foreign_owner_is_named_and_may_open_the_file_to_others() {
    isolated(|folder| {
        let path = folder.join("foreign");
        drop(small().create(&path).unwrap());
        set_mode(folder, 0o1777);
        let owner = geteuid().as_raw();
        let (mode, me) = if become_nobody() {
            (0o600, 65534)
        } else {
            // Who cannot be two users is shut out of a file that is open to all others.
            give_up_rights();
            set_mode(&path, 0o066);
            (0o066, owner)
        };
        let user = format!("belongs to user {owner}, group");
        let names = [&user, &*format!("mode {mode:o}"), &format!("runs as user {me}"), "::group"];
        refused_by_every_way_in(&path, ErrorKind::NotPermitted, &names);
        refused(Segment::remove(&path), ErrorKind::NotPermitted, &[&user]);
    });
}

/// Becomes another user where this process may: as root of the machine, not as root of a user namespace with one user.
fn become_nobody() -> bool {
    // SAFETY: plain system calls without pointers but for an empty list of groups.
    let dropped = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: as above.
    let group = unsafe { libc::setresgid(65534, 65534, 65534) };
    // SAFETY: as above.
    let user = unsafe { libc::setresuid(65534, 65534, 65534) };
    (dropped, group, user) == (0, 0, 0)
}

#[test]
fn a_removal_the_folder_does_not_allow_retires_nobody() {
    // A group's segment in a folder like /dev/shm, where only the owner of a file may unlink it.
    isolated(|folder| {
        let path = folder.join("ours");
        let segment = small().mode(0o666).create(&path).unwrap();
        set_mode(folder, 0o1777);
        if !become_nobody() {
            // The same refusal for a user who owns everything here: a folder that may not be written to.
            give_up_rights();
            set_mode(folder, 0o555);
        }
        refused(Segment::remove(&path), ErrorKind::NotPermitted, &["no permission", "belongs to user"]);
        segment.record(0).unwrap().compare_and_swap(slotguard::Version(0), b"as ever").expect("nobody was retired");
        drop(Segment::open(&path).expect("and others may come"));
    });
}

#[test]
fn a_file_system_that_cannot_do_it_is_named_with_what_it_lacks() {
    isolated_in(&["--mount"], |folder| {
        // A file without a name cannot be made there; or bytes cannot be reserved.
        for (kind, what) in [("devpts", "O_TMPFILE"), ("ramfs", "fallocate")] {
            let place = folder.join(kind);
            mount(kind, &place, "", MountFlags::empty());
            let before = names_in(&place);
            let names = [what, &place.display().to_string(), "use a folder on tmpfs such as /dev/shm"];
            refused(small().create(place.join("segment")), ErrorKind::Unsupported, &names);
            refused(small().open_or_create(place.join("segment")), ErrorKind::Unsupported, &names);
            assert_eq!(names_in(&place), before);
        }
        let place = folder.join("read-only");
        mount("tmpfs", &place, "", MountFlags::RDONLY);
        let names = [&place.display().to_string(), "Read-only file system"];
        refused(small().create(place.join("segment")), ErrorKind::Io, &names);
    });
}
