//! The tree shows the design: arrows point down and form no circle, a type's name has one meaning, and `unsafe` lives in
//! one folder.
//!
//! Read from the source as the compiler's grammar has it, not by pattern over its text. An arrow is a path that one file
//! writes and another defines; what code reaches by calling a method is not seen.

mod arrows;
mod known;
mod resolver;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file under `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The words and punctuation of a source file, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    fn flatten(stream: TokenStream, into: &mut Vec<String>) {
        for token in stream {
            match token {
                TokenTree::Ident(word) => into.push(word.to_string()),
                TokenTree::Punct(sign) => into.push(sign.to_string()),
                TokenTree::Literal(_) => {}
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::None => ("", ""),
                    };
                    into.push(open.to_owned());
                    flatten(group.stream(), into);
                    into.push(close.to_owned());
                }
            }
        }
    }
    let mut tokens = Vec::new();
    flatten(text.parse().expect("a source file"), &mut tokens);
    tokens
}

const MODULES: [&str; 7] = ["memory", "clock", "backend", "recipe", "conformance", "error", "edge"];

/// The modules of the crate's root that a file names: `crate::<module>`, or `slotguard::` re-exports as `crate`.
fn uses(path: &Path) -> BTreeSet<String> {
    let tokens = tokens(&fs::read_to_string(path).unwrap());
    tokens
        .windows(4)
        .filter(|window| window[..3] == ["crate", ":", ":"])
        .map(|window| window[3].clone())
        .filter(|name| MODULES.contains(&name.as_str()))
        .collect()
}

fn source(loom: Option<bool>) -> source::Source {
    source::Source::read("src/lib.rs", &|path| fs::read_to_string(root().join(path)).ok(), loom)
}

#[test]
fn no_folder_has_a_circle_among_its_files_and_folders() {
    let mut complaints = Vec::new();
    let mut arrows = 0;
    let mut known: BTreeSet<_> = known::BACK.iter().copied().collect();
    for mut folder in source(None).folders() {
        arrows += folder.arrows.len();
        let back: Vec<_> = known::BACK.iter().filter(|(name, ..)| *name == folder.name).collect();
        for entry @ (_, from, to) in &back {
            let arrow = (from.to_string(), to.to_string());
            if folder.arrows.contains_key(&arrow) && folder.way(to, from).is_some() {
                known.remove(*entry);
            }
        }
        for (_, from, to) in &back {
            folder.arrows.remove(&(from.to_string(), to.to_string()));
        }
        complaints.extend(folder.circles().iter().map(|circle| folder.describe(circle)));
    }
    complaints
        .extend(known.iter().map(|gone| format!("closes no circle any more, delete its line in known.rs: {gone:?}")));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(arrows > 100, "only {arrows} arrows were found");
}

#[test]
fn no_type_name_is_defined_twice() {
    // One a recipe or module, reached through its module: `lock::Guard`.
    let shared = ["Error", "Result", "Kind", "Guard", "Status", "Stats", "State"];
    // Of two definitions for different builds there is only one in each.
    let mut most: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for loom in [false, true] {
        let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, file) in source(Some(loom)).types {
            definitions.entry(name).or_default().push(file);
        }
        for (name, files) in definitions.into_iter().filter(|(name, _)| !shared.contains(&name.as_str())) {
            let so_far = most.entry(name).or_default();
            if files.len() > so_far.len() {
                *so_far = files;
            }
        }
    }
    assert!(most.len() > 200, "only {} types were found", most.len());
    let mut complaints = Vec::new();
    for (name, files) in &most {
        let known = known::TWICE.iter().find(|(twice, _)| twice == name).map_or(1, |(_, times)| *times);
        if files.len() > known {
            complaints.push(format!("{name} is defined in {}", files.join(", ")));
        }
    }
    for (name, times) in known::TWICE {
        let found = most.get(*name).map_or(0, Vec::len);
        if found < *times {
            complaints.push(format!("{name} is defined {found} times: mend its line in known.rs, or delete it"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn arrows_only_point_down() {
    // From the top: recipes and the conformance suite know the backend and the clock, backends the engine, the engine
    // the clock.
    let allowed: [(&str, &[&str]); 6] = [
        ("conformance", &["conformance", "backend", "clock", "error"]),
        ("recipe", &["recipe", "backend", "clock", "error"]),
        ("backend", &["backend", "memory", "clock", "error"]),
        ("memory", &["memory", "clock", "error", "edge"]),
        ("clock", &["clock"]),
        ("error", &["clock", "error"]),
    ];
    let mut checked = 0;
    for (layer, below) in allowed {
        let path = root().join("src").join(layer);
        let files = match (path.is_dir(), path.is_file()) {
            (true, _) => sources(&path),
            (_, true) => vec![path],
            _ => continue,
        };
        for file in files {
            for used in uses(&file) {
                assert!(below.contains(&used.as_str()), "{} reaches up to crate::{used}", file.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} files were looked at");
    // Also in a nested import: `use crate::{memory::…, clock::…}`.
    for module in source(None).modules {
        let layer = module.file["src/".len()..].split('/').next().unwrap().to_owned();
        let Some((_, below)) = allowed.iter().find(|(name, _)| *name == layer) else { continue };
        for path in module.mentions.iter().map(|mention| &mention.path).filter(|path| path[0] == "crate") {
            let layer = path.get(1).filter(|name| MODULES.contains(&name.as_str()));
            let reaches_up = layer.is_some_and(|layer| !below.contains(&layer.as_str()));
            assert!(!reaches_up, "{} reaches up to {}", module.file, path.join("::"));
        }
    }
}

#[test]
fn unsafe_lives_under_memory_only() {
    let mut with_unsafe = 0;
    for file in sources(&root().join("src")) {
        let has = tokens(&fs::read_to_string(&file).unwrap()).iter().any(|token| token == "unsafe");
        with_unsafe += usize::from(has);
        let inside = file.starts_with(root().join("src/memory"));
        assert!(inside || !has, "{} is outside src/memory and says unsafe", file.display());
    }
    assert!(with_unsafe > 0, "the engine cannot do without; this test looks at the wrong place");
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(text.contains("#![deny(unsafe_code)]"), "the compiler watches as well");
}

#[test]
fn shared_memory_is_never_mapped_as_plain_bytes() {
    for file in sources(&root().join("src")) {
        let tokens = tokens(&fs::read_to_string(&file).unwrap());
        let tests = tokens.windows(4).position(|window| window == ["mod", "tests", "{", "use"]).unwrap_or(tokens.len());
        let plain = tokens[..tests].iter().find(|token| ["Mmap", "MmapMut"].contains(&token.as_str()));
        assert_eq!(plain, None, "{} maps memory others write as plain bytes", file.display());
    }
}

#[test]
fn the_reader_of_tokens_sees_through_comments_strings_and_characters() {
    let text = r##"fn f<'a>() { /* unsafe */ let s = "un\"safe"; let r = r#"unsafe"#; let c = '"'; } // unsafe
        crate::memory::x"##;
    let tokens = tokens(text);
    assert!(!tokens.iter().any(|token| token.contains("safe")), "{tokens:?}");
    assert!(tokens.windows(4).any(|window| window == ["crate", ":", ":", "memory"]));
}
