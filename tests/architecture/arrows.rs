//! Finds the file that defines what a path names, and the circles among the files and folders of a folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use crate::source::{Mention, Name, Source};

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    /// An item of that module.
    Item(usize),
}

impl Source {
    /// The modules that define what `path`, written in module `here`, names; none for another crate's item.
    ///
    /// Re-exports are followed. A path that ends at a module names no item.
    pub fn defining(&self, here: usize, path: &[String]) -> BTreeSet<usize> {
        let targets = self.resolve(here, path, &mut Vec::new());
        targets
            .into_iter()
            .filter_map(|target| if let Target::Item(module) = target { Some(module) } else { None })
            .collect()
    }

    /// `under_way` holds what is being resolved: `use fork::fork` begins with a name it declares itself.
    fn resolve(&self, here: usize, path: &[String], under_way: &mut Vec<(usize, String)>) -> BTreeSet<Target> {
        let Some((first, mut rest)) = path.split_first() else { return BTreeSet::from([Target::Module(here)]) };
        let mut targets = match first.as_str() {
            "crate" => BTreeSet::from([Target::Module(0)]),
            "self" => BTreeSet::from([Target::Module(here)]),
            "super" => self.modules[here].parent.map(Target::Module).into_iter().collect(),
            name => self.lookup(here, name, under_way),
        };
        while let Some((segment, after)) = rest.split_first() {
            targets = targets
                .into_iter()
                .flat_map(|target| match target {
                    // A variant or an associated item.
                    Target::Item(_) => BTreeSet::from([target]),
                    Target::Module(module) if segment == "super" => {
                        self.modules[module].parent.map(Target::Module).into_iter().collect()
                    }
                    Target::Module(module) => match self.lookup(module, segment, under_way) {
                        // A macro declared it.
                        found if found.is_empty() => BTreeSet::from([Target::Item(module)]),
                        found => found,
                    },
                })
                .collect();
            rest = after;
        }
        targets
    }

    fn lookup(&self, here: usize, name: &str, under_way: &mut Vec<(usize, String)>) -> BTreeSet<Target> {
        let looked_for = (here, name.to_owned());
        if under_way.contains(&looked_for) {
            return BTreeSet::new();
        }
        under_way.push(looked_for);
        let module = &self.modules[here];
        let mut found = BTreeSet::new();
        for meaning in module.names.get(name).into_iter().flatten() {
            match meaning {
                Name::Module(child) => found.extend([Target::Module(*child)]),
                Name::Item => found.extend([Target::Item(here)]),
                Name::Import(path) => found.extend(self.resolve(here, path, under_way)),
            }
        }
        if found.is_empty() {
            for glob in &module.globs {
                for target in self.resolve(here, glob, under_way) {
                    if let Target::Module(other) = target {
                        found.extend(self.lookup(other, name, under_way));
                    }
                }
            }
        }
        under_way.pop();
        found
    }

    /// Every arrow from a file to another: both files, and the path that makes the arrow.
    ///
    /// A module that re-exports what its children define does not use it. What code reaches through a method call is not
    /// seen: the type of its receiver is nowhere in the source's text.
    pub fn arrows(&self) -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut arrows: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (here, module) in self.modules.iter().enumerate() {
            for Mention { path, reexport } in &module.mentions {
                for target in self.defining(here, path) {
                    let passed_on = *reexport && self.is_below(target, here);
                    let (from, to) = (&module.file, &self.modules[target].file);
                    if from != to && !passed_on {
                        arrows.entry((from.clone(), to.clone())).or_default().insert(path.join("::"));
                    }
                }
            }
        }
        arrows
    }

    fn is_below(&self, module: usize, above: usize) -> bool {
        module == above || self.modules[module].parent.is_some_and(|parent| self.is_below(parent, above))
    }

    /// Every folder of modules with the arrows between its files and folders.
    pub fn folders(&self) -> Vec<Folder> {
        let mut chains: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for module in &self.modules {
            if !chains.contains_key(module.file.as_str()) {
                let mut chain =
                    module.parent.map_or(Vec::new(), |parent| chains[self.modules[parent].file.as_str()].clone());
                chain.push(&module.name);
                chains.insert(&module.file, chain);
            }
        }
        let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
        for ((from, to), paths) in self.arrows() {
            let (a, b) = (&chains[from.as_str()], &chains[to.as_str()]);
            // The folder is the last module both files lie in; a module's own file is a part of it like its children.
            let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            let part = |chain: &[&str]| chain.get(common).map_or("mod", |part| part).to_owned();
            let name = a[..common].join("::");
            let folder = folders.entry(name.clone()).or_insert_with(|| Folder { name, arrows: BTreeMap::new() });
            let reasons = folder.arrows.entry((part(a), part(b))).or_default();
            let (from, to) = (from.trim_start_matches("src/"), to.trim_start_matches("src/"));
            reasons.extend(paths.into_iter().map(|path| format!("{from} says {path} ({to})")));
        }
        folders.into_values().collect()
    }
}

/// The files and folders of a folder, and who names whom.
pub struct Folder {
    pub name: String,
    /// From part to part, with what makes the arrow.
    pub arrows: BTreeMap<(String, String), Vec<String>>,
}

impl Folder {
    /// The shortest circle through each arrow that lies in one.
    pub fn circles(&self) -> BTreeSet<Vec<String>> {
        let mut circles = BTreeSet::new();
        for (from, to) in self.arrows.keys() {
            if let Some(mut circle) = self.way(to, from) {
                let first = circle.iter().enumerate().min_by_key(|(_, part)| *part).map_or(0, |(at, _)| at);
                circle.rotate_left(first);
                circles.insert(circle);
            }
        }
        circles
    }

    /// The shortest way along arrows.
    pub fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = VecDeque::from([vec![from]]);
        let mut seen = BTreeSet::from([from]);
        while let Some(way) = ways.pop_front() {
            let last = *way.last().expect("a way has a beginning");
            if last == to {
                return Some(way.into_iter().map(str::to_owned).collect());
            }
            for (_, next) in self.arrows.keys().filter(|(start, _)| start == last) {
                if seen.insert(next) {
                    ways.push_back(way.iter().copied().chain([next.as_str()]).collect());
                }
            }
        }
        None
    }

    /// A circle in words: its parts, then what makes each arrow.
    pub fn describe(&self, circle: &[String]) -> String {
        let mut text = format!("{}: {} -> {}\n", self.name, circle.join(" -> "), circle[0]);
        for (at, from) in circle.iter().enumerate() {
            let to = &circle[(at + 1) % circle.len()];
            let reasons = &self.arrows[&(from.clone(), to.clone())];
            writeln!(text, "    {from} -> {to}").unwrap();
            for reason in reasons.iter().take(6) {
                writeln!(text, "        {reason}").unwrap();
            }
            if reasons.len() > 6 {
                writeln!(text, "        and {} more", reasons.len() - 6).unwrap();
            }
        }
        text
    }
}
