//! What of a crate its users can name, one line each.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, Visibility};

use crate::names::{Crate, Place, attributes, is_of_tests, name_of};

/// The lines of the list, sorted.
pub(crate) fn list(of: &Crate) -> Vec<String> {
    let mut surface = Surface {
        of,
        lines: BTreeSet::new(),
        shown: BTreeMap::new(),
    };
    surface.module(&Vec::new(), "haul", "");
    surface.lines.into_iter().collect()
}

struct Surface<'a> {
    of: &'a Crate,
    lines: BTreeSet<String>,
    /// Where each item is shown first.
    shown: BTreeMap<Place, String>,
}

impl Surface<'_> {
    /// What the module at `place` shows under `path`, where `feature` is on.
    fn module(&mut self, place: &Place, path: &str, feature: &str) {
        let Some(module) = self.of.modules.get(place) else {
            return;
        };
        for brought in module.uses.iter().filter(|brought| brought.is_public) {
            if is_hidden(&brought.attributes) {
                continue;
            }
            assert!(
                brought.name != "*",
                "{path}: name what a public glob brings"
            );
            let leads = self.of.resolve(place, &brought.path);
            let Some((leads, item)) = leads.and_then(|at| Some((at.clone(), self.of.item(&at)?)))
            else {
                panic!("{path}: where does `{}` lead?", brought.path.join("::"));
            };
            let feature = or(&feature_of(&brought.attributes), feature);
            self.item(item, &leads, &format!("{path}::{}", brought.name), &feature);
        }
        for item in &module.items {
            let Some(name) = name_of(item).filter(|_| is_public(item)) else {
                continue;
            };
            if is_hidden(attributes(item)) {
                continue;
            }
            let feature = or(&feature_of(attributes(item)), feature);
            let mut at = place.clone();
            at.push(name.clone());
            self.item(item, &at, &format!("{path}::{name}"), &feature);
        }
    }

    fn item(&mut self, item: &Item, at: &Place, path: &str, feature: &str) {
        if let Some(first) = self.shown.get(at) {
            self.say(format!("{path}: = {first}"), feature);
            return;
        }
        self.shown.insert(at.clone(), path.to_owned());
        match item {
            Item::Mod(_) => {
                self.say(format!("{path}: mod"), feature);
                self.module(at, path, feature);
            }
            Item::Fn(it) => self.say(format!("{path}: {}", text(&it.sig)), feature),
            Item::Const(it) => {
                self.say(
                    format!("{path}: const {}: {}", it.ident, text(&it.ty)),
                    feature,
                );
            }
            Item::Type(it) => self.say(format!("{path}: type = {}", text(&it.ty)), feature),
            Item::Trait(it) => {
                self.say(format!("{path}: trait"), feature);
                for member in &it.items {
                    if let TraitItem::Fn(function) = member {
                        let sig = &function.sig;
                        self.say(format!("{path}::{}: {}", sig.ident, text(sig)), feature);
                    }
                }
            }
            Item::Struct(it) => {
                self.of_type("struct", &it.attrs, at, path, feature);
                self.fields(&it.fields, path, feature);
            }
            Item::Enum(it) => {
                self.of_type("enum", &it.attrs, at, path, feature);
                for variant in &it.variants {
                    let fields = bare(&variant.fields);
                    self.say(format!("{path}::{}{fields}", variant.ident), feature);
                }
            }
            _ => {}
        }
    }

    /// The public fields of a struct.
    fn fields(&mut self, fields: &Fields, path: &str, feature: &str) {
        for (index, field) in fields.iter().enumerate() {
            if matches!(field.vis, Visibility::Public(_)) {
                let name = field
                    .ident
                    .as_ref()
                    .map_or(index.to_string(), ToString::to_string);
                self.say(format!("{path}::{name}: {}", text(&field.ty)), feature);
            }
        }
    }

    /// A type, what it implements, and what can be called on it.
    fn of_type(&mut self, kind: &str, on: &[Attribute], at: &Place, path: &str, feature: &str) {
        let mut traits: BTreeSet<String> = derived(on).into_iter().collect();
        let of = self.of;
        for (place, module) in &of.modules {
            for item in &module.items {
                let Item::Impl(block) = item else { continue };
                if self.is_for(block, place, at) {
                    self.block(block, path, feature, &mut traits);
                }
            }
        }
        let is_open = on.iter().any(|it| it.path().is_ident("non_exhaustive"));
        let mark = if is_open { ", non_exhaustive" } else { "" };
        let traits: Vec<String> = traits.into_iter().collect();
        let traits = match traits.is_empty() {
            true => String::new(),
            false => format!("; {}", traits.join(", ")),
        };
        self.say(format!("{path}: {kind}{mark}{traits}"), feature);
    }

    fn is_for(&self, block: &ItemImpl, place: &Place, at: &Place) -> bool {
        let Type::Path(named) = &*block.self_ty else {
            return false;
        };
        let path = named.path.segments.iter().map(|it| it.ident.to_string());
        let path: Vec<String> = path.collect();
        self.of
            .resolve(place, &path)
            .is_some_and(|leads| leads == *at)
    }

    fn block(
        &mut self,
        block: &ItemImpl,
        path: &str,
        feature: &str,
        traits: &mut BTreeSet<String>,
    ) {
        let feature = or(&feature_of(&block.attrs), feature);
        if let Some((_, implemented, _)) = &block.trait_ {
            traits.insert(text(implemented));
            return;
        }
        for member in &block.items {
            match member {
                ImplItem::Fn(it) if is_shown(&it.vis, &it.attrs) => {
                    let feature = or(&feature_of(&it.attrs), &feature);
                    let (name, sig) = (&it.sig.ident, text(&it.sig));
                    self.say(format!("{path}::{name}: {sig}"), &feature);
                }
                ImplItem::Const(it) if matches!(it.vis, Visibility::Public(_)) => {
                    self.say(
                        format!("{path}::{}: const {}", it.ident, text(&it.ty)),
                        &feature,
                    );
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, line: String, feature: &str) {
        let mark = match feature {
            "" => String::new(),
            feature => format!("; feature {feature}"),
        };
        self.lines.insert(line + &mark);
    }
}

/// Fields of a variant, without their documentation.
fn bare(fields: &Fields) -> String {
    let types = fields.iter().map(|field| {
        let name = field.ident.as_ref().map(|name| format!("{name}: "));
        name.unwrap_or_default() + &text(&field.ty)
    });
    let types: Vec<String> = types.collect();
    match fields {
        Fields::Unit => String::new(),
        Fields::Unnamed(_) => format!("({})", types.join(", ")),
        Fields::Named(_) => format!(" {{ {} }}", types.join(", ")),
    }
}

/// The traits that a type derives.
fn derived(on: &[Attribute]) -> Vec<String> {
    let derives = on.iter().filter(|it| it.path().is_ident("derive"));
    let lists = derives.map(|it| {
        let inside = text(&it.meta.require_list().unwrap().tokens);
        inside
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect::<Vec<_>>()
    });
    lists.flatten().filter(|name| !name.is_empty()).collect()
}

/// The feature that an item needs; empty for none.
fn feature_of(on: &[Attribute]) -> String {
    let texts = on
        .iter()
        .filter(|it| it.path().is_ident("cfg"))
        .map(|it| text(&it.meta));
    let named = texts.filter_map(|cfg| {
        let (_, after) = cfg.split_once("feature = \"")?;
        Some(after.split_once('"')?.0.to_owned())
    });
    named.collect::<Vec<_>>().join(" and ")
}

/// `one`, or `other` where that says nothing.
fn or(one: &str, other: &str) -> String {
    if one.is_empty() {
        other.to_owned()
    } else {
        one.to_owned()
    }
}

fn is_public(item: &Item) -> bool {
    let vis = match item {
        Item::Struct(it) => &it.vis,
        Item::Enum(it) => &it.vis,
        Item::Fn(it) => &it.vis,
        Item::Const(it) => &it.vis,
        Item::Type(it) => &it.vis,
        Item::Trait(it) => &it.vis,
        Item::Mod(it) => &it.vis,
        _ => return false,
    };
    matches!(vis, Visibility::Public(_))
}

/// Whether a member of an `impl` block is for users.
fn is_shown(vis: &Visibility, on: &[Attribute]) -> bool {
    matches!(vis, Visibility::Public(_)) && !is_hidden(on) && !is_of_tests(on)
}

fn is_hidden(on: &[Attribute]) -> bool {
    on.iter()
        .any(|it| it.path().is_ident("doc") && text(&it.meta).contains("(hidden)"))
}

/// Tokens as people write them.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().replace('\n', " ");
    let closer = [
        (" :: ", "::"),
        (" ::", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" ;", ";"),
        ("& ", "&"),
        (" :", ":"),
        (" ?", "?"),
        ("[ ", "["),
        (" ]", "]"),
    ];
    for (apart, close) in closer {
        text = text.replace(apart, close);
    }
    text.replace("-(", "- (")
        .replace("->(", "-> (")
        .replace("-><", "-> <")
        .replace(",)", ")")
}
