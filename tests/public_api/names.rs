//! The crate as modules of items, and what a name in one of them stands for.

use std::collections::BTreeMap;

use syn::{Attribute, Item, UseTree, Visibility};

/// A path within the crate: the modules' names, from the root on, and an item's.
pub(crate) type Place = Vec<String>;

/// Names through which a name may lead before it is given up: more would be a circle.
const HOPS_MAX: usize = 16;

/// A crate, read.
pub(crate) struct Crate {
    /// By the path of their module.
    pub(crate) modules: BTreeMap<Place, Module>,
}

/// One module.
#[derive(Default)]
pub(crate) struct Module {
    pub(crate) items: Vec<Item>,
    pub(crate) uses: Vec<Use>,
}

/// One name that is brought in from elsewhere.
pub(crate) struct Use {
    pub(crate) is_public: bool,
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
    pub(crate) attributes: Vec<Attribute>,
}

impl Crate {
    /// Reads the crate whose sources these are, by their paths; `lib.rs` is its root.
    pub(crate) fn read(files: &BTreeMap<String, String>) -> Self {
        let mut this = Self {
            modules: BTreeMap::new(),
        };
        let root = syn::parse_file(&files["lib.rs"]).unwrap();
        this.add(Vec::new(), root.items, files);
        this
    }

    fn add(&mut self, place: Place, items: Vec<Item>, files: &BTreeMap<String, String>) {
        let mut module = Module::default();
        for item in items {
            match &item {
                Item::Mod(inner) if !is_of_tests(&inner.attrs) => {
                    let mut below = place.clone();
                    below.push(inner.ident.to_string());
                    let items = match &inner.content {
                        Some((_, items)) => items.clone(),
                        None => parsed(&below, files),
                    };
                    self.add(below, items, files);
                    module.items.push(item);
                }
                Item::Use(one) if !is_of_tests(&one.attrs) => {
                    let is_public = matches!(one.vis, Visibility::Public(_));
                    spread(&one.tree, &mut Vec::new(), &mut |name, path| {
                        module.uses.push(Use {
                            is_public,
                            name,
                            path,
                            attributes: one.attrs.clone(),
                        });
                    });
                }
                _ if is_of_tests(attributes(&item)) => {}
                _ => module.items.push(item),
            }
        }
        self.modules.insert(place, module);
    }

    /// Where `path` leads from within the module at `from`; none outside of the crate.
    pub(crate) fn resolve(&self, from: &Place, path: &[String]) -> Option<Place> {
        self.resolve_in(from, path, HOPS_MAX)
    }

    fn resolve_in(&self, from: &Place, path: &[String], hops: usize) -> Option<Place> {
        let hops = hops.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return self.resolve_in(&Vec::new(), rest, hops),
            "self" => return self.resolve_in(from, rest, hops),
            "super" => {
                return self.resolve_in(&from[..from.len().checked_sub(1)?].to_vec(), rest, hops);
            }
            _ => {}
        }
        let mut here = from.clone();
        here.push(first.clone());
        let module = self.modules.get(from)?;
        if self.modules.contains_key(&here) && !rest.is_empty() {
            return self.resolve_in(&here, rest, hops);
        }
        let is_here = |item: &Item| name_of(item).is_some_and(|name| name == *first);
        if rest.is_empty() && module.items.iter().any(is_here) {
            return Some(here);
        }
        let brought = module.uses.iter().find(|brought| brought.name == *first)?;
        let onward = [&brought.path[..], rest].concat();
        // A path begins in this module, or, from its root, in the crate.
        let next = self.resolve_in(from, &onward, hops);
        next.or_else(|| self.resolve_in(&Vec::new(), &onward, hops))
    }

    /// The item at `place`.
    pub(crate) fn item(&self, place: &Place) -> Option<&Item> {
        let (name, module) = place.split_last()?;
        let module = self.modules.get(module)?;
        module
            .items
            .iter()
            .find(|item| name_of(item).is_some_and(|it| it == *name))
    }
}

/// The items of the module at `place`, from whichever of its two files there is.
fn parsed(place: &Place, files: &BTreeMap<String, String>) -> Vec<Item> {
    let path = place.join("/");
    let names = [format!("{path}.rs"), format!("{path}/mod.rs")];
    let text = names.iter().find_map(|name| files.get(name));
    let text = text.unwrap_or_else(|| panic!("no file for {path}"));
    syn::parse_file(text).unwrap().items
}

/// Every name that `tree` brings in, with what it stands for.
fn spread(tree: &UseTree, before: &mut Vec<String>, each: &mut impl FnMut(String, Vec<String>)) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            spread(&path.tree, before, each);
            before.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            each(name.clone(), [&before[..], &[name]].concat());
        }
        UseTree::Rename(rename) => {
            let path = [&before[..], &[rename.ident.to_string()]].concat();
            each(rename.rename.to_string(), path);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                spread(tree, before, each);
            }
        }
        // What a glob brings is not followed: nothing public comes so, which `surface` asserts.
        UseTree::Glob(_) => each("*".to_owned(), before.clone()),
    }
}

/// Whether an item is there in tests only.
pub(crate) fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && crate::surface::text(&attribute.meta).contains("(test")
    })
}

/// An item's name.
pub(crate) fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Struct(it) => it.ident.to_string(),
        Item::Enum(it) => it.ident.to_string(),
        Item::Fn(it) => it.sig.ident.to_string(),
        Item::Const(it) => it.ident.to_string(),
        Item::Type(it) => it.ident.to_string(),
        Item::Trait(it) => it.ident.to_string(),
        Item::Mod(it) => it.ident.to_string(),
        _ => return None,
    })
}

/// An item's attributes.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Struct(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Const(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        _ => &[],
    }
}
