//! Tokens: only valid ones are accepted, and refusals say why.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use im_proto::{close::CloseCode, limits::MAX_HELLO_BYTES, pb, pb::frame::Body};
use im_sdk::{
    backend::{Incoming, Message, user},
    client::{Client, ClientConfig, TokenRequest},
    id::UserId,
    token::{CLOCK_LEEWAY, SigningKey, TokenMinter},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    raw::{Heard, Raw, hello},
    stack::{AUDIENCE, ISSUER, KEY_ID, PATIENCE, SECRET, ServerOptions, token},
    wait_until,
};

everywhere!(
    good_tokens_get_in,
    bad_tokens_do_not,
    versions_and_devices_are_checked,
    a_connection_ends_with_its_token,
    a_connection_outlives_its_token_where_that_is_chosen,
    a_client_goes_on_with_a_fresh_token,
);

const OTHER_SECRET: &str = "another secret that is long enough for HS256";
const HOUR: Duration = Duration::from_secs(3600);

fn mint(key_id: &str, secret: &str, issuer: &str, audience: &str) -> String {
    let key = SigningKey::hs256(key_id, secret.as_bytes()).unwrap();
    TokenMinter::new(key, issuer, audience).mint(&UserId::parse("mallory").unwrap(), HOUR).unwrap()
}

/// Assembles a token of a header, a payload and an arbitrary signature.
fn assemble(header: &str, payload: &str, signature: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{signature}", encode(header), encode(payload))
}

fn payload(expires: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    format!(r#"{{"sub":"mallory","iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{}}}"#, now + expires)
}

fn sign(header: &str, payload: &str) -> String {
    let unsigned = assemble(header, payload, "");
    let unsigned = unsigned.trim_end_matches('.');
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, unsigned.as_bytes()));
    format!("{unsigned}.{signature}")
}

async fn good_tokens_get_in(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let welcome = Raw::connect(&stack, 0, via).await.log_in("alice").await;
    assert_eq!((welcome.user.as_str(), welcome.version), ("alice", 1));
    assert!(welcome.heartbeat_ms > 0 && welcome.limits.unwrap().max_frame_bytes > 0);
    let header = format!(r#"{{"alg":"HS256","kid":"{KEY_ID}"}}"#);
    let list = format!(r#"["somebody","{AUDIENCE}"]"#);
    let good = [
        ("the tests' own", payload(60)),
        ("a fraction of a second", payload(60).replace('}', ".5}")),
        ("several audiences", payload(60).replace(&format!("\"{AUDIENCE}\""), &list)),
    ];
    for (what, payload) in good {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.hello(sign(&header, &payload)).await;
        let heard = raw.heard().await;
        assert!(matches!(heard, Heard::Frame(Body::Welcome(_))), "{what}: {heard:?}");
    }
}

async fn bad_tokens_do_not(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let header = format!(r#"{{"alg":"HS256","kid":"{KEY_ID}"}}"#);
    let none = format!(r#"{{"alg":"none","kid":"{KEY_ID}"}}"#);
    let good = token("alice");
    let (signed, _) = good.rsplit_once('.').unwrap();
    let cases = [
        ("expired", sign(&header, &payload(-3600)), CloseCode::TokenExpired),
        (
            "expired, with a fraction",
            sign(&header, &payload(-3600).replace('}', ".5}")),
            CloseCode::TokenExpired,
        ),
        (
            "an extension",
            sign(&header.replace('}', r#","crit":["x"],"x":1}"#), &payload(60)),
            CloseCode::TokenInvalid,
        ),
        (
            "several issuers",
            sign(&header, &payload(60).replace(&format!("\"{ISSUER}\""), &format!("[\"{ISSUER}\"]"))),
            CloseCode::TokenInvalid,
        ),
        ("no user id", sign(&header, &payload(60).replace("mallory", "mal lory")), CloseCode::TokenInvalid),
        (
            "a time that is no number",
            sign(&header, &payload(60).replace('}', r#","nbf":"soon"}"#)),
            CloseCode::TokenInvalid,
        ),
        ("forged", mint(KEY_ID, OTHER_SECRET, ISSUER, AUDIENCE), CloseCode::TokenInvalid),
        ("wrong audience", mint(KEY_ID, SECRET, ISSUER, "somebody else"), CloseCode::TokenInvalid),
        ("wrong issuer", mint(KEY_ID, SECRET, "somebody else", AUDIENCE), CloseCode::TokenInvalid),
        ("unknown kid", mint("unknown", SECRET, ISSUER, AUDIENCE), CloseCode::TokenInvalid),
        ("no kid", sign(r#"{"alg":"HS256"}"#, &payload(60)), CloseCode::TokenInvalid),
        ("alg none", assemble(&none, &payload(60), ""), CloseCode::TokenInvalid),
        (
            "another alg",
            assemble(&header.replace("HS256", "HS512"), &payload(60), "AAAA"),
            CloseCode::TokenInvalid,
        ),
        ("no signature", format!("{signed}."), CloseCode::TokenInvalid),
        ("no token", String::new(), CloseCode::TokenInvalid),
        ("no JWT", "x".repeat(4000), CloseCode::TokenInvalid),
        ("larger than Hello may be", "x".repeat(MAX_HELLO_BYTES), CloseCode::FrameTooLarge),
    ];
    for (what, token, expected) in cases {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.hello(token).await;
        assert_eq!(raw.heard().await, Heard::Closed(expected), "{what}");
    }
    let im = stack.backend().await;
    stack.wait_online(&im, "mallory", 0).await;
}

/// Returns an expired token that the leeway for clock differences accepts for three more seconds.
fn short_lived() -> String {
    let leeway = CLOCK_LEEWAY.as_secs() as i64;
    sign(&format!(r#"{{"alg":"HS256","kid":"{KEY_ID}"}}"#), &payload(3 - leeway))
}

async fn a_connection_ends_with_its_token(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let mut lasting = Raw::connect(&stack, 0, via).await;
    lasting.log_in("alice").await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.hello(short_lived()).await;
    assert!(matches!(raw.heard().await, Heard::Frame(Body::Welcome(_))));
    assert_eq!(raw.closed().await, CloseCode::TokenExpired);
    lasting.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
    assert_eq!(lasting.heard().await, Heard::Frame(Body::Pong(pb::Pong { echo: 1 })));
}

async fn a_connection_outlives_its_token_where_that_is_chosen(setup: Setup, via: Via) {
    let options = ServerOptions { close_expired: false, ..ServerOptions::default() };
    let stack = Stack::start_with(setup, 1, options).await;
    let Body::Hello(mut own) = hello(short_lived()) else { unreachable!() };
    own.device = Some(pb::Device { terminal: pb::Terminal::Desktop.into(), id: "lasting".into() });
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.send_frame(Body::Hello(own)).await;
    assert!(matches!(raw.heard().await, Heard::Frame(Body::Welcome(_))));
    // Tokens that were minted later have expired too, by more than the second after which servers check
    // again.
    for _ in 0..2 {
        let token = short_lived();
        wait_until("the server takes the token for expired", PATIENCE, async || {
            let mut late = Raw::connect(&stack, 0, via).await;
            late.hello(token.clone()).await;
            late.heard().await == Heard::Closed(CloseCode::TokenExpired)
        })
        .await;
    }
    raw.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
    assert_eq!(raw.heard().await, Heard::Frame(Body::Pong(pb::Pong { echo: 1 })));
}

async fn a_client_goes_on_with_a_fresh_token(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) });
    let _service = service.await.unwrap();
    let (asked, mut why) = tokio::sync::mpsc::unbounded_channel();
    let tokens = move |request: TokenRequest| {
        let token = if request == TokenRequest::First { short_lived() } else { token("mallory") };
        asked.send(request).unwrap();
        Ok(token)
    };
    let endpoint = stack.servers[0].endpoint(via).parse().unwrap();
    let mut config = ClientConfig::new(vec![endpoint], "web/tab".parse().unwrap(), Arc::new(tokens));
    config.trust = stack.certificate.trust();
    let client = Client::open(config).unwrap();
    client.connect();
    let mut client = TestClient::new(client);
    client.up_to_date().await;
    assert_eq!(why.recv().await.unwrap(), TokenRequest::First);

    // Messages continue while the connection ends and the next one is made.
    let mut sent = 0;
    let again = loop {
        sent += 1;
        im.send(Message::to(user("mallory")).text(sent.to_string())).await.unwrap();
        match tokio::time::timeout(Duration::from_millis(50), why.recv()).await {
            Ok(again) => break again.unwrap(),
            Err(_) => assert!(sent < 400, "the connection outlives its token"),
        }
    };
    let code = CloseCode::TokenExpired;
    assert!(matches!(again, TokenRequest::Rejected { code: found, .. } if found == code), "{again:?}");
    for _ in 0..10 {
        sent += 1;
        im.send(Message::to(user("mallory")).text(sent.to_string())).await.unwrap();
    }
    for number in 1..=sent {
        assert_eq!(client.text().await, number.to_string());
    }
}

async fn versions_and_devices_are_checked(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let with = |change: fn(&mut pb::Hello)| {
        let Body::Hello(mut hello) = hello(token("alice")) else { unreachable!() };
        change(&mut hello);
        Body::Hello(hello)
    };
    let cases = [
        (with(|hello| (hello.min_version, hello.max_version) = (90, 99)), CloseCode::UnsupportedVersion),
        (with(|hello| (hello.min_version, hello.max_version) = (1, 0)), CloseCode::UnsupportedVersion),
        (with(|hello| hello.device = None), CloseCode::ProtocolError),
        (with(|hello| hello.device.as_mut().unwrap().id = "a b".into()), CloseCode::ProtocolError),
        (with(|hello| hello.device.as_mut().unwrap().id.clear()), CloseCode::ProtocolError),
    ];
    for (hello, expected) in cases {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.send_frame(hello).await;
        assert_eq!(raw.heard().await, Heard::Closed(expected));
    }
    // A newer device that still supports this version can connect.
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.send_frame(with(|hello| hello.max_version = 99)).await;
    assert!(matches!(raw.heard().await, Heard::Frame(Body::Welcome(_))));
}
