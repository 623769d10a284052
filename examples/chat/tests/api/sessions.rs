//! Signing in, staying signed in, and being signed out.

use im_sdk::client::Event;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Person, Program, next};

async fn refresh(program: &Program, cookie: &str) -> Answer {
    let request = program
        .http()
        .post(program.url("/api/sessions/refresh"))
        .header("X-Chat", "1")
        .header("Cookie", cookie);
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_refresh_token_is_replaced_and_one_that_is_used_again_ends_the_session() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    let second = refresh(&program, &alice.cookie).await;
    assert_eq!(second.status, StatusCode::OK);
    let again = refresh(&program, &alice.cookie).await;
    assert_eq!(again.status, StatusCode::OK, "another tab, at the same moment");
    assert_eq!(again.cookie, None, "the cookie that came with the first answer stays");
    let third = refresh(&program, second.cookie.as_ref().unwrap()).await;
    assert_eq!(third.status, StatusCode::OK);
    let old = Person { token: second.token(), ..alice };
    old.refused(Method::GET, "/api/me", Value::Null, "signed_out").await;
    let now = Person { token: third.token(), cookie: third.cookie.clone().unwrap(), ..old };
    now.get("/api/me").await;

    assert_eq!(refresh(&program, "chat_refresh=guessed").await.code(), "signed_out");
    assert_eq!(refresh(&program, "other=1").await.code(), "signed_out");
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_session_of_thief_and_victim() {
    let data = tempfile::tempdir().unwrap();
    let program = Program::start_in(data.path(), &["--refresh-grace-seconds", "0"]);
    let alice = program.person("alice").await;
    let thief = refresh(&program, &alice.cookie).await;
    assert_eq!(thief.status, StatusCode::OK);
    // The victim comes back with the token that the thief has used.
    assert_eq!(refresh(&program, &alice.cookie).await.code(), "signed_out");
    let thief = Person { token: thief.token(), cookie: thief.cookie.unwrap(), ..alice };
    thief.refused(Method::GET, "/api/me", Value::Null, "signed_out").await;
    assert_eq!(refresh(&program, &thief.cookie).await.code(), "signed_out");
}

#[tokio::test]
async fn a_sign_in_begins_a_session_of_its_own_whatever_the_browser_had() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    let sign_in = json!({ "id": "alice", "password": "alice-password", "device_name": "phone" });
    let request = program.http().post(program.url("/api/sessions")).header("X-Chat", "1").json(&sign_in);
    let answer =
        Answer::of(request.header("Cookie", "chat_refresh=chosen-by-an-attacker").send().await.unwrap())
            .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.cookie.as_ref().unwrap().contains("chosen-by-an-attacker"));
    assert_eq!(refresh(&program, "chat_refresh=chosen-by-an-attacker").await.code(), "signed_out");
    assert_eq!(alice.get("/api/sessions").await["sessions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn requests_from_other_sites_change_nothing() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    // What a form or a script of another site can send: the cookie, and no header of its own.
    for (method, path) in [
        (Method::POST, "/api/sessions/refresh"),
        (Method::DELETE, "/api/sessions"),
        (Method::PATCH, "/api/me"),
    ] {
        let request = program.http().request(method, program.url(path)).header("Cookie", &alice.cookie);
        let answer =
            Answer::of(request.bearer_auth(&alice.token).json(&json!({})).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "forged"), "{path}");
    }
    alice.get("/api/me").await;
}

#[tokio::test]
async fn signing_out_everywhere_closes_the_sockets() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    let phone = alice.device("other/phone").await;
    alice.ok(Method::DELETE, "/api/sessions", Value::Null).await;
    let stopped = next(&phone, "its socket was closed", |event| matches!(event, Event::Stopped { .. })).await;
    assert!(format!("{stopped:?}").contains("signed out everywhere"), "{stopped:?}");
    alice.refused(Method::GET, "/api/me", Value::Null, "signed_out").await;
    alice.refused(Method::POST, "/api/im-token", json!({}), "signed_out").await;
    assert_eq!(refresh(&program, &alice.cookie).await.code(), "signed_out");
}

#[tokio::test]
async fn a_remote_sign_out_closes_that_device_alone() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    let laptop = alice.device("desktop/laptop").await;
    let sign_in = json!({ "id": "alice", "password": "alice-password", "device_name": "phone" });
    let answer = program.ask(Method::POST, "/api/sessions", sign_in).await;
    let on_phone = Person {
        program: &program,
        id: "alice".into(),
        token: answer.token(),
        cookie: answer.cookie.clone().unwrap(),
    };
    let phone = on_phone.device("other/phone").await;
    let session = answer.body["session"].as_str().unwrap();
    alice.ok(Method::DELETE, &format!("/api/sessions/{session}"), Value::Null).await;
    next(&phone, "its socket was closed", |event| matches!(event, Event::Stopped { .. })).await;
    on_phone.refused(Method::GET, "/api/me", Value::Null, "signed_out").await;
    laptop.send("alice".parse::<im_sdk::id::UserId>().unwrap(), "still here").outcome().await.unwrap();

    let bob = program.person("bob").await;
    let sessions = alice.get("/api/sessions").await;
    let session = sessions["sessions"][0]["id"].as_str().unwrap();
    bob.refused(Method::DELETE, &format!("/api/sessions/{session}"), Value::Null, "not_found").await;
    alice.get("/api/me").await;
}

#[tokio::test]
async fn passwords_are_guessed_ten_times_and_no_more() {
    let program = Program::start(&[]);
    program.person("alice").await;
    let guess = |password: &str| json!({ "id": "alice", "password": password });
    for number in 0..10 {
        let answer = program.ask(Method::POST, "/api/sessions", guess(&format!("guess-{number}"))).await;
        assert_eq!(answer.code(), "wrong_password");
    }
    let answer = program.ask(Method::POST, "/api/sessions", guess("alice-password")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many"));
    assert!(answer.body["error"]["retry_after_ms"].as_i64().unwrap() > 0);
    let nobody = program.ask(Method::POST, "/api/sessions", json!({ "id": "nobody", "password": "x" })).await;
    assert_eq!(nobody.code(), "wrong_password", "the answer does not tell who exists");
}

#[tokio::test]
async fn a_new_password_signs_the_other_sessions_out() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    let sign_in = json!({ "id": "alice", "password": "alice-password" });
    let answer = program.ask(Method::POST, "/api/sessions", sign_in.clone()).await;
    let other = Person {
        program: &program,
        id: "alice".into(),
        token: answer.token(),
        cookie: answer.cookie.clone().unwrap(),
    };
    let change = json!({ "old": "not it", "new": "a better one" });
    alice.refused(Method::PUT, "/api/me/password", change, "wrong_password").await;
    let change = json!({ "old": "alice-password", "new": "a better one" });
    alice.ok(Method::PUT, "/api/me/password", change).await;
    other.refused(Method::GET, "/api/me", Value::Null, "signed_out").await;
    alice.get("/api/me").await;
    assert_eq!(program.ask(Method::POST, "/api/sessions", sign_in).await.code(), "wrong_password");
}

#[tokio::test]
async fn a_code_signs_in_once_and_is_guessed_five_times() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    alice.ok(Method::PATCH, "/api/me", json!({ "address": "Alice@Example.com" })).await;
    let send = || program.ask(Method::POST, "/api/sessions/code", json!({ "address": "alice@example.com" }));
    let redeem = |code: String| {
        program.ask(
            Method::POST,
            "/api/sessions/by-code",
            json!({ "address": "alice@example.com", "code": code }),
        )
    };

    assert_eq!(send().await.status, StatusCode::ACCEPTED);
    let code = program.line("code for alice@example.com: ");
    let answer = redeem(code.clone()).await;
    assert_eq!(answer.body["me"]["id"], "alice", "{}", answer.body);
    assert_eq!(redeem(code).await.code(), "wrong_code", "it was used");

    send().await;
    let code = program.line("code for alice@example.com: ");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        assert_eq!(redeem(wrong.to_owned()).await.code(), "wrong_code");
    }
    assert_eq!(redeem(code).await.code(), "wrong_code", "it was guessed too often");

    let unknown =
        program.ask(Method::POST, "/api/sessions/code", json!({ "address": "eve@example.com" })).await;
    assert_eq!(unknown.status, StatusCode::ACCEPTED, "the answer does not tell who exists");
    for _ in 0..3 {
        send().await;
    }
    assert_eq!(send().await.code(), "too_many");
}

#[tokio::test]
async fn sessions_and_messages_outlive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (token, cookie) = {
        let program = Program::start_in(data.path(), &[]);
        let alice = program.person("alice").await;
        (alice.token, alice.cookie)
    };
    let program = Program::start_in(data.path(), &[]);
    let alice = Person { program: &program, id: "alice".into(), token, cookie };
    assert_eq!(alice.get("/api/me").await["id"], "alice");
}

#[tokio::test]
async fn demo_users_are_there_in_a_demonstration_alone() {
    let program = Program::start(&[]);
    assert_eq!(
        program.ask(Method::POST, "/api/demo/sessions", json!({ "id": "maya" })).await.code(),
        "no_such_user"
    );
    let program = Program::start(&["--demo"]);
    let answer = program.ask(Method::POST, "/api/demo/sessions", json!({ "id": "maya" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let maya = Person {
        program: &program,
        id: "maya".into(),
        token: answer.token(),
        cookie: answer.cookie.clone().unwrap(),
    };
    assert!(maya.get("/api/groups").await["groups"].as_array().unwrap().len() >= 3);
    program.person("alice").await;
    assert_eq!(
        program.ask(Method::POST, "/api/demo/sessions", json!({ "id": "alice" })).await.code(),
        "no_such_user"
    );
}
