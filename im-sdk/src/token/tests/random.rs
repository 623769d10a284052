//! Property tests: whatever a device sends as its token, nothing panics, and nobody gets in without
//! a signed token.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A valid token, the same for all cases.
static GOOD: LazyLock<String> = LazyLock::new(|| {
    let claims = with("exp", json!(4_102_444_800_u64));
    sign(HEADER.as_bytes(), claims.to_string().as_bytes())
});

proptest! {
    #[test]
    fn what_nobody_signed_is_refused(token in any_text()) {
        prop_assert!(verifier().verify(&token).is_err());
    }

    /// Including the bits that base64 does not need.
    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(changes in vec((any::<Index>(), "[A-Za-z0-9_.=+/-]"), 1..4)) {
        let mut token = GOOD.clone();
        for (at, with) in changes {
            let at = at.index(token.len());
            token.replace_range(at..=at, &with);
        }
        prop_assert_eq!(verifier().verify(&token).is_ok(), token == *GOOD);
    }

    #[test]
    fn a_part_of_a_token_is_refused(end in any::<Index>()) {
        prop_assert!(verifier().verify(&GOOD[..end.index(GOOD.len())]).is_err());
    }

    /// The holder of the key can sign anything, which must be read correctly or refused.
    #[test]
    fn any_claims_are_read_or_refused(claims in any_claims(), header in any_header()) {
        if let Ok(verified) = verifier().verify(&sign(header.as_bytes(), claims.as_bytes())) {
            let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
            prop_assert_eq!(claims["sub"].as_str(), Some(verified.user.as_str()));
            prop_assert_eq!(claims["iss"].as_str(), Some("backend"));
            prop_assert!(claims["exp"].as_f64().unwrap() > unix_time().as_secs_f64() - CLOCK_LEEWAY.as_secs_f64());
        }
    }

    #[test]
    fn any_signed_bytes_are_refused(header in vec(any::<u8>(), 0..60), claims in vec(any::<u8>(), 0..60)) {
        prop_assert!(verifier().verify(&sign(&header, &claims)).is_err());
        prop_assert!(verifier().verify(&sign(HEADER.as_bytes(), &claims)).is_err());
    }
}

#[test]
fn the_random_claims_are_good_at_times() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let good = (0..1000).filter(|_| {
        let claims = any_claims().new_tree(&mut runner).unwrap().current();
        verifier().verify(&sign(HEADER.as_bytes(), claims.as_bytes())).is_ok()
    });
    assert!(good.count() > 20);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,3}"]
}

/// Values that some claim may have, or none.
const OTHERS: &[&str] =
    &["null", "0", "-1", "1e300", "1e999", "4102444800.5", "\"\"", "[]", "[\"im\"]", "{}", "true", "nan"];

/// Mostly the valid value.
fn any_value(good: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(good.to_owned()), 1 => proptest::sample::select(OTHERS).prop_map(Into::into)]
}

fn any_claims() -> impl Strategy<Value = String> {
    let claim =
        |name: &'static str, good| any_value(good).prop_map(move |value| format!("\"{name}\":{value}"));
    let claims = (
        claim("sub", "\"alice\""),
        claim("iss", "\"backend\""),
        claim("aud", "\"im\""),
        claim("exp", "4102444800"),
        proptest::option::weighted(0.3, claim("nbf", "0")),
        proptest::option::weighted(0.1, claim("exp", "4102444800")),
    );
    claims.prop_map(|(sub, iss, aud, exp, nbf, again)| {
        let claims: Vec<_> = [sub, iss, aud, exp].into_iter().chain(nbf).chain(again).collect();
        format!("{{{}}}", claims.join(","))
    })
}

fn any_header() -> impl Strategy<Value = String> {
    let kid = proptest::sample::select(&["\"hs\"", "\"ed\"", "\"\"", "null", "7"][..]);
    let algorithm = proptest::sample::select(&["HS256", "HS384", "EdDSA", "none", "hs256", ""][..]);
    prop_oneof![
        2 => Just(HEADER.to_owned()),
        1 => (algorithm, kid).prop_map(|(alg, kid)| format!(r#"{{"alg":"{alg}","kid":{kid}}}"#)),
    ]
}
