//! Tests of the reader on small made-up crates.

use std::collections::BTreeSet;

use crate::source::Source;

/// Every arrow of a crate made of these files, as `from > to: path`.
fn arrows(files: &[(&str, &str)]) -> BTreeSet<String> {
    let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
    let arrows = Source::read("src/lib.rs", &read, None).arrows();
    arrows
        .into_iter()
        .flat_map(|((from, to), paths)| {
            paths
                .into_iter()
                .map(move |path| format!("{} > {}: {path}", from.replace("src/", ""), to.replace("src/", "")))
        })
        .collect()
}

fn set(arrows: &[&str]) -> BTreeSet<String> {
    arrows.iter().map(|arrow| (*arrow).to_owned()).collect()
}

#[test]
fn an_import_leads_to_the_file_that_defines_the_item() {
    let found = arrows(&[
        ("src/lib.rs", "pub mod house; pub use house::Window;"),
        (
            "src/house/mod.rs",
            "mod door; mod window; pub use door::Door; pub use window::{Window, pane as glass}; pub struct Roof;",
        ),
        ("src/house/door.rs", "use super::{Roof, glass}; use crate::Window; pub struct Door;"),
        ("src/house/window.rs", "pub struct Window; pub fn pane() {} pub(in crate::house) fn frame() {}"),
    ]);
    assert_eq!(
        found,
        set(&[
            "house/door.rs > house/mod.rs: super::Roof",
            "house/door.rs > house/window.rs: super::glass",
            "house/door.rs > house/window.rs: crate::Window",
        ])
    );
}

#[test]
fn paths_inside_code_macros_and_attributes_are_arrows() {
    let found = arrows(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        ("src/a.rs", "fn f() { let x = crate::b::Kind::Good; assert!(super::c::g(&self::h())); } fn h() {}"),
        ("src/b.rs", "pub enum Kind { Good }"),
        ("src/c.rs", "macro_rules! m { () => { $crate::d::X } } pub fn g() { x.e::<u8>(); }"),
        ("src/d.rs", "#[error(\"{}\", crate::e::word())] pub struct X;"),
        ("src/e.rs", "/// [`crate::a::f`] is a link, no arrow.\npub fn word() {}"),
    ]);
    assert_eq!(
        found,
        set(&[
            "a.rs > b.rs: crate::b::Kind::Good",
            "a.rs > c.rs: super::c::g",
            "c.rs > d.rs: crate::d::X",
            "d.rs > e.rs: crate::e::word"
        ])
    );
}

#[test]
fn modules_globs_and_names_passed_on_lead_to_the_definition() {
    let found = arrows(&[
        ("src/lib.rs", "mod inn;"),
        ("src/inn/mod.rs", "mod bar; mod bed; pub(crate) use bed::Bed; fn f() { let _ = Bed; }"),
        ("src/inn/bar.rs", "use super::bed; use super::*; fn f(_: Bed) { bed::sleep(); std::bed::x(); }"),
        ("src/inn/bed.rs", "pub use one::Bed; mod one { pub struct Bed; } pub fn sleep() { use crate::inn::bar; }"),
    ]);
    assert_eq!(
        found,
        set(&["inn/bar.rs > inn/bed.rs: Bed", "inn/bar.rs > inn/bed.rs: bed::sleep", "inn/mod.rs > inn/bed.rs: Bed"])
    );
}

#[test]
fn code_for_tests_only_does_not_count() {
    let found = arrows(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "use crate::b::B; impl B { #[cfg(all(test, not(loom)))] fn f() { crate::b::f() } }"),
        ("src/b.rs", "pub struct B; pub fn f() {} #[cfg(test)] mod tests; #[cfg(test)] use crate::a::x;"),
    ]);
    assert_eq!(found, set(&["a.rs > b.rs: B", "a.rs > b.rs: crate::b::B"]));
}

#[test]
fn a_circle_is_found_between_files_and_between_folders() {
    let files = [
        ("src/lib.rs", "mod up; mod down;"),
        ("src/up/mod.rs", "mod x; mod y; pub use x::X;"),
        ("src/up/x.rs", "use super::y::Y; pub struct X;"),
        ("src/up/y.rs", "use super::X; pub struct Y; fn f() { crate::down::f() }"),
        ("src/down/mod.rs", "mod z; pub use z::f;"),
        ("src/down/z.rs", "pub fn f() { crate::up::X; }"),
    ];
    let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
    let mut found = Vec::new();
    for folder in Source::read("src/lib.rs", &read, None).folders() {
        found.extend(folder.circles().into_iter().map(|circle| (folder.name.clone(), circle.join(" "))));
    }
    let circle = |folder: &str, parts: &str| (folder.to_owned(), parts.to_owned());
    assert_eq!(found, [circle("crate", "down up"), circle("crate::up", "x y")]);
}

#[test]
fn types_are_counted_in_each_build_and_not_in_an_impl() {
    let text = "
        #[cfg(loom)] mod model { pub struct Arena; }
        #[cfg(not(loom))] mod real { pub struct Arena; }
        trait Walk { type Item; }
        impl Walk for u8 { type Item = u8; }
        fn f() { enum Local {} }
        number! { pub struct Made; }
        macro_rules! number { () => { struct $name; } }
        #[cfg(test)] struct Probe;
    ";
    let types = |loom| {
        let source = Source::read("src/lib.rs", &|path| (path == "src/lib.rs").then(|| text.to_owned()), loom);
        source.types.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(types(Some(false)), ["Arena", "Walk", "Local", "Made"]);
    assert_eq!(types(Some(true)), ["Arena", "Walk", "Local", "Made"]);
    assert_eq!(types(None), ["Arena", "Arena", "Walk", "Local", "Made"]);
}
