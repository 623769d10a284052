//! The paths under which rustdoc's JSON output lists each public item of a crate.

use std::collections::BTreeMap;

use serde_json::Value;

/// Returns the items that have two or more public paths, one item an entry, with its paths.
///
/// An item that is re-exported from another crate counts by its path there. A module of another crate that is
/// re-exported brings a path for everything in it.
pub(crate) fn with_several_paths(rustdoc: &Value) -> Vec<Vec<String>> {
    let mut found = Found { rustdoc, paths: BTreeMap::new() };
    let root = id(&rustdoc["root"]);
    let name = rustdoc["index"][&root]["name"].as_str().unwrap_or_default().to_owned();
    found.add_module(&root, &name, &mut vec![root.clone()]);
    found.several()
}

struct Found<'a> {
    rustdoc: &'a Value,
    /// The public paths of each item: by its id, or by its path in another crate.
    paths: BTreeMap<String, Vec<String>>,
}

impl Found<'_> {
    /// Adds the public items of a module that is at `path`. `above` are the modules that it is in.
    fn add_module(&mut self, module: &str, path: &str, above: &mut Vec<String>) {
        let items = &self.rustdoc["index"][module]["inner"]["module"]["items"];
        for item in items.as_array().into_iter().flatten().map(id) {
            self.add_item(&item, path, above);
        }
    }

    fn add_item(&mut self, item: &str, path: &str, above: &mut Vec<String>) {
        let declaration = &self.rustdoc["index"][item];
        if declaration["visibility"] != "public" {
            return;
        }
        let import = &declaration["inner"]["use"];
        if import.is_null() {
            if let Some(name) = declaration["name"].as_str() {
                self.add(item, &format!("{path}::{name}"), above);
            }
        } else if import["is_glob"] == true {
            self.enter(&id(&import["id"]), path, above);
        } else if let Some(name) = import["name"].as_str() {
            self.add(&id(&import["id"]), &format!("{path}::{name}"), above);
        }
    }

    fn add(&mut self, item: &str, path: &str, above: &mut Vec<String>) {
        let key = if self.rustdoc["index"][item].is_null() { self.foreign(item) } else { item.to_owned() };
        self.paths.entry(key).or_default().push(path.to_owned());
        self.enter(item, path, above);
    }

    /// Adds the items of a module; nothing if `item` is no module, or one that is being read.
    fn enter(&mut self, item: &str, path: &str, above: &mut Vec<String>) {
        let is_module = !self.rustdoc["index"][item]["inner"]["module"].is_null();
        if is_module && !above.iter().any(|module| module == item) {
            above.push(item.to_owned());
            self.add_module(item, path, above);
            above.pop();
        }
    }

    /// Returns the path of an item of another crate, in that crate.
    fn foreign(&self, item: &str) -> String {
        let segments = self.rustdoc["paths"][item]["path"].as_array();
        segments.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("::")
    }

    fn several(&self) -> Vec<Vec<String>> {
        let mut several: Vec<_> = self.paths.values().filter(|paths| paths.len() > 1).cloned().collect();
        for (foreign, paths) in self.paths.iter().filter(|(key, _)| key.contains("::")) {
            let within = |module: &&String| foreign.starts_with(&format!("{module}::"));
            for module in self.paths.keys().filter(within) {
                several.push([paths.as_slice(), self.paths[module].as_slice()].concat());
            }
        }
        several.iter_mut().for_each(|paths| paths.sort());
        several.sort();
        several
    }
}

fn id(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A crate `a` with the module `b`, the struct `b::S`, and what `extra` adds to its root.
    fn crate_with(extra: &Value) -> Value {
        let mut items = vec![json!(1)];
        let mut index = json!({
            "1": { "name": "b", "visibility": "public", "inner": { "module": { "items": [2] } } },
            "2": { "name": "S", "visibility": "public", "inner": { "struct": {} } },
            "3": { "name": "private", "visibility": "default", "inner": { "module": { "items": [2] } } },
        });
        for (id, item) in extra.as_object().unwrap() {
            items.push(id.parse::<u64>().unwrap().into());
            index[id] = item.clone();
        }
        index["0"] =
            json!({ "name": "a", "visibility": "public", "inner": { "module": { "items": items } } });
        json!({ "root": 0, "index": index, "paths": {
            "90": { "path": ["other", "limits"] },
            "91": { "path": ["other", "limits", "MAX"] },
        } })
    }

    fn import(id: u64, name: &str, is_glob: bool) -> Value {
        json!({
            "name": null, "visibility": "public",
            "inner": { "use": { "id": id, "name": name, "is_glob": is_glob } },
        })
    }

    #[test]
    fn a_private_module_is_no_path() {
        let rustdoc = crate_with(&json!({ "3": { "name": "private", "visibility": "default" } }));
        assert!(with_several_paths(&rustdoc).is_empty());
    }

    #[test]
    fn a_reexport_is_a_second_path() {
        let rustdoc = crate_with(&json!({ "4": import(2, "S", false) }));
        assert_eq!(with_several_paths(&rustdoc), [["a::S", "a::b::S"]]);
    }

    #[test]
    fn a_glob_of_a_public_module_brings_second_paths() {
        let rustdoc = crate_with(&json!({ "4": import(1, "b", true) }));
        assert_eq!(with_several_paths(&rustdoc), [["a::S", "a::b::S"]]);
    }

    #[test]
    fn a_module_under_two_names_brings_second_paths_for_its_items() {
        let rustdoc = crate_with(&json!({ "4": import(1, "c", false) }));
        assert_eq!(with_several_paths(&rustdoc), [["a::b", "a::c"], ["a::b::S", "a::c::S"]]);
    }

    #[test]
    fn an_item_of_another_crate_is_no_second_time_in_a_module_of_it() {
        let alone = crate_with(&json!({ "4": import(90, "limits", false) }));
        assert!(with_several_paths(&alone).is_empty());
        let twice = crate_with(&json!({ "4": import(90, "limits", false), "5": import(91, "MAX", false) }));
        assert_eq!(with_several_paths(&twice), [["a::MAX", "a::limits"]]);
    }
}
