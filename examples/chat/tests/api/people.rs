//! Friends and blocked people: the rules hold for any client.

use im_sdk::{
    client::PublishError,
    content::{Change, Content},
    id::{MessageId, UserId},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Person, Program, text};

fn id(person: &Person<'_>) -> UserId {
    person.id.parse().unwrap()
}

/// Sends a message that must be refused with this number.
async fn refused(from: &im_sdk::client::Client, to: UserId, content: impl Into<Content>, number: i32) {
    match from.send(to, content).outcome().await {
        Err(PublishError::Refused { code, .. }) => assert_eq!(code, number),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn strangers_cannot_write_whatever_client_they_use() {
    let program = Program::start(&[]);
    let (alice, eve) = (program.person("alice").await, program.person("eve").await);
    let (phone, evil) = (alice.device("other/phone").await, eve.device("other/evil").await);
    refused(&evil, id(&alice), "hello", 41).await;
    let reaction = Change::react(MessageId::from_u64(7).unwrap(), "👍");
    assert!(evil.send(id(&alice), reaction).outcome().await.is_err());
    refused(&evil, "workspace".parse().unwrap(), "hello", 46).await;

    eve.befriend(&alice).await;
    evil.send(id(&alice), "now").outcome().await.unwrap();
    text(&phone, "now").await;

    alice.ok(Method::PUT, "/api/blocks/eve", Value::Null).await;
    refused(&evil, id(&alice), "again", 41).await;
    assert_eq!(alice.get("/api/friends").await["friends"], json!([]));
    eve.ok(Method::POST, "/api/friends/alice", json!({ "text": "please" })).await;
    assert_eq!(alice.get("/api/friends").await["requests"], json!([]), "a blocked person is not heard");
    alice.refused(Method::POST, "/api/friends/eve", json!({}), "blocked").await;
    alice.ok(Method::DELETE, "/api/blocks/eve", Value::Null).await;
    alice.ok(Method::POST, "/api/friends/eve", json!({})).await;
    alice.refused(Method::PUT, "/api/friends/eve/remark", json!({ "remark": "x" }), "not_friends").await;
}

#[tokio::test]
async fn a_request_is_accepted_refused_or_taken_back() {
    let program = Program::start(&[]);
    let [alice, bob] = [program.person("alice").await, program.person("bob").await];
    alice.ok(Method::POST, "/api/friends/bob", json!({ "text": "hi" })).await;
    let asked = bob.get("/api/friends").await;
    assert_eq!(
        (&asked["requests"][0]["text"], &asked["requests"][0]["direction"]),
        (&json!("hi"), &json!("in"))
    );
    bob.ok(Method::POST, "/api/friends/alice/refuse", Value::Null).await;
    bob.refused(Method::POST, "/api/friends/alice/refuse", Value::Null, "no_request").await;
    alice.ok(Method::POST, "/api/friends/bob", json!({})).await;
    alice.ok(Method::POST, "/api/friends/bob/refuse", Value::Null).await;
    assert_eq!(bob.get("/api/friends").await["requests"], json!([]), "taken back");
    alice.befriend(&bob).await;
    alice.ok(Method::PUT, "/api/friends/bob/remark", json!({ "remark": "Bobby" })).await;
    assert_eq!(alice.get("/api/friends").await["friends"][0]["remark"], "Bobby");
    alice.refused(Method::POST, "/api/friends/bob", json!({}), "already_friends").await;
    alice.refused(Method::POST, "/api/friends/alice", json!({}), "yourself").await;
    alice.refused(Method::POST, "/api/friends/nobody", json!({}), "no_such_user").await;
    alice.ok(Method::DELETE, "/api/friends/bob", Value::Null).await;
    alice.refused(Method::DELETE, "/api/friends/bob", Value::Null, "not_friends").await;
}

#[tokio::test]
async fn names_are_checked_and_found() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    for (change, code) in [
        (json!({ "name": "\u{202E}" }), "invalid_name"),
        (json!({ "name": "" }), "invalid_name"),
        (json!({ "about": "x".repeat(501) }), "too_long"),
        (json!({ "language": "xx" }), "malformed"),
    ] {
        alice.refused(Method::PATCH, "/api/me", change, code).await;
    }
    let me =
        alice.ok(Method::PATCH, "/api/me", json!({ "name": "爱丽丝 Smith", "about": "<b>hi</b>" })).await;
    assert_eq!(me["about"], "<b>hi</b>", "kept as it is; pages show it as text");
    for query in ["爱丽", "smi", "alice"] {
        let found = alice.get(&format!("/api/search?q={query}")).await;
        assert_eq!(found["people"][0]["id"], "alice", "{query}");
    }
    assert_eq!(alice.get("/api/search?q=%25").await["people"], json!([]), "a wildcard finds nobody");
    let taken = json!({ "id": "alice", "name": "A", "password": "a-password", "language": "en" });
    assert_eq!(program.ask(Method::POST, "/api/accounts", taken).await.code(), "id_taken");
    let bob = program.person("bob").await;
    alice.ok(Method::PATCH, "/api/me", json!({ "address": "a@example.com" })).await;
    bob.refused(Method::PATCH, "/api/me", json!({ "address": "A@example.com" }), "address_taken").await;
}

#[tokio::test]
async fn roles_are_given_by_those_who_may() {
    let program = Program::start(&[]);
    // The first account of a deployment is its administrator.
    let [alice, bob] = [program.person("alice").await, program.person("bob").await];
    bob.refused(Method::PUT, "/api/users/bob/roles/administrator", Value::Null, "not_permitted").await;
    bob.refused(Method::GET, "/api/audit", Value::Null, "not_permitted").await;
    bob.refused(Method::POST, "/api/departments", json!({ "name": "Mine" }), "not_permitted").await;
    alice.refused(Method::PUT, "/api/users/bob/roles/emperor", Value::Null, "not_found").await;
    alice.ok(Method::PUT, "/api/users/bob/roles/administrator", Value::Null).await;
    let audit = bob.get("/api/audit").await;
    assert!(audit["entries"].as_array().unwrap().iter().any(|entry| entry["action"] == "role.grant"));
    alice.ok(Method::DELETE, "/api/users/bob/roles/administrator", Value::Null).await;
    bob.refused(Method::GET, "/api/audit", Value::Null, "not_permitted").await;
}
