//! Secrets never appear in errors, and published secrets are refused.

use proptest::prelude::*;

use super::*;

const HIDDEN: &str = "hunter2hunter2hunter2hunter2hunter2";

/// Returns a complete file with passwords in it.
fn full() -> String {
    let keys = format!("[[auth.keys]]\nid = \"k2\"\nalgorithm = \"HS256\"\nsecret = \"{HIDDEN}\"\n");
    let text = format!("{MINIMAL}{keys}").replace(SECRET, HIDDEN);
    text.replace("127.0.0.1:6379", &format!("u:{HIDDEN}@h:1"))
        .replace("127.0.0.1:4222", &format!("{HIDDEN}@h:1"))
}

fn keeps_secrets(text: &str, variables: &[(&str, &str)]) {
    if let Err(error) = read(text, variables) {
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2"), "{told}\n{text}");
    }
}

#[test]
fn typical_mistakes_do_not_show_secrets() {
    let text = full();
    assert!(read(&text, &[]).is_ok());
    for (right, wrong) in [
        ("hs256_secret", "hs256_secert"),
        ("\nsecret", "\nsecert"),
        ("redis = [", "redis = "),
        ("nats = [", "nat = ["),
        ("\"]", "\""),
        ("\"]", "]"),
        ("= \"", "= "),
        ("algorithm = ", "algorithm = [1]#"),
        ("\"HS256\"", "\"EdDSA\""),
        ("[auth]", "[outh]"),
        ("[cluster]", "[[cluster]]"),
        ("[auth]", "[auth"),
    ] {
        let wrong = text.replace(right, wrong);
        assert!(wrong != text && read(&wrong, &[]).is_err(), "{wrong}");
        keeps_secrets(&wrong, &[]);
    }
    for variable in
        ["IM_SERVER_LEASE_MS", "IM_WEBSOCKET_LISTEN", "IM_WEBSOCKET_TLS", "IM_SERVER_LOGIN_POLICY"]
    {
        assert!(read(&text, &[(variable, HIDDEN)]).is_err());
        keeps_secrets(&text, &[(variable, HIDDEN)]);
    }
    keeps_secrets(&text, &[("IM_SERVER_ADVERTISE", &format!("wss://u:{HIDDEN}@h"))]);
    keeps_secrets(&text, &[("IM_AUTH_HS256_SECRET", "hunter2")]);
    assert!(read(&text, &[("IM_AUTH_HS256_SECRET", "hunter2")]).is_err(), "it is too short");
}

proptest! {
    /// This holds whatever else is wrong with the file.
    #[test]
    fn no_mistake_shows_a_secret(at in 0usize..600, cut in 0usize..6, put in "[\"'=\\[\\]{}#\\\\\n a1.,-]{0,3}") {
        let mut text = full();
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        text.replace_range(start..end, &put);
        keeps_secrets(&text, &[]);
    }
}

#[test]
fn published_secrets_are_refused_wherever_it_listens() {
    for published in [
        "change me",
        "Change me: at least 32 bytes that nobody else knows",
        "at least 32 bytes that nobody else knows",
        "thirty-two bytes or more, please!",
        crate::dev::SECRET,
    ] {
        let short = error(&MINIMAL.replace(SECRET, published), &[]);
        let variable = error(MINIMAL, &[("IM_AUTH_HS256_SECRET", published)]);
        let keys = format!("[[auth.keys]]\nid = \"k2\"\nalgorithm = \"HS256\"\nsecret = \"{published}\"\n");
        let listed = error(&format!("{MINIMAL}{keys}"), &[]);
        for (error, id) in [(short, "\"k\""), (variable, "\"k\""), (listed, "\"k2\"")] {
            let what = error.contains(id) && error.contains("documentation");
            assert!(what && error.contains("openssl rand -base64 32"), "{error}");
        }
    }
}

/// The secret of earlier examples must not remain valid beside one's own.
#[test]
fn a_published_secret_does_not_stay_beside_ones_own() {
    let keys = "[[auth.keys]]\nid = \"k1\"\nalgorithm = \"HS256\"\nsecret = \"change me: at least 32 bytes that nobody else knows\"\n";
    let text = format!("{MINIMAL}{keys}");
    let text =
        text.replace("hs256_key_id = \"k\"\n", "").replace(&format!("hs256_secret = \"{SECRET}\"\n"), "");
    let set = |id| [("IM_AUTH_HS256_KEY_ID", id), ("IM_AUTH_HS256_SECRET", SECRET)];
    assert!(error(&text, &set("prod")).contains("\"k1\""));
    let (config, _) = read(&text, &set("k1")).unwrap();
    let told = format!("{:?}", config.verifier);
    assert_eq!(told.matches("VerificationKey").count(), 1, "{told}");
}
