//! The parts of each crate depend on one another in one direction only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The submodules of a module, in layers. Each may use itself and those of lower layers. The part `mod` stands for
/// what the module's own file declares.
type Layers<'a> = &'a [&'a [&'a str]];

const SERVER: Layers<'_> = &[
    &["bench", "dev"],
    &["server"],
    &["transport"],
    &["connection"],
    &["context"],
    &["downstream"],
    &["upstream"],
    &["registry"],
    &["config"],
    &["lifecycle", "logging"],
];

/// The client is on no higher layer than the parts that it must not use: it needs the model alone.
const SDK: Layers<'_> =
    &[&["guide"], &["backend"], &["cluster"], &["client", "token", "log_throttle"], &["model"]];

const CLUSTER: Layers<'_> = &[
    &["mod", "conformance"],
    &["redis", "nats", "memory", "disk"],
    &["diagnostics"],
    &["clock", "config", "quota", "dedup", "trim_clock", "leases", "backlog", "disruptions"],
    &["traits"],
    &["names"],
    &["log_id", "time"],
];

/// `Im` is a facade over the types below it; a send passes through `send` alone.
const BACKEND: Layers<'_> = &[
    &["mod", "testing"],
    &["im"],
    &["service"],
    &["channels"],
    &["conversations"],
    &["presence", "health", "upkeep"],
    &["send"],
    &["history"],
    &["amend"],
    &["lookup"],
    &["message_store"],
    &["tasks", "error_chain", "parse_ids"],
];

#[test]
fn the_parts_of_a_server_use_one_another_in_one_direction() {
    check("im-server/src", &[], SERVER);
}

#[test]
fn the_parts_of_the_sdk_use_one_another_in_one_direction() {
    check("im-sdk/src", &[], SDK);
}

#[test]
fn the_parts_of_a_cluster_use_one_another_in_one_direction() {
    check("im-sdk/src", &["cluster"], CLUSTER);
}

#[test]
fn the_parts_of_a_backend_use_one_another_in_one_direction() {
    check("im-sdk/src", &["backend"], BACKEND);
}

#[test]
fn files_use_one_another_in_no_circle() {
    let mut found = Vec::new();
    for src in ["im-sdk/src", "im-server/src", "bindings/ffi/src"] {
        let source = Source::read(&root(src));
        let uses: BTreeMap<_, _> =
            source.files.keys().map(|name| (name.as_str(), source.used_files(name))).collect();
        for circle in circles(&uses) {
            found.push(format!("in {src}: {}", circle.join(", ")));
            for name in &circle {
                let within = source.used_items(name).filter(|(used, _)| circle.contains(used));
                found.extend(within.map(|(_, path)| format!("    {name} uses {path}")));
            }
        }
    }
    assert!(found.is_empty(), "files that use one another in a circle:\n{}", found.join("\n"));
}

/// Returns the groups of files in which each one uses each other one, directly or through others.
fn circles<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reach: BTreeMap<_, _> = uses.keys().map(|name| (*name, reachable(uses, name))).collect();
    let mut circles = BTreeSet::new();
    for (name, reached) in &reach {
        let circle: Vec<_> = reached.iter().copied().filter(|other| reach[other].contains(name)).collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Returns the files that a file uses, directly or through others.
fn reachable<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>, name: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = uses[name].iter().copied().collect();
    while let Some(name) = next.pop() {
        if reached.insert(name) {
            next.extend(&uses[name]);
        }
    }
    reached
}

fn root(src: &str) -> PathBuf {
    PathBuf::from(format!("{}/../{src}", env!("CARGO_MANIFEST_DIR")))
}

/// Checks the files of a module of the crate in `src`.
fn check(src: &str, module: &[&str], layers: Layers<'_>) {
    let found = uses(&root(src), module, layers);
    assert!(found.count > 50, "only {} uses were found in {src} {module:?}", found.count);
    assert!(found.wrong.is_empty(), "against the order of the layers:\n{}", found.wrong.join("\n"));
}

#[derive(Default)]
struct Uses {
    /// Number of all uses of one part by another.
    count: usize,
    /// Uses that violate the order.
    wrong: Vec<String>,
}

/// Reads the files of a module, except unit tests and programs, for what they use of it.
fn uses(root: &Path, module: &[&str], layers: Layers<'_>) -> Uses {
    let source = Source::read(root);
    let layer_of: BTreeMap<&str, usize> =
        (0..).zip(layers).flat_map(|(layer, parts)| parts.iter().map(move |part| (*part, layer))).collect();
    for part in layer_of.keys().filter(|part| **part != "mod") {
        let path = [module, &[part]].concat().join("::");
        assert!(source.files.contains_key(&path), "there is no module {path}");
    }
    let mut uses = Uses::default();
    for (name, file) in &source.files {
        let Some(own) = source.part(name, module) else { continue };
        let own_layer = *layer_of.get(&*own).unwrap_or_else(|| panic!("{name} is in no layer"));
        for path in &file.paths {
            let Some(used) = source.part(&source.resolve(name, path), module) else { continue };
            if used == own {
                continue;
            }
            uses.count += 1;
            if layer_of.get(&*used).is_none_or(|layer| *layer <= own_layer) {
                uses.wrong.push(format!("{name} uses {}", path.join("::")));
            }
        }
    }
    uses
}

/// A crate's modules that have files of their own, by their paths without `crate`; the crate's root has the path "".
struct Source {
    files: BTreeMap<String, File>,
}

#[derive(Default)]
struct File {
    /// The paths in its code that begin with `crate`, `super` or `self`.
    paths: BTreeSet<Vec<String>>,
    /// The names that it imports, with the paths of the items.
    imports: BTreeMap<String, Vec<String>>,
}

impl Source {
    fn read(root: &Path) -> Self {
        let mut source = Self { files: BTreeMap::new() };
        source.add(&root.join("lib.rs"), root, "");
        source
    }

    /// Adds the module that is in `file`, and those that it declares, which are in `folder`. Unit tests are none.
    fn add(&mut self, file: &Path, folder: &Path, name: &str) {
        let text = fs::read_to_string(file).unwrap();
        let code = without_tests(&without_comments(&text));
        let tokens = tokens(&code);
        let (own, inline) = inline_modules(&tokens);
        for module in modules(&own) {
            let path = if name.is_empty() { module.clone() } else { format!("{name}::{module}") };
            let inner = folder.join(&module);
            let beside = folder.join(format!("{module}.rs"));
            let file = if beside.exists() { beside } else { inner.join("mod.rs") };
            self.add(&file, &inner, &path);
        }
        let mut paths = paths(&own);
        paths.extend(self::paths(&inline).into_iter().map(from_parent));
        self.files.insert(name.to_owned(), File { paths, imports: imports(&own) });
    }

    /// Returns the path of the item that `path` means in the module `name`, as the item's module knows it.
    fn resolve(&self, name: &str, path: &[String]) -> String {
        let mut at: Vec<&str> = name.split("::").filter(|segment| !segment.is_empty()).collect();
        let mut rest: Vec<&str> = path.iter().map(String::as_str).collect();
        match rest.first() {
            Some(&"crate") => at.clear(),
            // The path of an import may begin with a submodule.
            Some(&"super" | &"self") | None => {}
            Some(first) if !self.files.contains_key(&join(&at, first)) => {
                return format!("::{}", rest.join("::"));
            }
            Some(_) => {}
        }
        while !rest.is_empty() {
            let segment = rest.remove(0);
            let module = at.join("::");
            let import = self.files.get(&module).and_then(|file| file.imports.get(segment));
            match (segment, import) {
                ("crate" | "self", _) => {}
                ("super", _) => drop(at.pop()),
                (_, Some(import)) if !self.files.contains_key(&join(&at, segment)) => {
                    let path: Vec<_> =
                        import.iter().cloned().chain(rest.iter().map(ToString::to_string)).collect();
                    return self.resolve(&module, &path);
                }
                _ => at.push(segment),
            }
        }
        at.join("::")
    }

    fn used_files(&self, name: &str) -> BTreeSet<&str> {
        self.used_items(name).map(|(file, _)| file).collect()
    }

    /// Returns the other files that a file uses, each with the item, except those of the modules that it is part of.
    fn used_items(&self, name: &str) -> impl Iterator<Item = (&str, String)> {
        let paths = self.files[name].paths.iter().map(|path| self.resolve(name, path));
        paths.filter_map(move |path| {
            let file = self.file_of(&path)?;
            let below = name.strip_prefix(file);
            let is_within = below.is_some_and(|below| below.is_empty() || below.starts_with("::"));
            (!is_within).then_some((file, path))
        })
    }

    /// Returns the file that declares the item with this path; `None` if another crate or the crate's root does. A module itself
    /// stands for whatever is used of it elsewhere.
    fn file_of(&self, path: &str) -> Option<&str> {
        let (module, _) = path.rsplit_once("::")?;
        if self.files.contains_key(path) {
            return None;
        }
        let mut module = module;
        loop {
            if let Some((name, _)) = self.files.get_key_value(module) {
                return Some(name).filter(|name| !name.is_empty()).map(String::as_str);
            }
            module = module.rsplit_once("::")?.0;
        }
    }

    /// Returns the part of `module` that a path is in; `None` if it is elsewhere, or the crate's root.
    fn part(&self, path: &str, module: &[&str]) -> Option<String> {
        let prefix = module.join("::");
        let below = match path.strip_prefix(&*prefix)? {
            rest if prefix.is_empty() => rest,
            "" => return Some("mod".to_owned()),
            rest => rest.strip_prefix("::")?,
        };
        let part = below.split("::").next().filter(|part| !part.is_empty())?;
        let is_module = self.files.contains_key(&join(module, part));
        match (is_module, module) {
            (true, _) => Some(part.to_owned()),
            // An item that the root declares itself, or another crate.
            (false, []) => None,
            (false, _) => Some("mod".to_owned()),
        }
    }
}

fn join(module: &[&str], name: &str) -> String {
    [module, &[name]].concat().join("::")
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Returns the code without the items that are for unit tests alone: modules, imports and functions.
fn without_tests(code: &str) -> String {
    const ATTRIBUTES: [&str; 2] = ["#[cfg(test)", "#[cfg(all(test,"];
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = ATTRIBUTES.iter().filter_map(|attribute| rest.find(attribute)).min() {
        kept.push_str(&rest[..at]);
        let item = rest[at..].split_once(']').map_or("", |(_, item)| item);
        rest = &item[end_of_item(item)..];
    }
    kept + rest
}

/// Returns where the item at the beginning of the code ends: at its semicolon, with its braces, or, for a field, at its comma.
fn end_of_item(code: &str) -> usize {
    let is_import = code.split_whitespace().find(|word| !word.starts_with("pub")) == Some("use");
    let mut depth = 0;
    for (at, character) in code.char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        let is_end = matches!(character, ';' | ',') || (character == '}' && !is_import);
        if depth < 0 || (depth == 0 && is_end) {
            return at + 1;
        }
    }
    code.len()
}

/// Splits the tokens of a file into its own and those of the modules inside of it.
fn inline_modules<'a>(tokens: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut own, mut inline) = (Vec::new(), Vec::new());
    let (mut depth, mut inside) = (0, None);
    for (at, token) in tokens.iter().enumerate() {
        depth += match *token {
            "{" => 1,
            "}" => -1,
            _ => 0,
        };
        if inside.is_none() && *token == "{" && at.checked_sub(2).is_some_and(|at| tokens[at] == "mod") {
            inside = Some(depth);
        }
        if inside.is_some() { &mut inline } else { &mut own }.push(*token);
        if inside.is_some_and(|outer| depth < outer) {
            inside = None;
        }
    }
    (own, inline)
}

/// Returns a path in a module inside of a file as it is from the file's own.
fn from_parent(mut path: Vec<String>) -> Vec<String> {
    if let Some(first) = path.first_mut().filter(|first| *first == "super") {
        "self".clone_into(first);
    }
    path
}

/// Returns the names of the modules that the code declares in files of their own.
fn modules(tokens: &[&str]) -> Vec<String> {
    let declared = tokens.windows(3).filter(|window| window[0] == "mod" && window[2] == ";");
    declared.map(|window| window[1].to_owned()).collect()
}

/// Returns the names that the code imports or re-exports, with the paths of the items.
fn imports(tokens: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| **token == "use") {
        for (name, path) in leaves(&tokens[at + 1..], &[]).1 {
            imports.insert(name, path);
        }
    }
    imports
}

/// Returns the paths in the code that begin with `crate`, `super` or `self`.
fn paths(tokens: &[&str]) -> BTreeSet<Vec<String>> {
    let mut paths = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| tokens[before]);
        let is_start = matches!(*token, "crate" | "super" | "self")
            // `pub(in crate::..)` uses nothing, `$crate` is a macro's.
            && !matches!(before, Some("::" | "in" | "$"))
            && tokens.get(at + 1) == Some(&"::");
        if is_start {
            paths.extend(leaves(&tokens[at..], &[]).1.into_iter().map(|(_, path)| path));
        }
    }
    paths
}

/// Reads a tree of paths, as in an import, below `prefix`. Returns its number of tokens, and its leaves with their names.
fn leaves(tokens: &[&str], prefix: &[String]) -> (usize, Vec<(String, Vec<String>)>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                let mut found = Vec::new();
                at += 1;
                while let Some(token) = tokens.get(at).filter(|token| **token != "}") {
                    if *token == "," {
                        at += 1;
                        continue;
                    }
                    let (read, inner) = leaves(&tokens[at..], &path);
                    found.extend(inner);
                    at += read.max(1);
                }
                return (at + 1, found);
            }
            // `module::{self}` is the module.
            Some(&"self") if !prefix.is_empty() => {}
            Some(segment) if is_name(segment) => path.push((*segment).to_owned()),
            _ => {}
        }
        at += 1;
        if tokens.get(at) == Some(&"::") {
            at += 1;
            continue;
        }
        let name = match (tokens.get(at), tokens.get(at + 1)) {
            (Some(&"as"), Some(name)) => {
                at += 2;
                (*name).to_owned()
            }
            _ => path.last().cloned().unwrap_or_default(),
        };
        return (at, vec![(name, path)]);
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|character: char| character.is_alphabetic() || character == '_')
}

/// Splits code into names, `::`, and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let length = match first {
            _ if is_word(first) => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// A crate with the modules `high` and `low`, `deep` in `low`, and an item of each that the root re-exports.
fn crate_with(low: &str, deep: &str) -> Uses {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    fs::create_dir_all(folder.path().join("a/low")).unwrap();
    write("lib.rs", "mod a;\npub use a::Top;\n#[cfg(test)]\nmod golden;\n");
    write(
        "a/mod.rs",
        "pub struct Top;\nmod high;\nmod low;\npub use self::{high::{High, Other as Renamed}, low::Low};\n",
    );
    write("a/high.rs", "use super::low::deep::Deep; // crate::a::high\nuse crate::a::Low;\n");
    write(
        "a/low/mod.rs",
        &format!("mod deep;\n{low}\n#[cfg(test)]\nmod tests {{\n    use super::super::High;\n}}\n"),
    );
    write("a/low/deep.rs", deep);
    uses(folder.path(), &["a"], &[&["mod"], &["high"], &["low"]])
}

#[test]
fn a_lower_layer_may_be_used() {
    let uses = crate_with("", "use super::Low;\npub(in crate::a::high) struct Deep;");
    assert_eq!(uses.count, 5, "two by `high`, and three by the module itself");
    assert_eq!(uses.wrong, [""; 0]);
}

#[test]
fn a_higher_layer_is_found_however_it_is_named() {
    for (low, deep, used) in [
        ("use crate::a::high::High;", "", "a::low uses crate::a::high::High"),
        ("use crate::{a::{self, high}, b::C};", "", "a::low uses crate::a::high"),
        ("use super::High as X;", "", "a::low uses super::High"),
        ("fn f() { super::high::g() }", "", "a::low uses super::high::g"),
        ("", "use super::super::{Renamed, low::Low};", "a::low::deep uses super::super::Renamed"),
        ("", "type T = Vec<crate::Top>;", "a::low::deep uses crate::Top"),
        ("mod inner { use super::super::High; }", "", "a::low uses self::super::High"),
    ] {
        let uses = crate_with(low, deep);
        assert!(uses.wrong.contains(&used.to_owned()), "{low} {deep}: {:?}", uses.wrong);
    }
}

#[test]
fn what_is_for_unit_tests_alone_counts_for_nothing() {
    let uses = crate_with(
        "#[cfg(test)]\nuse super::{High, Renamed};\n#[cfg(all(test, unix))]\nfn f() { super::High::g() }",
        "",
    );
    assert_eq!(uses.wrong, [""; 0]);
}

#[test]
fn a_circle_is_found_and_a_module_counts_with_its_parts() {
    let names = |pairs: &[(&'static str, &[&'static str])]| -> Vec<Vec<&'static str>> {
        circles(&pairs.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect())
    };
    assert_eq!(names(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]), [["a", "b", "c"]]);
    assert!(names(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]).is_empty());

    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    fs::create_dir_all(folder.path().join("a")).unwrap();
    write("lib.rs", "mod a;\n");
    write("a/mod.rs", "mod one;\nmod two;\npub use self::two::Two;\npub struct A(self::one::One);\n");
    write("a/one.rs", "use super::{A, Two};\npub struct One;\n");
    write("a/two.rs", "use super::one::One;\npub struct Two;\n");
    let source = Source::read(folder.path());
    assert_eq!(source.used_files("a::one"), BTreeSet::from(["a::two"]), "by what the module re-exports");
    assert_eq!(source.used_files("a::two"), BTreeSet::from(["a::one"]));
    assert_eq!(source.used_files("a"), BTreeSet::from(["a::one", "a::two"]));
}
