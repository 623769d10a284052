//! Reads the file, value by value: see [`super`] for why serde does not.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    Origin, Position,
    auth::{Algorithm, Material, TokenKey},
    keys::{KEYS, Key, RawValue},
    partial::PartialConfig,
};

/// An error in the file.
#[derive(Debug)]
pub(super) struct ParseError {
    pub(super) position: Position,
    /// The description. It names keys, never values.
    pub(super) problem: String,
}

/// Reads a file.
pub(super) fn read(text: &str, partial: &mut PartialConfig) -> Result<(), ParseError> {
    let mut reader = Reader { text, partial, errors: Vec::new() };
    match DeTable::parse(text) {
        Ok(document) => reader.sections(document.into_inner()),
        Err(error) => {
            let at = error.span().unwrap_or(text.len()..text.len());
            reader.mistake(&at, format!("it is no TOML: {}", error.message()));
        }
    }
    // A table yields its keys in alphabetical order; the first error in the file is reported.
    reader.errors.into_iter().min_by_key(|mistake| mistake.position).map_or(Ok(()), Err)
}

struct Reader<'a> {
    text: &'a str,
    partial: &'a mut PartialConfig,
    errors: Vec<ParseError>,
}

impl Reader<'_> {
    fn sections(&mut self, document: DeTable<'_>) {
        for (name, value) in document {
            let (at, name) = (name.span(), name.into_inner());
            let known = KEYS.iter().any(|key| key.section == name);
            match value.into_inner() {
                DeValue::Table(section) if known => {
                    self.partial.open(&name);
                    self.section(&name, section);
                }
                _ if known => self.mistake(&at, format!("{name} is a section: write [{name}]")),
                DeValue::Table(_) | DeValue::Array(_) => {
                    self.mistake(&at, format!("there is no section [{name}]: {SEE}"));
                }
                _ => self.mistake(&at, format!("the key {name} stands in no section: {SEE}")),
            }
        }
    }

    fn section(&mut self, section: &str, table: DeTable<'_>) {
        for (name, value) in table {
            let (at, name) = (name.span(), name.into_inner());
            let key = KEYS.iter().find(|key| key.section == section && key.name == name);
            match (key, value) {
                (Some(key), value) => self.key(key, value),
                (None, value) if (section, &*name) == ("auth", "keys") => self.token_keys(value),
                _ => self.mistake(&at, format!("there is no key {section}.{name}: {SEE}")),
            }
        }
    }

    fn key(&mut self, key: &Key, value: Spanned<DeValue<'_>>) {
        let at = value.span();
        self.partial.came_from(key.section, key.path(), Origin::File(self.position(&at)));
        if let Err(expected) = key.set(self.partial, raw(value.into_inner())) {
            self.mistake(&at, format!("{} takes {expected}", key.path()));
        }
    }

    fn token_keys(&mut self, value: Spanned<DeValue<'_>>) {
        let at = value.span();
        let DeValue::Array(keys) = value.into_inner() else {
            return self.mistake(&at, "auth.keys is a list of tables: write [[auth.keys]]".into());
        };
        for key in keys {
            let at = key.span();
            match key.into_inner() {
                DeValue::Table(table) => self.token_key(&at, table),
                _ => self.mistake(&at, "auth.keys is a list of tables: write [[auth.keys]]".into()),
            }
        }
    }

    fn token_key(&mut self, at: &Range<usize>, table: DeTable<'_>) {
        let known = self.errors.len();
        let (mut id, mut algorithm, mut secret, mut public_key) = (None, None, None, None);
        for (name, value) in table {
            let (at, name) = (name.span(), name.into_inner());
            let field = match &*name {
                "id" => &mut id,
                "algorithm" => &mut algorithm,
                "secret" => &mut secret,
                "public_key" => &mut public_key,
                _ => {
                    self.mistake(&at, format!("there is no key {name} below [[auth.keys]]: {SEE}"));
                    continue;
                }
            };
            *field = raw(value.into_inner()).text();
            if field.is_none() {
                self.mistake(&at, format!("{name} below [[auth.keys]] takes a text that is not empty"));
            }
        }
        if self.errors.len() > known {
            return;
        }
        let Some(id) = id else {
            return self.mistake(at, "a key below [[auth.keys]] has no id: write id = \"...\"".into());
        };
        match material(algorithm.as_deref(), secret, public_key) {
            Ok(material) => self.partial.auth.keys.push(TokenKey { id, material }),
            Err(problem) => self.mistake(at, format!("the key {id:?} below [[auth.keys]] {problem}")),
        }
    }

    fn mistake(&mut self, at: &Range<usize>, problem: String) {
        self.errors.push(ParseError { position: self.position(at), problem });
    }

    fn position(&self, at: &Range<usize>) -> Position {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Position { line: 1 + before.matches('\n').count(), column: 1 + line.chars().count() }
    }
}

const SEE: &str = "see im-server.example.toml for what there is";

/// Returns the material of a key below `[[auth.keys]]`.
fn material(
    algorithm: Option<&str>,
    secret: Option<String>,
    public_key: Option<String>,
) -> Result<Material, &'static str> {
    match (algorithm, secret, public_key) {
        (Some("HS256"), Some(secret), None) => Ok(Material::Secret(secret, "`secret` below [[auth.keys]]")),
        (Some("HS256"), ..) => Err("is for HS256, which takes `secret` and no `public_key`"),
        (Some(algorithm), secret, public_key) => match (algorithm.parse::<Algorithm>(), secret, public_key) {
            (Ok(algorithm), None, Some(path)) => Ok(Material::File(algorithm, path.into())),
            (Ok(_), ..) => Err("is for EdDSA or ES256, which take `public_key` and no `secret`"),
            (Err(()), ..) => Err("has an algorithm that is none of \"HS256\", \"EdDSA\" and \"ES256\""),
        },
        (None, ..) => Err("has no algorithm: write algorithm = \"HS256\", \"EdDSA\" or \"ES256\""),
    }
}

fn raw(value: DeValue<'_>) -> RawValue {
    match value {
        DeValue::String(text) => RawValue::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let digits = number.as_str().trim_start_matches('+');
            u64::from_str_radix(digits, number.radix()).map_or(RawValue::Other, RawValue::Number)
        }
        DeValue::Boolean(flag) => RawValue::Flag(flag),
        DeValue::Array(items) => texts(items).map_or(RawValue::Other, RawValue::Texts),
        _ => RawValue::Other,
    }
}

fn texts(items: DeArray<'_>) -> Option<Vec<String>> {
    let text = |item: Spanned<DeValue<'_>>| match item.into_inner() {
        DeValue::String(text) => Some(text.into_owned()),
        _ => None,
    };
    items.into_iter().map(text).collect()
}
