//! Every message and every field is in the document, with number, name and type, and no others are.
//!
//! A message is described in one of three forms, each of which begins a line:
//!
//! ```text
//! **Sync**: 1 `cursors` repeated Cursor, where the device stands.
//!
//! **Done** is empty.
//!
//! **Reset**
//!
//! | number | field | type | |
//! | --- | --- | --- | --- |
//! | 1 | `cursor` | Cursor | the log goes on behind this |
//! ```

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::{DOCUMENT, pool::POOL, rows, section};

/// Number, name and type.
type Fields = BTreeSet<(u32, String, String)>;

/// Returns the messages of devices and servers, without those between backends and servers.
fn messages() -> impl Iterator<Item = MessageDescriptor> {
    let is_ours = |message: &MessageDescriptor| {
        !message.is_map_entry() && message.parent_file().name() != "im/v1/cluster.proto"
    };
    POOL.all_messages().filter(is_ours)
}

#[test]
fn every_field_is_told_and_no_other() {
    let told = told();
    let mut exist = BTreeSet::new();
    for message in messages().filter(|message| message.name() != "Frame") {
        let fields: Fields = message
            .fields()
            .map(|field| (field.number(), field.name().to_owned(), type_of(&field)))
            .collect();
        let told = told.get(message.name()).unwrap_or_else(|| panic!("{} is not told", message.name()));
        assert_eq!(*told, fields, "{} in PROTOCOL.md and in the .proto files", message.name());
        exist.insert(message.name().to_owned());
    }
    let others: Vec<_> = told.keys().filter(|name| !exist.contains(*name)).collect();
    assert!(others.is_empty(), "PROTOCOL.md tells of {others:?}, which do not exist");
}

#[test]
fn every_frame_is_told() {
    let table = section("## Frames").split_once("\n| number | frame |").unwrap().1;
    let table = table.split_once("\n\n").unwrap().0;
    let told: Vec<_> = rows(table).map(|row| (row[0].parse::<u32>().unwrap(), row[1].to_owned())).collect();
    let frame = POOL.get_message_by_name("im.v1.Frame").unwrap();
    let named = |field: FieldDescriptor| (field.number(), format!("`{}`", type_of(&field)));
    assert_eq!(told, frame.fields().map(named).collect::<Vec<_>>());
}

#[test]
fn every_number_of_an_enum_is_told() {
    let ours: BTreeSet<String> = messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter_map(|field| match field.kind() {
            Kind::Enum(kind) => Some(kind.full_name().to_owned()),
            _ => None,
        })
        .collect();
    assert!(ours.len() >= 5);
    for name in ours {
        let kind = POOL.get_enum_by_name(&name).unwrap();
        for value in kind.values().filter(|value| value.number() != 0) {
            let (number, name) = (value.number(), short(&kind, value.name()));
            let forms = [format!("\n| {number} | `{name}` |"), format!("{number} `{name}`")];
            let is_told = forms.iter().any(|form| DOCUMENT.contains(form));
            assert!(is_told, "{} is not told as {forms:?}", value.full_name());
        }
    }
}

/// A path such as `Welcome.limits.max_frame_bytes` in the text is an existing field.
#[test]
fn paths_in_the_text_lead_to_fields() {
    let mut found = 0;
    for code in DOCUMENT.split('`').skip(1).step_by(2) {
        let mut parts = code.split('.');
        let first = parts.next().unwrap();
        let Some(message) = POOL.get_message_by_name(&format!("im.v1.{first}")) else { continue };
        let mut inside = Some(message);
        for part in parts {
            let message = inside.take().unwrap_or_else(|| panic!("{code}: nothing is inside"));
            let field = message.get_field_by_name(part);
            let field = field.unwrap_or_else(|| panic!("{code}: {} has no {part}", message.name()));
            inside = if let Kind::Message(message) = field.kind() { Some(message) } else { None };
            found += 1;
        }
    }
    assert!(found > 10, "only {found} paths");
}

/// Returns the type as the document writes it.
fn type_of(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "map of string to string".to_owned();
    }
    let name = match field.kind() {
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(_) => "enum".to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let is_optional = field.field_descriptor_proto().proto3_optional();
    match (field.is_list(), is_optional) {
        (true, _) => format!("repeated {name}"),
        (_, true) => format!("optional {name}"),
        _ => name,
    }
}

/// Returns `TERMINAL_MINI_PROGRAM` without the common prefix of its enum.
fn short<'a>(kind: &EnumDescriptor, name: &'a str) -> &'a str {
    let first = kind.get_value(0).unwrap();
    let prefix = first.name().strip_suffix("UNSPECIFIED").unwrap();
    name.strip_prefix(prefix).unwrap()
}

/// Returns the fields of all messages in the document.
fn told() -> BTreeMap<String, Fields> {
    let mut told = BTreeMap::new();
    // The worked example names messages again.
    let reference = DOCUMENT.split_once("\n## A session, byte by byte").unwrap().0;
    let mut paragraphs = reference.split("\n\n").peekable();
    while let Some(paragraph) = paragraphs.next() {
        let (names, rest) = names(paragraph);
        let is_told = rest.is_empty() || rest.starts_with([':', ',', '.']) || rest.ends_with(" empty.");
        if names.is_empty() || !is_told {
            continue;
        }
        let mut fields = list(&rest.replace('\n', " "));
        if fields.is_empty()
            && let Some(table) =
                paragraphs.peek().filter(|next| next.starts_with("| number | field | type |"))
        {
            fields = rows(table)
                .skip(1)
                .map(|row| (row[0].parse().unwrap(), plain(row[1]), row[2].to_owned()))
                .collect();
        }
        for name in names {
            assert!(told.insert(name.to_owned(), fields.clone()).is_none(), "{name} is told twice");
        }
    }
    told
}

/// Returns the messages that a paragraph describes, and the description.
fn names(paragraph: &str) -> (Vec<&str>, &str) {
    let (mut names, mut rest) = (Vec::new(), paragraph);
    let is_name = |name: &str| name.chars().all(|char| char.is_ascii_alphanumeric());
    while let Some((name, after)) = rest.strip_prefix("**").and_then(|rest| rest.split_once("**"))
        && is_name(name)
    {
        names.push(name);
        rest = after.strip_prefix(", **").map_or(after, |_| &after[2..]);
    }
    (names, rest)
}

/// Parses ``1 `user` string, who; 2 `terminals` repeated TerminalPresence``.
fn list(text: &str) -> Fields {
    let mut fields = Fields::new();
    let parts: Vec<_> = text.split('`').collect();
    // A name in backquotes is preceded by its number, and followed by its type.
    for name in (1..parts.len()).step_by(2) {
        let number =
            parts[name - 1].strip_suffix(' ').and_then(|before| before.rsplit(' ').next()?.parse().ok());
        let kind = parts.get(name + 1).and_then(|after| after.strip_prefix(' ')).and_then(written_type);
        if let (Some(number), Some(kind)) = (number, kind) {
            fields.insert((number, parts[name].to_owned(), kind));
        }
    }
    fields
}

/// Returns the type that a text begins with.
fn written_type(text: &str) -> Option<String> {
    let map = "map of string to string";
    if text.starts_with(map) {
        return Some(map.to_owned());
    }
    let words = if text.starts_with("repeated ") || text.starts_with("optional ") { 2 } else { 1 };
    let kind = text.split(' ').take(words).collect::<Vec<_>>().join(" ");
    Some(kind.trim_end_matches([',', ';', '.', ':']).to_owned())
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}
