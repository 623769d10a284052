//! Files: uploads that lie, and links that are guessed.

use im_sdk::{
    client::PublishError,
    content::{Content, File, Image, Media},
    id::{ChannelId, UserId},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Person, Program};

const PNG: &[u8] = include_bytes!("pixel.png");

async fn begin(person: &Person<'_>, name: &str, content_type: &str, bytes: usize) -> String {
    let file = json!({ "name": name, "type": content_type, "bytes": bytes });
    person.ok(Method::POST, "/api/files", file).await["id"].as_str().unwrap().to_owned()
}

async fn part(person: &Person<'_>, id: &str, offset: usize, bytes: &[u8]) -> Answer {
    let request = person
        .program
        .http()
        .patch(person.program.url(&format!("/api/files/{id}")))
        .bearer_auth(&person.token);
    let request = request.header("X-Chat", "1").header("Upload-Offset", offset).body(bytes.to_vec());
    Answer::of(request.send().await.unwrap()).await
}

async fn upload(person: &Person<'_>, name: &str, content_type: &str, bytes: &[u8]) -> String {
    let id = begin(person, name, content_type, bytes.len()).await;
    for (number, chunk) in bytes.chunks(1 << 20).enumerate() {
        let answer = part(person, &id, number << 20, chunk).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    person.ok(Method::POST, &format!("/api/files/{id}/complete"), Value::Null).await;
    id
}

/// Returns the links of a file, `null` for somebody who may not read it.
async fn links(person: &Person<'_>, id: &str) -> Value {
    person.ok(Method::POST, "/api/files/links", json!({ "ids": [id] })).await["links"][id].clone()
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| b'a' + (number % 26) as u8).collect();
    let id = begin(&alice, "../../etc/letters.txt", "text/plain", bytes.len()).await;
    assert_eq!(part(&alice, &id, 0, &bytes[..1 << 20]).await.body["offset"], 1 << 20);
    assert_eq!(part(&alice, &id, 0, &bytes[..1 << 20]).await.code(), "file_offset", "a repetition");
    assert_eq!(part(&alice, &id, 5, &bytes[5..100]).await.code(), "file_offset");
    alice.refused(Method::POST, &format!("/api/files/{id}/complete"), Value::Null, "file_incomplete").await;
    assert_eq!(alice.get(&format!("/api/files/{id}")).await["offset"], 1 << 20);
    part(&alice, &id, 1 << 20, &bytes[1 << 20..2 << 20]).await;
    assert_eq!(
        part(&alice, &id, 2 << 20, &[&bytes[2 << 20..], b"x"].concat()).await.code(),
        "file_offset",
        "more than said"
    );
    part(&alice, &id, 2 << 20, &bytes[2 << 20..]).await;
    let file = alice.ok(Method::POST, &format!("/api/files/{id}/complete"), Value::Null).await;
    assert_eq!(file["name"], "letters.txt", "a name is no path");

    let url = program.url(links(&alice, &id).await["url"].as_str().unwrap());
    let whole = program.http().get(&url).send().await.unwrap();
    assert_eq!(whole.headers()["content-disposition"], "attachment; filename*=UTF-8''letters.txt");
    assert_eq!(whole.headers()["x-content-type-options"], "nosniff");
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    let range = program.http().get(&url).header("Range", "bytes=1000000-1000009").send().await.unwrap();
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.headers()["content-range"], "bytes 1000000-1000009/3000000");
    assert_eq!(range.bytes().await.unwrap(), bytes[1_000_000..1_000_010]);
    let beyond = program.http().get(&url).header("Range", "bytes=3000000-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn uploads_that_lie_about_their_type_are_refused() {
    let program = Program::start(&[]);
    let alice = program.person("alice").await;
    for (content_type, bytes) in [
        ("image/png", &b"<script>alert(1)</script>"[..]),
        ("image/gif", b"<svg onload=alert(1)>"),
        ("application/pdf", b"MZ\x90\0"),
        ("text/plain", b"\x7fELF\x02\x01\x01"),
        ("image/jpeg", PNG),
    ] {
        let id = begin(&alice, "file", content_type, bytes.len()).await;
        assert_eq!(part(&alice, &id, 0, bytes).await.code(), "file_content", "{content_type}");
    }
    let broken = [&PNG[..24], &[0; 100]].concat();
    let id = begin(&alice, "a.png", "image/png", broken.len()).await;
    part(&alice, &id, 0, &broken).await;
    alice.refused(Method::POST, &format!("/api/files/{id}/complete"), Value::Null, "file_content").await;
    for (content_type, bytes, code) in [
        ("text/html", 10, "file_type"),
        ("image/svg+xml", 10, "file_type"),
        ("image/png", 50 << 20 | 1, "file_too_large"),
        ("image/png", 0, "file_too_large"),
    ] {
        alice
            .refused(
                Method::POST,
                "/api/files",
                json!({ "name": "x", "type": content_type, "bytes": bytes }),
                code,
            )
            .await;
    }
    let id = begin(&alice, "big.txt", "text/plain", 2 << 20).await;
    assert_eq!(part(&alice, &id, 0, &vec![b'a'; (1 << 20) + 1]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    alice.ok(Method::DELETE, &format!("/api/files/{id}"), Value::Null).await;
    for _ in 0..14 {
        begin(&alice, "x.txt", "text/plain", 1).await;
    }
    alice
        .refused(
            Method::POST,
            "/api/files",
            json!({ "name": "x", "type": "text/plain", "bytes": 1 }),
            "too_many_files",
        )
        .await;
}

#[tokio::test]
async fn files_are_for_those_they_were_sent_to() {
    let program = Program::start(&[]);
    let [alice, bob, eve] = program.friends(["alice", "bob", "eve"]).await;
    let id = upload(&alice, "pixel.png", "image/png", PNG).await;
    let media = || Media::new(format!("/files/{id}")).mime_type("image/png");
    assert_eq!(links(&bob, &id).await, Value::Null);
    let (phone, evil) = (alice.device("other/a").await, eve.device("other/e").await);
    let to_bob: UserId = "bob".parse().unwrap();
    phone.send(to_bob.clone(), Image::new(media()).pixels(1, 1)).outcome().await.unwrap();
    let url = links(&bob, &id).await["url"].as_str().unwrap().to_owned();
    assert_eq!(program.http().get(program.url(&url)).send().await.unwrap().bytes().await.unwrap(), PNG);

    // Somebody who has guessed the id: neither a link, nor by sending it on.
    assert_eq!(links(&eve, &id).await, Value::Null);
    eve.refused(Method::GET, &format!("/api/files/{id}"), Value::Null, "no_such_file").await;
    eve.refused(Method::DELETE, &format!("/api/files/{id}"), Value::Null, "no_such_file").await;
    eve.refused(Method::PATCH, "/api/me", json!({ "avatar": id }), "no_such_file").await;
    assert_eq!(part(&eve, &id, 0, PNG).await.code(), "no_such_file");
    for content in [Content::from(File::new(media())), Image::new(media()).into()] {
        let sent = evil.send(to_bob.clone(), content).outcome().await;
        assert!(matches!(sent, Err(PublishError::Refused { code: 105, .. })), "{sent:?}");
    }
    let foreign = Image::new(Media::new("https://tracker.example/pixel.png"));
    let sent = evil.send(to_bob, foreign).outcome().await;
    assert!(matches!(sent, Err(PublishError::Refused { code: 106, .. })), "{sent:?}");

    // A link that was changed, or whose time was.
    let (path, query) = url.split_once('?').unwrap();
    let until = query.split('&').find(|part| part.starts_with("until=")).unwrap();
    for forged in [
        path.to_owned(),
        url.replace("variant=original", "variant=thumbnail"),
        url.replace(until, "until=9999999999999"),
        url.replace(&id, "f-aaaaaaaaaaaaaaaa"),
        url.replace("key=", "key=AAAA"),
    ] {
        let status = program.http().get(program.url(&forged)).send().await.unwrap().status();
        assert!(status.is_client_error(), "{forged}: {status}");
    }

    // A group: who comes later may read it too, who is out may not.
    let group = alice.group("Team", &[&bob]).await;
    let other = upload(&alice, "notes.txt", "text/plain", b"secret").await;
    let content = File::new(Media::new(format!("/files/{other}")));
    phone.send(group.parse::<ChannelId>().unwrap(), content).outcome().await.unwrap();
    assert_ne!(links(&bob, &other).await, Value::Null);
    assert_eq!(links(&eve, &other).await, Value::Null);
    alice.ok(Method::POST, &format!("/api/groups/{group}/members"), json!({ "users": ["eve"] })).await;
    assert_ne!(links(&eve, &other).await, Value::Null);
    alice.ok(Method::DELETE, &format!("/api/groups/{group}/members/eve"), Value::Null).await;
    assert_eq!(links(&eve, &other).await, Value::Null);

    // A profile's picture is for everybody.
    alice.ok(Method::PATCH, "/api/me", json!({ "avatar": id })).await;
    assert_ne!(links(&eve, &id).await, Value::Null);
}
