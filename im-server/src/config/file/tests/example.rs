//! The comments and keys of `im-server.example.toml` are true.

use std::collections::BTreeSet;

use super::{document::read as read_document, keys::KEYS, *};

const EXAMPLE: &str = include_str!("../../../../im-server.example.toml");

/// A key of the example.
struct Shown {
    section: String,
    name: String,
    /// The value in TOML.
    value: String,
    on: bool,
    has_default: bool,
}

fn shown_keys() -> Vec<Shown> {
    let (mut section, mut keys) = (String::new(), Vec::new());
    for line in EXAMPLE.lines() {
        let on = !line.starts_with('#');
        let line = line.trim_start_matches('#');
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((name, value)) = line.split_once(" = ").filter(|(name, _)| !name.contains(' ')) {
            let has_default = !value.ends_with(" # no default");
            let value = value.trim_end_matches(" # no default").to_owned();
            keys.push(Shown { section: section.clone(), name: name.to_owned(), value, on, has_default });
        } else {
            assert!(line.is_empty() || line.starts_with(' '), "{line:?} is neither a key nor prose");
        }
    }
    keys
}

/// Returns the value that a key alone produces.
fn alone(section: &str, name: &str, value: &str) -> String {
    let mut partial = PartialConfig::new();
    read_document(&format!("[{section}]\n{name} = {value}"), &mut partial).unwrap();
    shown(&partial.server, &partial.cluster)
}

#[test]
fn every_key_is_shown_once() {
    let (listed, shown): (Vec<_>, Vec<_>) =
        shown_keys().into_iter().partition(|key| key.section == "auth.keys");
    let paths: Vec<String> = shown.iter().map(|key| format!("{}.{}", key.section, key.name)).collect();
    let all: BTreeSet<String> = KEYS.iter().map(|key| key.path()).collect();
    assert_eq!(paths.iter().cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(paths.len(), all.len(), "one is shown twice");
    let listed: Vec<&str> = listed.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(listed, ["id", "algorithm", "secret", "public_key"]);
}

#[test]
fn what_is_switched_off_is_at_its_default() {
    let partial = PartialConfig::new();
    let defaults = shown(&partial.server, &partial.cluster);
    let mut examples = Vec::new();
    for key in shown_keys().iter().filter(|key| key.section != "auth.keys" && !key.on) {
        let alone = alone(&key.section, &key.name, &key.value);
        if key.has_default {
            assert_eq!(alone, defaults, "{}.{} is shown at another value", key.section, key.name);
        } else {
            examples.push(format!("{}.{}", key.section, key.name));
        }
    }
    let without_default = [
        "server.incarnation",
        "server.advertise",
        "cluster.routes_redis",
        "tls.certificate",
        "tls.key",
        "auth.public_key_id",
        "auth.public_key_algorithm",
        "auth.public_key_path",
    ];
    assert_eq!(examples, without_default);
}

#[test]
fn it_is_good_but_for_its_secret() {
    let refused = error(EXAMPLE, &[]);
    assert!(refused.contains("\"k1\"") && refused.contains("openssl rand -base64 32"), "{refused}");
    let (config, cluster) = read(EXAMPLE, &[("IM_AUTH_HS256_SECRET", SECRET)]).unwrap();
    assert_eq!((config.name.as_str(), cluster.prefix.as_str()), ("im1", "im"));
    // With another id, the variables still replace the file's key.
    let set = [("IM_AUTH_HS256_KEY_ID", "prod"), ("IM_AUTH_HS256_SECRET", SECRET)];
    let (config, _) = read(EXAMPLE, &set).unwrap();
    let keys = format!("{:?}", config.verifier);
    assert_eq!(keys.matches("VerificationKey").count(), 1, "{keys}");
}

#[test]
fn with_everything_switched_on_it_is_good() {
    let directory = tempfile::tempdir().unwrap();
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
    let es = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let uncomment = |line: &str| match line.strip_prefix('#') {
        // A token key has either a secret or a public key.
        Some(rest) if rest.starts_with("secret") => String::new(),
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text = EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n");
    let text = text.replace("/etc/im/k2.pub.pem", &write(&directory, "k2.pem", &ed));
    let text = text.replace("/etc/im/k3.pub.pem", &write(&directory, "k3.pem", &es));
    let (config, _) = read(&text, &[("IM_AUTH_HS256_SECRET", SECRET)]).unwrap();
    assert_eq!(format!("{:?}", config.verifier).matches("VerificationKey").count(), 3);
}
