//! The tree shows the design: arrows point down, and `unsafe` lives in one folder.
//!
//! Read from the source's tokens (comments and strings do not count), not by pattern over its text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let next = bytes[at] as char;
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if next == '"' || rest.starts_with("r\"") || rest.starts_with("r#\"") {
            let raw = next == 'r';
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let open = if raw { 2 + hashes } else { 1 };
            let close = format!("\"{}", "#".repeat(if raw { hashes } else { 0 }));
            let mut end = open;
            while !rest[end..].starts_with(&close) {
                end += if !raw && rest[end..].starts_with('\\') { 1 } else { 0 };
                end += rest[end..].chars().next().map_or(1, char::len_utf8);
            }
            at += end + close.len();
        } else if next == '\'' && (rest[1..].starts_with('\\') || rest[2..].starts_with('\'')) {
            at += 2 + rest[2..].find('\'').unwrap() + 1;
        } else if next.is_alphanumeric() || next == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            at += length;
        } else {
            if !next.is_whitespace() {
                tokens.push(rest.chars().next().unwrap().to_string());
            }
            at += rest.chars().next().unwrap().len_utf8();
        }
    }
    tokens
}

/// The modules of the crate's root that a file names: `crate::<module>`, or `slotguard::` re-exports as `crate`.
fn uses(path: &Path) -> BTreeSet<String> {
    let tokens = tokens(&fs::read_to_string(path).unwrap());
    let modules = ["memory", "clock", "backend", "recipe", "conformance", "error", "mutant"];
    tokens
        .windows(4)
        .filter(|window| window[..3] == ["crate", ":", ":"])
        .map(|window| window[3].clone())
        .filter(|name| modules.contains(&name.as_str()))
        .collect()
}

#[test]
fn arrows_only_point_down() {
    // From the top: recipes and the conformance suite know the backend and the clock, backends the engine, the engine
    // the clock.
    let allowed: [(&str, &[&str]); 6] = [
        ("conformance", &["conformance", "backend", "clock", "error", "mutant"]),
        ("recipe", &["recipe", "backend", "clock", "error", "mutant"]),
        ("backend", &["backend", "memory", "clock", "error", "mutant"]),
        ("memory", &["memory", "clock", "error", "mutant"]),
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
