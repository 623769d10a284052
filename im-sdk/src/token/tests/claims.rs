//! Tests of claims.

use super::*;

fn verify(claims: &serde_json::Value) -> Result<VerifiedToken, TokenError> {
    verifier().verify(&forge(Some("hs"), claims))
}

/// Verifies a token with this text in place of `exp`.
fn verify_exp(exp: &str) -> Result<VerifiedToken, TokenError> {
    let claims = format!(r#"{{"sub":"alice","iss":"backend","aud":"im","exp":{exp}}}"#);
    verifier().verify(&sign(HEADER.as_bytes(), claims.as_bytes()))
}

fn now() -> u64 {
    unix_time().as_secs()
}

#[test]
fn wrong_claims_are_told_apart() {
    let cases = [
        (with("exp", json!(now() - 60)), TokenError::Expired),
        (with("nbf", json!(now() + 600)), TokenError::NotYetValid),
        (with("iss", json!("somebody")), TokenError::WrongIssuer),
        (with("aud", json!("else")), TokenError::WrongAudience),
        (with("sub", json!("not a user")), TokenError::InvalidUser),
        (with("sub", json!(7)), TokenError::Malformed),
    ];
    for (claims, expected) in cases {
        assert_eq!(verify(&claims), Err(expected), "{claims}");
    }
    for missing in ["sub", "iss", "aud", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert_eq!(verify(&claims), Err(TokenError::MissingClaim(missing)), "{missing}");
    }
}

#[test]
fn an_audience_may_be_a_list() {
    for aud in [json!(["im"]), json!(["web", "im"]), json!(["im", "im"])] {
        assert!(verify(&with("aud", aud.clone())).is_ok(), "{aud}");
    }
    for aud in [json!([]), json!(["web", "IM"]), json!(["im "])] {
        assert_eq!(verify(&with("aud", aud.clone())), Err(TokenError::WrongAudience), "{aud}");
    }
    for aud in [json!(["im", 7]), json!([["im"]]), json!({"im": true}), json!(null), json!(true)] {
        assert_eq!(verify(&with("aud", aud.clone())), Err(TokenError::Malformed), "{aud}");
    }
}

#[test]
fn an_issuer_is_one() {
    for iss in [json!(["backend"]), json!([]), json!(["backend", "somebody"]), json!(null), json!(7)] {
        assert_eq!(verify(&with("iss", iss.clone())), Err(TokenError::Malformed), "{iss}");
    }
}

#[test]
fn a_subject_is_a_user_id() {
    let longest = "u".repeat(64);
    assert_eq!(verify(&with("sub", json!(longest))).unwrap().user.as_str(), longest);
    for sub in ["", "a b", "a{b", "ü", "a\u{0}", "a\nb", &"u".repeat(65)] {
        assert_eq!(verify(&with("sub", json!(sub))), Err(TokenError::InvalidUser), "{sub:?}");
    }
    for sub in [json!(null), json!(["alice"]), json!({"name": "alice"})] {
        assert_eq!(verify(&with("sub", sub.clone())), Err(TokenError::Malformed), "{sub}");
    }
}

#[test]
fn times_may_have_a_fraction() {
    let in_ten_minutes = now() + 600;
    let verified = verify(&with("exp", json!(in_ten_minutes as f64 + 0.5))).unwrap();
    assert_eq!(verified.expires_at, in_ten_minutes + 1);
    assert_eq!(verify(&with("exp", json!(now() as f64 - 60.5))), Err(TokenError::Expired));
    assert!(verify(&with("nbf", json!(now() as f64 - 0.5))).is_ok());
    assert_eq!(verify(&with("nbf", json!(now() as f64 + 60.5))), Err(TokenError::NotYetValid));
    assert!(verify(&with("iat", json!(now() as f64 - 0.5))).is_ok());
}

#[test]
fn clocks_may_differ() {
    // A second is left for the test itself.
    let leeway = CLOCK_LEEWAY.as_secs() - 1;
    assert!(verify(&with("nbf", json!(now() + leeway))).is_ok());
    assert_eq!(verify(&with("nbf", json!(now() + leeway + 3))), Err(TokenError::NotYetValid));
    assert!(verify(&with("exp", json!(now() - leeway + 1))).is_ok());
    assert_eq!(verify(&with("exp", json!(now() - leeway - 3))), Err(TokenError::Expired));
}

#[test]
fn times_of_any_size_are_read() {
    for exp in ["1e300", "18446744073709551615", "18446744073709551616", "99999999999999999999999"] {
        assert!(verify_exp(exp).unwrap().expires_at > 1 << 60, "{exp}");
    }
    for exp in ["0", "-0.0", "-1", "-1e300", "-9223372036854775809", "1e-300", "1000"] {
        assert_eq!(verify_exp(exp), Err(TokenError::Expired), "{exp}");
    }
}

#[test]
fn what_is_no_number_is_no_time() {
    let no_numbers = [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "null",
        "true",
        "\"4102444800\"",
        "[1]",
        "{}",
        "",
    ];
    for exp in no_numbers {
        assert_eq!(verify_exp(exp), Err(TokenError::Malformed), "{exp}");
    }
    for nbf in [json!(null), json!("0"), json!([0]), json!(false)] {
        assert_eq!(verify(&with("nbf", nbf.clone())), Err(TokenError::Malformed), "{nbf}");
    }
}

#[test]
fn a_claim_that_is_there_twice_is_malformed() {
    let good = claims().to_string();
    for twice in [
        r#""sub":"bob""#,
        r#""iss":"backend""#,
        r#""aud":"im""#,
        r#""exp":4102444800"#,
        r#""nbf":0,"nbf":4102444800"#,
    ] {
        let claims = good.replacen('{', &format!("{{{twice},"), 1);
        let token = sign(HEADER.as_bytes(), claims.as_bytes());
        assert_eq!(verifier().verify(&token), Err(TokenError::Malformed), "{claims}");
    }
}

#[test]
fn other_claims_are_ignored() {
    let mut claims = claims();
    for (name, value) in [("iat", json!("then")), ("jti", json!(7)), ("name", json!({"first": "Alice"}))] {
        claims[name] = value;
    }
    assert!(verify(&claims).is_ok());
}

#[test]
fn what_is_no_object_is_malformed() {
    for claims in ["", "[]", "null", "7", "\"alice\"", "{", "\u{feff}{}"] {
        let token = sign(HEADER.as_bytes(), claims.as_bytes());
        assert_eq!(verifier().verify(&token), Err(TokenError::Malformed), "{claims:?}");
    }
    assert_eq!(verifier().verify(&sign(HEADER.as_bytes(), &[0xff, 0xfe])), Err(TokenError::Malformed));
    assert!(verifier().verify(&sign(HEADER.as_bytes(), b"{}}")).is_err());
}
