//! Reads a crate's source into modules, the names each one declares and the paths each one mentions.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItem, Item, ItemUse, Macro, Meta, Path, Token, UseTree, Visibility};

/// The crate's modules, its root first, without what is compiled for tests only.
pub struct Source {
    pub modules: Vec<Module>,
    /// Structs, enums, unions, traits and type aliases: name and file.
    pub types: Vec<(String, String)>,
}

/// A module: a file, or a part of one in braces.
pub struct Module {
    pub file: String,
    pub parent: Option<usize>,
    pub name: String,
    pub names: BTreeMap<String, Vec<Name>>,
    /// Paths all of whose names are imported.
    pub globs: Vec<Vec<String>>,
    pub mentions: Vec<Mention>,
}

/// What a name declared in a module stands for.
#[derive(Clone)]
pub enum Name {
    Module(usize),
    Item,
    Import(Vec<String>),
}

/// A path in the source.
pub struct Mention {
    pub path: Vec<String>,
    pub reexport: bool,
}

/// Gives a file's text, or `None` if there is no such file.
pub type Files<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Source {
    /// Reads the crate whose root is the file `root`; `loom` says which of two builds, `None` takes both.
    pub fn read(root: &str, files: Files<'_>, loom: Option<bool>) -> Self {
        let mut source = Self { modules: Vec::new(), types: Vec::new() };
        let folder = root.rsplit_once('/').expect("a root in a folder").0.to_owned();
        let here = source.add("crate", root, None);
        Reader { source: &mut source, files, loom, here, folder }.file(root);
        source
    }

    fn add(&mut self, name: &str, file: &str, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            name: name.to_owned(),
            names: BTreeMap::new(),
            globs: Vec::new(),
            mentions: Vec::new(),
        });
        self.modules.len() - 1
    }
}

struct Reader<'a> {
    source: &'a mut Source,
    files: Files<'a>,
    loom: Option<bool>,
    here: usize,
    /// Where the files of this module's children lie.
    folder: String,
}

impl Reader<'_> {
    fn file(&mut self, path: &str) {
        let text = (self.files)(path).expect(path);
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        parsed.items.iter().for_each(|item| self.visit_item(item));
    }

    fn declare(&mut self, ident: &Ident, name: Name) {
        self.source.modules[self.here].names.entry(ident.to_string()).or_default().push(name);
    }

    fn define(&mut self, ident: &Ident) {
        let file = self.source.modules[self.here].file.clone();
        self.source.types.push((ident.to_string(), file));
    }

    fn mention(&mut self, path: Vec<String>, reexport: bool) {
        self.source.modules[self.here].mentions.push(Mention { path, reexport });
    }

    fn module(&mut self, ident: &Ident, content: Option<&[Item]>) {
        let folder = format!("{}/{ident}", self.folder);
        let file = match content {
            Some(_) => self.source.modules[self.here].file.clone(),
            None => [format!("{folder}.rs"), format!("{folder}/mod.rs")]
                .into_iter()
                .find(|path| (self.files)(path).is_some())
                .unwrap_or_else(|| panic!("no file for module {folder}")),
        };
        let child = self.source.add(&ident.to_string(), &file, Some(self.here));
        self.declare(ident, Name::Module(child));
        let outside = (self.here, std::mem::replace(&mut self.folder, folder));
        self.here = child;
        match content {
            Some(items) => items.iter().for_each(|item| self.visit_item(item)),
            None => self.file(&file),
        }
        (self.here, self.folder) = outside;
    }

    /// The imports of one `use`, as pairs of path and name.
    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, reexport: bool) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, path, reexport);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, path.clone(), reexport)),
            UseTree::Glob(_) => self.source.modules[self.here].globs.push(path),
            UseTree::Name(_) | UseTree::Rename(_) => {
                let (original, name) = match tree {
                    UseTree::Rename(tree) => (&tree.ident, &tree.rename),
                    UseTree::Name(tree) => (&tree.ident, &tree.ident),
                    _ => unreachable!(),
                };
                let itself = original == "self";
                if !itself {
                    path.push(original.to_string());
                }
                let name = if itself && name == "self" { path.last().unwrap().clone() } else { name.to_string() };
                let names = &mut self.source.modules[self.here].names;
                names.entry(name).or_default().push(Name::Import(path.clone()));
                self.mention(path, reexport);
            }
        }
    }

    /// Whether the build that is read goes without what carries these attributes.
    fn absent(&self, attributes: &[Attribute]) -> bool {
        attributes.iter().any(|attribute| {
            let path = attribute.path();
            let condition = || attribute.parse_args::<Meta>().expect("a condition");
            path.is_ident("test") || path.is_ident("cfg") && self.holds(&condition()) == Some(false)
        })
    }

    /// Whether a condition of a `cfg` holds; `None` if it depends on the machine or on how the crate is built.
    fn holds(&self, condition: &Meta) -> Option<bool> {
        let Meta::List(list) = condition else {
            let path = condition.path();
            let test = path.is_ident("test") || path.is_ident("doctest");
            return if test { Some(false) } else { self.loom.filter(|_| path.is_ident("loom")) };
        };
        let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).expect("conditions");
        let parts: Vec<Option<bool>> = parts.iter().map(|part| self.holds(part)).collect();
        if list.path.is_ident("not") {
            return parts.first().copied().flatten().map(|holds| !holds);
        }
        // `all` is settled by one that does not hold, `any` by one that does.
        let settles = list.path.is_ident("any");
        match parts {
            _ if parts.contains(&Some(settles)) => Some(settles),
            _ if parts.contains(&None) => None,
            _ => Some(!settles),
        }
    }

    /// The paths among tokens nobody has parsed: a macro's arguments or an attribute's.
    fn scan(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == sign);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.scan(&group.stream()),
                TokenTree::Ident(ident) => {
                    let kind = ["struct", "enum", "union", "trait"].iter().any(|kind| ident == kind);
                    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1).filter(|_| kind) {
                        self.define(name);
                    }
                    let part_of_another = at > 0 && (is(at - 1, '.') || is(at - 1, ':') && at > 1 && is(at - 2, ':'));
                    let mut path = vec![ident.to_string()];
                    while let (true, true, Some(TokenTree::Ident(next))) =
                        (is(at + 1, ':'), is(at + 2, ':'), tokens.get(at + 3))
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    if !part_of_another {
                        self.mention(path, false);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name): (&[Attribute], Option<&Ident>) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            Item::Impl(item) => (&item.attrs, None),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            Item::Mod(item) => (&item.attrs, None),
            Item::Static(item) => (&item.attrs, Some(&item.ident)),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Union(item) => (&item.attrs, Some(&item.ident)),
            Item::Use(item) => (&item.attrs, None),
            _ => (&[], None),
        };
        if self.absent(attributes) {
            return;
        }
        if let Some(name) = name {
            self.declare(name, Name::Item);
        }
        match item {
            Item::Struct(_) | Item::Enum(_) | Item::Union(_) | Item::Trait(_) | Item::Type(_) => {
                self.define(name.expect("types have names"));
            }
            Item::Mod(item) => {
                self.module(&item.ident, item.content.as_ref().map(|(_, items)| items.as_slice()));
                return;
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let absent = match item {
            ImplItem::Fn(item) => self.absent(&item.attrs),
            ImplItem::Const(item) => self.absent(&item.attrs),
            _ => false,
        };
        if !absent {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, Vec::new(), !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        self.visit_path(&mac.path);
        self.scan(&mac.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(&list.tokens);
        }
    }

    /// `pub(in path)` leads nowhere.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}
