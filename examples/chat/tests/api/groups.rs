//! Groups and departments: roles, silences, links, and the SDK's own way in.

use im_sdk::{
    client::{Client, Event, PublishError, SendRequest},
    content::Content,
    id::ChannelId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Program, next, text};

async fn refused(from: &Client, to: &ChannelId, content: impl Into<Content>, number: i32) {
    refused_send(from.send(to.clone(), content), number).await;
}

async fn refused_send(sent: SendRequest, number: i32) {
    match sent.outcome().await {
        Err(PublishError::Refused { code, .. }) => assert_eq!(code, number),
        other => panic!("{other:?}"),
    }
}

/// Waits for a notice of this kind.
async fn notice(client: &Client, kind: &str) {
    let is_it = |event: &Event| match event {
        Event::Message(message) => {
            matches!(&message.content.body, im_sdk::content::Body::Notice(notice) if notice.kind == kind)
        }
        _ => false,
    };
    next(client, kind, is_it).await;
}

#[tokio::test]
async fn roles_are_not_raised_by_crafted_requests() {
    let program = Program::start(&[]);
    let [olga, adam, mia, eve] = program.friends(["olga", "adam", "mia", "eve"]).await;
    let group = olga.group("Team", &[&adam, &mia]).await;
    let path = |rest: &str| format!("/api/groups/{group}{rest}");
    olga.ok(Method::PATCH, &path("/members/adam"), json!({ "role": "admin" })).await;

    // A member.
    for (method, rest, body) in [
        (Method::PATCH, "/members/mia", json!({ "role": "admin" })),
        (Method::PATCH, "/members/adam", json!({ "role": "member" })),
        (Method::PATCH, "/members/olga", json!({ "muted_until_at": i64::MAX })),
        (Method::DELETE, "/members/adam", Value::Null),
        (Method::PATCH, "", json!({ "name": "Mine" })),
        (Method::PATCH, "", json!({ "all_muted": true })),
        (Method::PUT, "/owner", json!({ "user": "mia" })),
        (Method::POST, "/link", Value::Null),
        (Method::GET, "/requests", Value::Null),
        (Method::DELETE, "", Value::Null),
    ] {
        mia.refused(method, &path(rest), body, "group_role").await;
    }
    // An admin.
    for (method, rest, body) in [
        (Method::PATCH, "/members/mia", json!({ "role": "admin" })),
        (Method::PATCH, "/members/adam", json!({ "role": "owner" })),
        (Method::DELETE, "/members/olga", Value::Null),
        (Method::PATCH, "/members/olga", json!({ "muted_until_at": i64::MAX })),
        (Method::PUT, "/owner", json!({ "user": "adam" })),
        (Method::DELETE, "", Value::Null),
    ] {
        adam.refused(method, &path(rest), body, "group_role").await;
    }
    olga.refused(Method::PATCH, &path("/members/mia"), json!({ "role": "owner" }), "malformed").await;
    olga.refused(Method::DELETE, &path("/members/olga"), Value::Null, "owner_stays").await;
    // Somebody else sees nothing of it.
    eve.refused(Method::GET, &path(""), Value::Null, "no_such_group").await;
    eve.refused(Method::GET, &path("/members"), Value::Null, "not_member").await;
    eve.refused(Method::POST, &path("/members"), json!({ "users": ["eve"] }), "not_member").await;
    eve.refused(Method::POST, &path("/requests"), json!({}), "no_such_group").await;

    olga.ok(Method::PUT, &path("/owner"), json!({ "user": "mia" })).await;
    assert_eq!(olga.get(&path("")).await["my_role"], "admin");
    assert_eq!(mia.get(&path("")).await["my_role"], "owner");
    olga.refused(Method::PUT, &path("/owner"), json!({ "user": "olga" }), "group_role").await;
}

#[tokio::test]
async fn silences_hold_for_messages_edits_and_mentions_of_everybody() {
    let program = Program::start(&[]);
    let [olga, mia] = program.friends(["olga", "mia"]).await;
    let group = olga.group("Team", &[&mia]).await;
    let channel: ChannelId = group.parse().unwrap();
    let path = format!("/api/groups/{group}");
    let (hers, device) = (olga.device("other/a").await, mia.device("other/b").await);
    device.send(channel.clone(), "hi").outcome().await.unwrap();
    let Event::Message(sent) = text(&hers, "hi").await else { unreachable!() };
    let sent = sent.reference(&"mia".parse().unwrap()).unwrap();

    refused(&device, &channel, Content::text("@all").mention_everybody(), 70).await;
    hers.send(channel.clone(), Content::text("@all").mention_everybody()).outcome().await.unwrap();
    olga.ok(Method::PATCH, &path, json!({ "all_muted": true })).await;
    refused(&device, &channel, "again", 64).await;
    refused_send(device.edit(&sent, "ho"), 64).await;
    refused_send(device.react(&sent, "👍"), 64).await;
    hers.send(channel.clone(), "I may").outcome().await.unwrap();
    olga.ok(Method::PATCH, &path, json!({ "all_muted": false })).await;
    olga.ok(
        Method::PATCH,
        &format!("{path}/members/mia"),
        json!({ "muted_until_at": 4_000_000_000_000_i64 }),
    )
    .await;
    refused(&device, &channel, "again", 63).await;
    olga.ok(Method::PATCH, &format!("{path}/members/mia"), json!({ "muted_until_at": 0 })).await;
    device.send(channel.clone(), "free").outcome().await.unwrap();
    text(&hers, "free").await;
    device.edit(&sent, "ho").outcome().await.unwrap();
    refused_send(device.pin(&sent), 62).await;
    refused_send(device.edit(&sent, Content::text("@all").mention_everybody()), 70).await;
    hers.recall(&sent).outcome().await.unwrap();
}

#[tokio::test]
async fn members_come_by_invitation_link_and_request_and_go() {
    let program = Program::start(&[]);
    let [olga, mia, ned] = program.friends(["olga", "mia", "ned"]).await;
    let zoe = program.person("zoe").await;
    let group = olga.group("Team", &[&mia]).await;
    let channel: ChannelId = group.parse().unwrap();
    let path = |rest: &str| format!("/api/groups/{group}{rest}");
    let device = zoe.device("other/z").await;
    refused(&device, &channel, "let me in", -1).await;

    olga.refused(Method::POST, &path("/members"), json!({ "users": ["zoe"] }), "not_friends").await;
    mia.ok(Method::POST, &path("/members"), json!({ "users": ["ned"] })).await;
    assert_eq!(ned.get(&path("")).await["member_count"], 3);

    let link = olga.ok(Method::POST, &path("/link"), Value::Null).await["link"].as_str().unwrap().to_owned();
    let renewed =
        olga.ok(Method::POST, &path("/link"), Value::Null).await["link"].as_str().unwrap().to_owned();
    zoe.refused(Method::POST, &format!("/api/links/{link}"), Value::Null, "bad_link").await;
    assert_eq!(zoe.get(&format!("/api/links/{renewed}")).await["group"]["name"], "Team");
    zoe.ok(Method::POST, &format!("/api/links/{renewed}"), Value::Null).await;
    notice(&device, "group.joined").await;
    device.send(channel.clone(), "thanks").outcome().await.unwrap();

    olga.ok(Method::DELETE, &path("/members/zoe"), Value::Null).await;
    next(&device, "it is out", |event| matches!(event, Event::Reset { .. })).await;
    refused(&device, &channel, "wait", -1).await;

    olga.ok(Method::PATCH, &path(""), json!({ "joining": "request" })).await;
    zoe.ok(Method::POST, &path("/requests"), json!({ "text": "sorry" })).await;
    mia.refused(Method::POST, &path("/requests/zoe"), Value::Null, "group_role").await;
    assert_eq!(olga.get(&path("/requests")).await["requests"][0]["text"], "sorry");
    olga.ok(Method::POST, &path("/requests/zoe"), Value::Null).await;
    assert_eq!(zoe.get(&path("")).await["my_role"], "member");
    zoe.ok(Method::DELETE, &path("/members/zoe"), Value::Null).await;
    olga.ok(Method::PATCH, &path(""), json!({ "joining": "open" })).await;
    assert_eq!(zoe.get("/api/search?q=team").await["groups"][0]["id"], json!(group));
    zoe.ok(Method::POST, &path("/requests"), json!({})).await;

    let last = olga.device("other/o").await;
    olga.ok(Method::DELETE, &path(""), Value::Null).await;
    notice(&last, "group.dissolved").await;
    zoe.refused(Method::GET, &path(""), Value::Null, "no_such_group").await;
    assert_eq!(olga.get("/api/groups").await["groups"], json!([]));
}

#[tokio::test]
async fn a_change_of_department_moves_people_through_its_groups() {
    let program = Program::start(&[]);
    let [boss, dev] = program.friends(["boss", "dev"]).await;
    let create = async |name: &str, parent: Value| {
        let created =
            boss.ok(Method::POST, "/api/departments", json!({ "name": name, "parent": parent })).await;
        created["id"].as_str().unwrap().to_owned()
    };
    let company = create("Company", Value::Null).await;
    let engineering = create("Engineering", json!(company)).await;
    let apps = create("Apps", json!(engineering)).await;
    let sales = create("Sales", json!(company)).await;
    let device = dev.device("other/d").await;
    let set = |department: Value| {
        boss.ok(Method::PUT, "/api/users/dev/department", json!({ "department": department }))
    };
    let names = async || {
        let groups = dev.get("/api/groups").await;
        let names = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    set(json!(apps)).await;
    assert_eq!(names().await, ["Apps", "Company", "Engineering"]);
    notice(&device, "group.joined").await;
    set(json!(sales)).await;
    assert_eq!(names().await, ["Company", "Sales"]);
    // A department with its people.
    boss.ok(Method::PATCH, &format!("/api/departments/{sales}"), json!({ "parent": engineering })).await;
    assert_eq!(names().await, ["Company", "Engineering", "Sales"]);
    boss.refused(
        Method::PATCH,
        &format!("/api/departments/{engineering}"),
        json!({ "parent": sales }),
        "department_loop",
    )
    .await;
    boss.refused(Method::DELETE, &format!("/api/departments/{sales}"), Value::Null, "department_in_use")
        .await;
    set(Value::Null).await;
    assert!(names().await.is_empty());
    boss.ok(Method::DELETE, &format!("/api/departments/{sales}"), Value::Null).await;

    let departments = boss.get("/api/departments").await;
    let group = departments["departments"][0]["group"].as_str().unwrap();
    set(json!(apps)).await;
    dev.refused(Method::DELETE, &format!("/api/groups/{group}/members/dev"), Value::Null, "department_group")
        .await;
}
